package models

import (
	"math"
	"testing"
)

// One continued fraction gives the mid-p that two tails give, also far out and where the
// tails are only bounds.
func TestTheMidPOfACountIsThatOfItsTails(t *testing.T) {
	for _, mean := range []float64{1, 1.02, 3, 40, 700, 5000} {
		counts := NewCountBaseline(CountPrior{Mean: mean, Weight: 5, Memory: 100})
		season := NewSeasonalCount(CountPrior{Mean: mean, Weight: 5, Memory: 100})
		for i := range 60 {
			n := math.Ceil(mean * (0.5 + float64(i%7)/6))
			counts.Learn(n)
			season.Learn(n, int64(i)*hourOfTime)
		}
		at := 61 * hourOfTime
		for n := 1.0; n < 1e7; n = math.Ceil(n * 1.3) {
			tail, next := counts.LogTails(n)
			check(t, "counts", n, counts.LogMidP(n), counts.Mean(), LogMidP(tail, next))
			tail, next = season.LogTails(n, at)
			check(t, "season", n, season.LogMidP(n, at), season.Mean(at), LogMidP(tail, next))
		}
	}
}

func check(t *testing.T, what string, n, got, mean, want float64) {
	t.Helper()
	if n <= mean {
		want = 0
	}
	if !(math.Abs(got-want) <= 1e-10*math.Max(1, math.Abs(want))) {
		t.Errorf("%s with mean %g: log mid-p of %g is %.14g, want %.14g", what, mean, n, got, want)
	}
}

func BenchmarkCountBaselineMidP(b *testing.B) {
	counts := NewCountBaseline(CountPrior{Mean: 20, Weight: 20, Memory: 100})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		counts.LogMidP(25 + float64(i%50))
	}
}
