package models

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/integrate/quad"
)

// With p = exp(-L) the integral of e(p) over (0, 1) is that of e·exp(-L) over L > 0. An
// antiderivative of e(p) is (1-p)/(-ln p): 1 at p = 1, and (1-exp(-L))/L at exp(-L).
func TestMixtureCalibratorHasIntegralOne(t *testing.T) {
	density := func(l float64) float64 { return math.Exp(LogEFromLogP(-l) - l) }
	for _, to := range []float64{1, 30, 1000} {
		got := 0.0
		for from := 0.0; from < to; from++ {
			got += quad.Fixed(density, from, from+1, 24, quad.Legendre{}, 0)
		}
		// ∫ from p=e^-L to 1 of (1-p+p·ln p)/(p·ln²p) dp = 1 - (1-e^-L)/L.
		want := 1 + math.Expm1(-to)/to
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("integral to L = %v is %.12f, want %.12f", to, got, want)
		}
	}
}

// Expected values: mpmath 1.3.0 at 50 digits, log((exp(L)-1-L)/L^2).
func TestLogEFromLogPEqualsTheClosedForm(t *testing.T) {
	for _, c := range []struct{ logp, want float64 }{
		{0, -math.Ln2},
		{-1e-9, -0.69314718022661198},
		{-0.005, -0.69147981929456148},
		{-0.00999999, -0.68981107155393196},
		{-0.01000001, -0.68981106487614678},
		{-1, -0.33089326820405453},
		{-5, 1.7398565792683929},
		{-39.9, 32.527247352208364},
		{-40.1, 32.717247331374953},
		{-1000, 986.18448944203573},
		{-999_000, 999_000 - 2*13.814509557963746},
	} {
		if got := LogEFromLogP(c.logp); math.Abs(got-c.want) > 1e-10*max(1, math.Abs(c.want)) {
			t.Errorf("log e at log p = %v is %.15g, want %.15g", c.logp, got, c.want)
		}
	}
	for _, logp := range []float64{1, math.Inf(1), math.NaN()} {
		if got := LogEFromLogP(logp); got != -math.Ln2 {
			t.Errorf("log e at log p = %v is %v, want log ½", logp, got)
		}
	}
	for _, logp := range []float64{-1e7, math.Inf(-1)} {
		if got := LogEFromLogP(logp); got != MaxLogE {
			t.Errorf("log e at log p = %v is %v, want the bound", logp, got)
		}
	}
}

func TestLogEFromLogPFallsWithP(t *testing.T) {
	was := math.Inf(1)
	for l := 1e6; l > 1e-12; l *= 0.999 {
		got := LogEFromLogP(-l)
		if got > was+1e-12 {
			t.Fatalf("log e rises from %v to %v at log p = %v", was, got, -l)
		}
		was = got
	}
}

// The expectation of a calibrated discrete p-value is a plain sum: at most 1.
func TestCalibratedCountTailHasExpectationAtMostOne(t *testing.T) {
	for _, p := range []CountPrior{{1, 1, 100}, {3, 50, 100}, {40, 2, 100}, {40, 1e6, 2e6}} {
		b := NewCountBaseline(p)
		sum := 0.0
		for m := 0.0; m < 1e5; m++ {
			pmf := math.Log(b.law.tail(m) - b.law.tail(m+1))
			if m > b.law.mean { // log(P(≥m) - P(≥m+1)), far below the smallest float64 too
				pmf = b.law.logTail(m) + math.Log(-math.Expm1(b.law.logTail(m+1)-b.law.logTail(m)))
			}
			sum += math.Exp(pmf + LogEFromLogP(b.LogTail(m+1)))
		}
		if !(sum <= 1) || sum < 0.3 {
			t.Errorf("prior %+v: the expected e-value is %v", p, sum)
		}
	}
}

func TestNoveltyEValueHasExpectationAtMostOne(t *testing.T) {
	for _, p := range []float64{1e-300, 1e-9, 1e-3, 0.1, 0.4, 0.49999, 0.5, 0.7, 0.999, 1} {
		isNew, known := math.Exp(LogENovel(true, p)), math.Exp(LogENovel(false, p))
		for share := 0.0; share <= 1; share += 1.0 / 64 {
			truth := share * p
			if e := truth*isNew + (1-truth)*known; e > 1+1e-12 {
				t.Errorf("model %v, truth %v: expectation %v", p, truth, e)
			}
		}
		if e := p*isNew + (1-p)*known; p < 0.5 && math.Abs(e-1) > 1e-9 {
			t.Errorf("model %v: expectation %v under the model itself, want 1", p, e)
		}
	}
	for _, p := range []float64{0.5, 1, 2, math.NaN(), math.Inf(1)} {
		if LogENovel(true, p) >= 0 || LogENovel(false, p) >= 0 {
			t.Errorf("p = %v is evidence", p)
		}
	}
	for _, p := range []float64{0, -1, math.Inf(-1)} {
		if got := LogENovel(true, p); got != MaxLogE {
			t.Errorf("an impossible new kind gives %v where p = %v", got, p)
		}
		if got, want := LogENovel(false, p), LogENovel(false, 1e-300); got != want {
			t.Errorf("a known kind gives %v where p = %v, want %v", got, p, want)
		}
	}
}

// lawMasses gives each count from 0 on the logarithms of its two tails and of its
// probability.
func lawMasses(l nbinom, to float64, yield func(tail, next, logMass float64)) {
	for k := 0.0; k < to; k++ {
		tail, next := l.logTails(k)
		yield(tail, next, tail+math.Log(-math.Expm1(next-tail)))
	}
}

// E[e(mid-p)] is a plain sum. It is at most 1, and more than that of the p-value.
func TestMidPMakesValidEValues(t *testing.T) {
	for _, c := range []struct{ mean, size float64 }{{0.01, 1e6}, {0.3, 0.2}, {1, 1e6}, {3, 2}, {40, 1e4}, {40, 0.3}, {900, 5}} {
		mid, plain, mass := 0.0, 0.0, 0.0
		lawMasses(newNBinom(c.mean, c.size), 30*c.mean+2000, func(tail, next, logMass float64) {
			mid += math.Exp(logMass + LogEFromLogP(LogMidP(tail, next)))
			plain += math.Exp(logMass + LogEFromLogP(tail))
			mass += math.Exp(logMass)
		})
		if math.Abs(mass-1) > 1e-9 || !(mid <= 1) || !(mid > plain) {
			t.Errorf("mean %v, size %v: E[e(mid-p)] is %v, E[e(p)] %v, all probabilities together %v", c.mean, c.size, mid, plain, mass)
		}
	}
}

// P(randomised p ≤ x) is x for every x: the tails below x, and the part of the next mass.
func TestRandomisedPIsUniform(t *testing.T) {
	l := newNBinom(4, 1.5)
	for _, x := range []float64{0.003, 0.1, 0.5, 0.77, 0.999} {
		got := 0.0
		const draws = 1000
		lawMasses(l, 200, func(tail, next, logMass float64) {
			for i := range draws {
				if LogRandomP(tail, next, (float64(i)+0.5)/draws) <= math.Log(x) {
					got += math.Exp(logMass) / draws
				}
			}
		})
		if math.Abs(got-x) > 1e-3 {
			t.Errorf("P(p ≤ %v) is %v", x, got)
		}
	}
}

func TestMidPIsBetweenItsTailsFarOut(t *testing.T) {
	l := newNBinom(20, 3)
	was := 0.0
	for k := 0.0; k < 1e14; k = math.Ceil(k*1.5) + 1 {
		tail, next := l.logTails(k)
		mid := LogMidP(tail, next)
		if !(mid <= tail && mid >= next && mid >= tail-math.Ln2-1e-9 && mid <= was) {
			t.Fatalf("count %v: mid-p %v between %v and %v, after %v", k, mid, tail, next, was)
		}
		was = mid
	}
	for _, c := range []struct{ tail, next, u, want float64 }{
		{-1, -1e9, 0, math.Inf(-1)}, {-1, -1e9, 1, -1}, {math.NaN(), -1, 0.5, 0}, {-1, math.NaN(), 0.5, 0},
		{math.Inf(-1), math.Inf(-1), 0.5, math.Inf(-1)}, {-1, 0, 0.5, -1}, {-1000, -1001, 0.5, -1000.3798854930417},
	} {
		if got := LogRandomP(c.tail, c.next, c.u); got != c.want && !(math.Abs(got-c.want) < 1e-9) {
			t.Errorf("%+v gives %v", c, got)
		}
	}
}
