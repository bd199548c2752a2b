package models

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPeakIsTheLargestValueOfTheSlotsInTheWindow(t *testing.T) {
	const step = int64(3 * time.Second)
	rapid.Check(t, func(t *rapid.T) {
		p := NewPeak(12*time.Second, 4)
		type value struct {
			slot int64
			v    float64
		}
		now := int64(0)
		p.Add(now, 1)
		all := []value{{0, 1}}
		for range rapid.IntRange(1, 60).Draw(t, "values") {
			now += rapid.Int64Range(0, 8).Draw(t, "gap") * int64(time.Second)
			at := now - rapid.Int64Range(0, 20).Draw(t, "late")*int64(time.Second)
			v := rapid.Float64Range(0, 1e9).Draw(t, "v")
			newest := slotOf(now, step)
			p.Max(now)
			if kept := slotOf(at, step) >= newest-4; p.Add(at, v) != kept {
				t.Fatalf("a value of slot %d at slot %d: kept %v", slotOf(at, step), newest, !kept)
			} else if kept {
				all = append(all, value{slotOf(at, step), v})
			}
			want := 0.0
			for _, x := range all {
				if x.slot >= newest-4 {
					want = max(want, x.v)
				}
			}
			if got := p.Max(now); got != want {
				t.Fatalf("%v, want %v", got, want)
			}
			b, _ := p.AppendBinary(nil)
			q := NewPeak(12*time.Second, 4)
			if rest, err := q.DecodeBinary(b); err != nil || len(rest) != 0 || q.Max(now) != want {
				t.Fatalf("decoded: %v, %d bytes left, %v, want %v", err, len(rest), q.Max(now), want)
			}
		}
	})
}

func TestPeakTakesNothingThatIsNoNumber(t *testing.T) {
	p := NewPeak(time.Minute, 6)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if p.Add(0, v) {
			t.Errorf("%v was taken", v)
		}
	}
	if p.Add(0, -5); p.Max(0) != 0 {
		t.Errorf("%v below 0", p.Max(0))
	}
}

func FuzzDecodePeak(f *testing.F) {
	p := NewPeak(time.Minute, 6)
	for i := range int64(5) {
		p.Add(i*int64(20*time.Second), float64(i)+0.5)
	}
	b, _ := p.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		q := NewPeak(time.Minute, 6)
		if _, err := q.DecodeBinary(b); err == nil {
			q.Add(1e10, 3)
			q.Max(1e12)
		}
	})
}

func BenchmarkPeak(b *testing.B) {
	p := NewPeak(time.Minute, 20)
	b.ReportAllocs()
	for i := range b.N {
		p.Add(int64(i)*1e8, float64(i%97))
		sinkFloat = p.Max(int64(i) * 1e8)
	}
}
