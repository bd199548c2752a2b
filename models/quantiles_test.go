package models

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkQuantiles compares a window with the exact quantiles of values, those in it.
func checkQuantiles(t interface{ Fatalf(string, ...any) }, w *Quantiles, at int64, values []float64) {
	values = slices.Sorted(slices.Values(values))
	for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
		want := 0.0
		if n := len(values); n > 0 {
			want = values[int(q*float64(n-1))]
		}
		if got := w.Quantile(at, q); math.Abs(got-want) > (quantileAlpha+1e-9)*want {
			t.Fatalf("quantile %g of %d values: %g, want %g", q, len(values), got, want)
		}
	}
}

func TestQuantilesAreWithinFivePercentOfThoseOfTheValuesInTheWindow(t *testing.T) {
	const step = int64(3 * time.Second)
	rapid.Check(t, func(t *rapid.T) {
		w := NewQuantiles(12*time.Second, 4)
		type value struct {
			slot int64
			v    float64
		}
		var all []value
		now := int64(0)
		w.Add(now, 0)
		all = append(all, value{0, 0})
		for range rapid.IntRange(1, 80).Draw(t, "values") {
			now += rapid.Int64Range(0, 8).Draw(t, "gap") * int64(time.Second)
			at := now - rapid.Int64Range(0, 20).Draw(t, "late")*int64(time.Second)
			v := rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0.5, 1e5), rapid.Float64Range(1, 10)).Draw(t, "v")
			newest := slotOf(now, step)
			w.Quantile(now, 0.5)
			if kept := slotOf(at, step) >= newest-4; w.Add(at, v) != kept {
				t.Fatalf("a value of slot %d at slot %d: kept %v", slotOf(at, step), newest, !kept)
			} else if kept {
				all = append(all, value{slotOf(at, step), v})
			}
			var in []float64
			for _, x := range all {
				if x.slot >= newest-4 {
					in = append(in, x.v)
				}
			}
			checkQuantiles(t, &w, now, in)
			b, _ := w.AppendBinary(nil)
			d := NewQuantiles(12*time.Second, 4)
			if rest, err := d.DecodeBinary(b); err != nil || len(rest) != 0 {
				t.Fatalf("decoded: %v, %d bytes left", err, len(rest))
			}
			checkQuantiles(t, &d, now, in)
		}
	})
}

// Each value of the valid range has a bucket whose middle is within five percent of it.
func TestQuantilesOfOneValueAreThatValue(t *testing.T) {
	for v := 1.01e-6; v < 1e15; v *= 1.0173 {
		w := NewQuantiles(time.Minute, 20)
		w.Add(0, v)
		checkQuantiles(t, &w, 0, []float64{v})
	}
	for _, v := range []float64{0, 1e-6, -5} {
		w := NewQuantiles(time.Minute, 20)
		w.Add(0, v)
		if got := w.Quantile(0, 0.5); got != 0 {
			t.Errorf("%v of %v, want 0", got, v)
		}
	}
}

// Values of every size cost no more than 129 buckets a slot; the upper quantiles stay right, and
// once the largest have left the window the small ones are told apart again.
func TestQuantilesOfValuesOfEverySizeTakeBoundedMemory(t *testing.T) {
	const s = int64(time.Second)
	w := NewQuantiles(20*time.Second, 20)
	var values []float64
	for i := range int64(21 * 600) {
		v := math.Pow(10, -6+float64(i*389%600)/599*21)
		w.Add(i/600*s, v)
		values = append(values, v)
	}
	if len(w.total) > quantileBuckets || len(w.cells) > 21*(quantileBuckets+1) {
		t.Errorf("%d buckets and %d cells", len(w.total), len(w.cells))
	}
	slices.Sort(values)
	for _, q := range []float64{0.8, 0.9, 0.99, 1} {
		want := values[int(q*float64(len(values)-1))]
		if got := w.Quantile(20*s, q); math.Abs(got-want) > 0.0501*want {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
	}
	if got := w.Quantile(20*s, 0.1); got > 1e15/quantileLowestShare {
		t.Errorf("the lowest bucket is that of %g", got)
	}
	w.Add(41*s, 3)
	w.Add(41*s, 0.004)
	checkQuantiles(t, &w, 41*s, []float64{3, 0.004})
}

// quantileLowestShare is what the documentation promises, less the width of a bucket.
const quantileLowestShare = 300_000

func TestQuantilesTakeNothingThatIsNoNumber(t *testing.T) {
	w := NewQuantiles(time.Minute, 6)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if w.Add(0, v) {
			t.Errorf("%v was taken", v)
		}
	}
}

func TestQuantilesOfAFullWindowAllocateNothing(t *testing.T) {
	w := NewQuantiles(time.Minute, 20)
	i := int64(0)
	add := func() {
		i++
		w.Add(i*1e8, float64(i*i%9973))
		sinkFloat = w.Quantile(i*1e8, 0.95)
	}
	for range 20_000 {
		add()
	}
	if n := testing.AllocsPerRun(2000, add); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var quantilesKind = kind{
	name:  "Quantiles",
	fresh: func() stateful { return pointer(NewQuantiles(10*time.Second, 7)) },
	other: func() stateful { return pointer(NewQuantiles(10*time.Second, 8)) },
	step: func(s stateful, a, b uint64) string {
		w := s.(*Quantiles)
		return fmt.Sprint(w.Add(at(a), math.Exp(float64(b%50)-12)), w.Quantile(at(a), 0.5), w.Quantile(at(a)-3e9, 0.99))
	},
}

func init() { kinds = append(kinds, quantilesKind) }

func FuzzDecodeQuantiles(f *testing.F) { fuzzDecode(f, quantilesKind) }

func BenchmarkQuantiles(b *testing.B) {
	w := NewQuantiles(time.Minute, 20)
	b.ReportAllocs()
	for i := range b.N {
		w.Add(int64(i)*1e8, float64(i*i%997))
		sinkFloat = w.Quantile(int64(i)*1e8, 0.95)
	}
}
