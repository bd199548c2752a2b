package models

import (
	"math"
	"testing"
)

func TestLogEBernoulliHasMeanAtMostOneWhileHitsAreNoMoreFrequentThanPredicted(t *testing.T) {
	for _, p := range []float64{1e-9, 0.01, 0.3, 0.5, 0.8, 0.95, 1} {
		for _, q := range []float64{0.5, 0.9} {
			for _, share := range []float64{0, 0.1, 0.5, 1} { // of p that is true
				truth := p * share
				mean := truth*math.Exp(LogEBernoulli(true, p, q)) + (1-truth)*math.Exp(LogEBernoulli(false, p, q))
				if mean > 1+1e-12 {
					t.Errorf("p=%v q=%v, truth %v: mean %v", p, q, truth, mean)
				}
			}
		}
	}
}

func TestLogEBernoulliIsLogENovelWhereTheAlternativeIsAHalf(t *testing.T) {
	for _, p := range []float64{0, 1e-6, 0.2, 0.49} {
		for hit, want := range map[bool]float64{
			true:  min(math.Log(0.5+0.25/p), MaxLogE),
			false: math.Log(0.5 + 0.25/(1-p)),
		} {
			if got := LogEBernoulli(hit, p, 0.5); got != want || LogENovel(hit, p) != want {
				t.Errorf("p=%v hit=%v: %v and %v, want %v", p, hit, got, LogENovel(hit, p), want)
			}
		}
	}
}

func TestLogEBernoulliIsFiniteEverywhere(t *testing.T) {
	for _, p := range []float64{-1, 0, 1, 2, math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, hit := range []bool{true, false} {
			if e := LogEBernoulli(hit, p, 0.9); math.IsNaN(e) || math.Abs(e) > MaxLogE {
				t.Errorf("p=%v hit=%v: %v", p, hit, e)
			}
		}
	}
}

func BenchmarkLogEBernoulli(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sinkFloat = LogEBernoulli(i%3 == 0, 0.1, 0.9)
	}
}
