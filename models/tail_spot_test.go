package models

import (
	"math"
	"math/rand/v2"
	"testing"
)

// On laws whose tail is known Spot extrapolates well beyond what it saw.
func TestSpotFindsKnownTails(t *testing.T) {
	for _, c := range []struct {
		name string
		draw func(*rand.Rand) float64
		tail func(x float64) float64 // log P(X ≥ x)
		at   float64
	}{
		{"exponential", func(r *rand.Rand) float64 { return r.ExpFloat64() }, func(x float64) float64 { return -x }, 11},
		{"power law", func(r *rand.Rand) float64 { return math.Exp(r.ExpFloat64() / 2) }, func(x float64) float64 { return -2 * math.Log(x) }, 200},
		{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }, func(x float64) float64 { return math.Log(math.Erfc(x/math.Sqrt2) / 2) }, 4},
	} {
		mean := 0.0
		const runs = 20
		for seed := range uint64(runs) {
			rng := rand.New(rand.NewPCG(seed, 21))
			s := NewSpot(0.98, 1000)
			for range 20_000 {
				s.Learn(c.draw(rng))
			}
			mean += s.LogTail(c.at) / runs
			if x := s.Quantile(1 - 1e-4); math.Abs(s.LogTail(x)-math.Log(1e-4)) > 1e-9 {
				t.Errorf("%s: the tail at its own quantile is %v", c.name, s.LogTail(x))
			}
		}
		want := c.tail(c.at)
		t.Logf("%s: log tail %.2f on average, truth %.2f", c.name, mean, want)
		if mean < want-0.7 || mean > want+3 {
			t.Errorf("%s: log tail %.2f on average, truth %.2f", c.name, mean, want)
		}
	}
}

func TestSpotIsSilentInItsWarmUpAndBelowItsThreshold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 22))
	s := NewSpot(0.9, 200)
	for range 199 {
		s.Learn(rng.NormFloat64())
		if s.LogTail(1e9) != 0 || !math.IsInf(s.Quantile(0.99), 1) {
			t.Fatal("it judges in its warm-up")
		}
	}
	s.Learn(0)
	if s.LogTail(1e9) > -10 || s.LogTail(0.5) != 0 || s.LogTail(math.NaN()) != 0 || s.LogTail(math.Inf(-1)) != 0 {
		t.Errorf("log tails %v, %v", s.LogTail(1e9), s.LogTail(0.5))
	}
	was := 0.0
	for x := -5.0; x < 1e12; x = x + 0.1 + 0.1*math.Abs(x) {
		if p := s.LogTail(x); !(p <= was) || math.IsInf(p, 0) {
			t.Fatalf("log tail at %v is %v after %v", x, p, was)
		} else {
			was = p
		}
	}
}

func TestSpotTakesEveryNumber(t *testing.T) {
	for _, values := range [][]float64{{1}, {0, 0, 0, 1e-300}, {1e150, -1e150, math.NaN(), math.Inf(1)}, {1, 2}} {
		s, d := NewSpot(math.NaN(), -1), NewDSpot(2, 1<<40, -5)
		d.spot.warmup = 50
		for i := range 600 {
			v := values[i%len(values)]
			s.Learn(v)
			d.Learn(v)
			for _, x := range []float64{-1, 1, 1e100, math.Inf(1), math.NaN()} {
				if p, q := s.LogTail(x), d.LogTail(x); !(p <= 0) || !(q <= 0) {
					t.Fatalf("%v: log tails %v and %v at %v", values, p, q, x)
				}
			}
		}
	}
}

// A drifting level is no alarm for DSpot, and a jump is.
func TestDSpotFollowsDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 23))
	fixed, moving := NewSpot(0.98, 1000), NewDSpot(0.98, 1000, 50)
	level := math.Log(1e-5)
	alarms := 0
	for i := range 20_000 {
		x := float64(i)/500 + rng.NormFloat64()
		fixed.Learn(x)
		if moving.LogTail(x) < level {
			alarms++
		} else {
			moving.Learn(x)
		}
	}
	if alarms > 2 {
		t.Errorf("%d alarms while the level drifts", alarms)
	}
	const jump = 40 + 12 // standard deviations
	if p, q := moving.LogTail(jump), fixed.LogTail(jump); p > level || q < level {
		t.Errorf("a jump has log p %v for DSpot and %v for Spot, which took the drift for its tail", p, q)
	}
	if m := moving.Mean(); math.Abs(m-39.95) > 0.6 {
		t.Errorf("mean %v", m)
	}
}

func BenchmarkSpotLearn(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 1<<14)
	for i := range values {
		values[i] = rng.ExpFloat64()
	}
	s := NewSpot(0.98, 1000)
	for _, v := range values {
		s.Learn(v)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Learn(values[i%len(values)])
	}
}

func BenchmarkSpotTail(b *testing.B) {
	s := NewSpot(0.98, 1000)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		s.Learn(rng.ExpFloat64())
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sinkFloat = s.LogTail(5 + float64(i%10))
	}
}
