package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// The expected values were computed with mpmath 1.3.0 at 60 digits, as log pmf(k) + log
// 2F1(k+r, 1; k+1; x) with x = mean/(mean+r).
func TestLogTailEqualsTheHypergeometricSeries(t *testing.T) {
	for _, c := range []struct{ mean, size, k, want float64 }{
		{0.5, 0.5, 1, -1.2279471772995157},
		{0.5, 0.5, 50, -36.851241233805067},
		{4, 2, 5, -1.0464962875290957},
		{4, 2, 40, -13.556016497301123},
		{4, 2, 4000, -1614.6642453623331},
		{100, 3, 101, -0.86779556584209305},
		{100, 3, 1000, -23.439123605513236},
		{100, 1e6, 101, -0.74773473414638638},
		{100, 1e6, 130, -6.082187144480799},
		{100, 1e6, 1000, -1406.4483170617853},
		{1e4, 0.7, 200000, -15.071976675039014},
		{1e6, 5, 1000001, -0.81986107347040213},
		{1e6, 5, 2e7, -84.716745414582577},
		{0.0005, 0.5, 1, -7.6016521160106733},
		{0.0005, 0.5, 3, -21.889040367908884},
		{0.0005, 0.5, 1e5, -690881.8062607023},
		{20, 8, 1e5, -33583.927231004847},
		{3, 1000, 1e6, -5804244.5178464362},
		{0.001, 1e4, 10, -84.178376783729999},
	} {
		law := newNBinom(c.mean, c.size)
		if got := law.logTail(c.k); math.Abs(got-c.want) > 1e-9+1e-12*math.Abs(c.want) {
			t.Errorf("mean %v, size %v: log P(M ≥ %v) is %.15g, want %.15g", c.mean, c.size, c.k, got, c.want)
		}
	}
}

// Where the continued fraction would take long the tail is bounded from above. Expected
// values: mpmath 1.3.0 at 40 digits, log of the sum of the probabilities.
func TestLogTailNearAHugeMeanIsAnUpperBound(t *testing.T) {
	for _, c := range []struct{ mean, size, k, want, slack float64 }{
		{1e4, 1e7, 10001, -0.69848054077714145, 0.7},
		{1e4, 0.7, 10001, -1.0688708663911077, 1e-6},
		{1e4, 1e7, 10200, -3.7573329912762596, 0.25},
		{1e4, 1e7, 10500, -14.824349114412302, 0.05},
		{1e8, 1e11, 1e8 + 2e4, -3.7805761695645438, 0.25},
		{1e8, 1e11, 1e8 + 1e5, -53.16368723018862, 0.02},
	} {
		law := newNBinom(c.mean, c.size)
		if got := law.logTail(c.k); got < c.want-1e-9 || got > c.want+c.slack {
			t.Errorf("mean %v, size %v: log P(M ≥ %v) is %v, want %v or up to %v more", c.mean, c.size, c.k, got, c.want, c.slack)
		}
	}
}

// Learning a constant rate makes the prediction that of the Gamma–Poisson posterior, which
// is computed here by integrating gonum's Poisson tail over gonum's Gamma density.
func TestPoissonStreamIsPredictedByItsGammaPosterior(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 5, Weight: 4, Memory: 1e9})
	for i := range 4000 {
		b.Learn(float64(4 + 2*(i%2))) // 4, 6, 4, 6: less spread than a Poisson stream
	}
	posterior := distuv.Gamma{Alpha: b.mean * b.weight, Beta: b.weight}
	for _, n := range []float64{6, 8, 12, 20} {
		want := 0.0
		const steps = 4000
		for i := range steps {
			rate := posterior.Quantile((float64(i) + 0.5) / steps)
			want += distuv.Poisson{Lambda: rate}.Survival(n-2) / steps // P(M > n-2) = P(N ≥ n)
		}
		if got := math.Exp(b.LogTail(n)); math.Abs(got/want-1) > 1e-3 {
			t.Errorf("P(N ≥ %v) is %v, want %v", n, got, want)
		}
	}
}

// The tail must be what a simulation of the same negative binomial law shows.
func TestOverDispersedStreamGetsItsOwnWideBand(t *testing.T) {
	const mean, size = 20.0, 1.5
	rng := rand.New(rand.NewPCG(1, 1))
	b := NewCountBaseline(CountPrior{Mean: 10, Weight: 10, Memory: 2000})
	for range 8000 {
		b.Learn(1 + drawNB(rng, mean, size))
	}
	for _, q := range []float64{0.9, 0.99, 0.999} {
		n := b.Quantile(q)
		over := 0
		const draws = 400_000
		for range draws {
			if 1+drawNB(rng, mean, size) > n {
				over++
			}
		}
		// Conservative, but not by more than a factor of 3.
		if got := float64(over) / draws; got > 1.15*(1-q) || got < (1-q)/3 {
			t.Errorf("a share of %v lies above the %v quantile %v", got, q, n)
		}
	}
}

func TestLogTailFallsAndNeverBreaks(t *testing.T) {
	for _, p := range []CountPrior{{1, 1, 10}, {3, 20, 500}, {1e6, 5, 1000}, {math.NaN(), -1, 0}, {1e300, 1e300, math.Inf(1)}} {
		b := NewCountBaseline(p)
		for round := range 3 {
			was := 0.0
			for n := 1.0; n < 1e19; n = math.Ceil(n * 1.07) {
				got := b.LogTail(n)
				if !(got <= was) || math.IsInf(got, 0) {
					t.Fatalf("prior %+v, round %d: log tail at %v is %v after %v", p, round, n, got, was)
				}
				was = got
			}
			for range 50 {
				b.Learn(1)
			}
		}
		for _, n := range []float64{math.NaN(), math.Inf(-1), -5, 0, 1, b.Mean()} {
			if got := b.LogTail(n); got != 0 {
				t.Errorf("log tail at %v is %v, want 0", n, got)
			}
		}
		if got := b.LogTail(math.Inf(1)); math.IsInf(got, 0) || p.Mean < 1e9 && !(got < -1e6) {
			t.Errorf("log tail at +Inf is %v", got)
		}
	}
}

// The e-detector's early alarms rest on a tail that never rises with the count.
func TestLogTailNeverRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := math.Exp(rapid.Float64Range(-7, 18).Draw(t, "log mean"))
		law := newNBinom(mean, math.Exp(rapid.Float64Range(-3, 22).Draw(t, "log size")))
		from := math.Ceil(mean * math.Exp(rapid.Float64Range(0, 1).Draw(t, "log start")))
		by := math.Ceil(math.Sqrt(mean) * rapid.Float64Range(0, 1).Draw(t, "step"))
		was := 0.0
		for i := 0.0; i < 40; i++ {
			got := law.logTail(from + i*by)
			// Rounding of an x near 1 costs digits of 1-x, which is about size/mean.
			if got > was+1e-12*math.Abs(was)+1e-15*mean*(1+1/law.size)+1e-11 {
				t.Fatalf("at %v it is %v after %v", from+i*by, got, was)
			}
			was = got
		}
	})
}

func TestQuantileIsTheInverseOfTheTail(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 8, Weight: 20, Memory: 300})
	for i := range 100 {
		b.Learn(float64(1 + i%17))
	}
	for _, p := range []float64{1e-9, 0.005, 0.25, 0.5, 0.9, 0.995, 1 - 1e-9} {
		n := b.Quantile(p)
		if above := b.law.tail(n); above > 1-p { // P(N > n) = P(M ≥ n)
			t.Errorf("quantile %v: P(N > %v) is %v", p, n, above)
		}
		if n > 1 && b.law.tail(n-1) <= 1-p {
			t.Errorf("quantile %v: %v is not the smallest", p, n)
		}
	}
	if b.Quantile(0) != 1 || !math.IsInf(b.Quantile(1), 1) {
		t.Errorf("the ends are %v and %v", b.Quantile(0), b.Quantile(1))
	}
}

func TestBaselineForgets(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 1000, Weight: 50, Memory: 100})
	for range 1000 {
		b.Learn(3)
	}
	if got := b.Mean(); math.Abs(got-3) > 0.1 {
		t.Errorf("after ten memories of 3 the mean is %v", got)
	}
	if b.slots != 1000 {
		t.Errorf("slots learned: %v", b.slots)
	}
}

// drawNB draws from the negative binomial law as a Poisson with a Gamma rate.
func drawNB(rng *rand.Rand, mean, size float64) float64 {
	rate := distuv.Gamma{Alpha: size, Beta: size / mean, Src: rng}.Rand()
	return distuv.Poisson{Lambda: rate, Src: rng}.Rand()
}

func TestQuantilesThatAreCountedUpToAreThoseThatAreSearchedFor(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	walked := 0
	for range 300 {
		b := NewCountBaseline(CountPrior{Mean: 1 + 30*rng.Float64(), Weight: 1 + 100*rng.Float64(), Memory: 1e4})
		for range rng.IntN(50) {
			b.Learn(float64(1 + rng.IntN(1+rng.IntN(40))))
		}
		for _, p := range []float64{0.005, 0.1, 0.5, 0.9, 0.995} {
			m, ok := b.law.walk(p)
			if !ok {
				continue
			}
			walked++
			if tail := b.law.tail(m + 1); tail > 1-p+1e-12 {
				t.Errorf("mean %v, size %v: %v is below the %v quantile: P(M > m) = %v", b.law.mean, b.law.size, m, p, tail)
			}
			if tail := b.law.tail(m); m > 0 && tail <= 1-p-1e-12 {
				t.Errorf("mean %v, size %v: %v is above the %v quantile: P(M ≥ m) = %v", b.law.mean, b.law.size, m, p, tail)
			}
		}
	}
	if walked < 1000 {
		t.Errorf("only %d quantiles were counted up to", walked)
	}
}

func TestBothTailsAreOrderedForEveryLawAndCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := math.Exp(rapid.Float64Range(-7, 30).Draw(t, "log mean"))
		law := newNBinom(mean, math.Exp(rapid.Float64Range(-4, 22).Draw(t, "log size")))
		for _, k := range []float64{0, 1, mean / 3, mean, mean + 1, 2 * mean, 1e15, 1e300, -7, math.Inf(1), math.Inf(-1), math.NaN()} {
			tail, next := law.logTails(k)
			if !(next <= tail && tail <= 0) {
				t.Fatalf("count %v: log tails %v and %v", k, tail, next)
			}
		}
	})
}
