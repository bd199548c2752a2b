package models

import (
	"fmt"
	"math"
	"slices"
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

// A decoded window refuses what the original refuses, and takes what comes late into the same slot.
func TestADecodedPeakTakesLateValuesLikeTheOriginal(t *testing.T) {
	const s = int64(time.Second)
	p := NewPeak(10*time.Second, 5)
	p.Add(100*s, 3)
	p.Add(104*s, 9)
	code, _ := p.AppendBinary(nil)
	q := NewPeak(10*time.Second, 5)
	if _, err := q.DecodeBinary(code); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Peak{&p, &q} {
		if w.Add(93*s, 50) {
			t.Error("a value that has left the window was taken")
		}
		if !w.Add(97*s, 7) || w.Max(104*s) != 9 {
			t.Errorf("a late value: %v, want it beside the 9", w.Max(104*s))
		}
		for at, want := range map[int64]float64{114: 9, 116: 0, 200: 0} {
			v := *w
			v.cells = slices.Clone(w.cells)
			if got := v.Max(at * s); got != want {
				t.Errorf("at %d s: %v, want %v", at, got, want)
			}
		}
	}
}

var peakKind = kind{
	name:  "Peak",
	fresh: func() stateful { return pointer(NewPeak(10*time.Second, 7)) },
	other: func() stateful { return pointer(NewPeak(10*time.Second, 8)) },
	step: func(s stateful, a, b uint64) string {
		p := s.(*Peak)
		return fmt.Sprint(p.Add(at(a), float64(b%1000)/7), p.Max(at(a)), p.Max(at(a)-3e9))
	},
}

func init() { kinds = append(kinds, peakKind) }

func FuzzDecodePeak(f *testing.F) { fuzzDecode(f, peakKind) }

func BenchmarkPeak(b *testing.B) {
	p := NewPeak(time.Minute, 20)
	b.ReportAllocs()
	for i := range b.N {
		p.Add(int64(i)*1e8, float64(i%97))
		sinkFloat = p.Max(int64(i) * 1e8)
	}
}
