package models

import (
	"math"
	"slices"
	"testing"
)

// Expected values: scipy 1.x, genpareto.logsf(y, shape, 0, 2.5).
func TestParetoTailEqualsScipysGenpareto(t *testing.T) {
	for _, c := range []struct{ shape, y, want float64 }{
		{0.5, 0.1, -0.039605254592359425},
		{0.5, 1, -0.36464311358790924},
		{0.5, 10, -2.1972245773362196},
		{0.5, 1e4, -15.202804669167467},
		{0.1, 0.1, -0.039920212695374532},
		{0.1, 10, -3.3647223662121295},
		{0.1, 1e4, -59.939614273065693},
		{0, 1, -0.4},
		{1e-12, 1e4, -4000},
		{-0.3, 1, -0.42611123836628295},
		{-0.3, 10, math.Inf(-1)},
		{0.1, 0, 0},
		{0.1, -3, 0},
	} {
		l := pareto{c.shape, 2.5}
		got := l.logTail(c.y)
		if got != c.want && !(math.Abs(got-c.want) <= 1e-7*math.Abs(c.want)) {
			t.Errorf("shape %v: log tail at %v is %.17g, want %.17g", c.shape, c.y, got, c.want)
		}
		if c.y > 0 && !math.IsInf(c.want, 0) {
			if y := l.excess(c.want); math.Abs(y/c.y-1) > 1e-6 {
				t.Errorf("shape %v: the excess for %v is %v, want %v", c.shape, c.want, y, c.y)
			}
		}
	}
}

// uniforms returns n numbers in (0, 1) by Knuth's linear congruential generator, which the
// script that made the expected values used too.
func uniforms(n int, seed uint64) []float64 {
	u := make([]float64, n)
	for i := range u {
		seed = seed*6364136223846793005 + 1442695040888963407
		u[i] = (float64(seed>>11) + 0.5) / (1 << 53)
	}
	return u
}

func paretoSample(l pareto, n int, seed uint64) []float64 {
	s := uniforms(n, seed)
	for i, u := range s {
		s[i] = l.excess(math.Log1p(-u))
	}
	return s
}

// Expected values: scipy, genpareto.fit(y, floc=0) on y = genpareto.ppf(u, shape, 0, scale)
// with the numbers u of uniforms, best of four starts.
func TestLikelihoodFitEqualsScipys(t *testing.T) {
	for _, c := range []struct {
		law  pareto
		n    int
		seed uint64
		want pareto
		best float64
	}{
		{pareto{0.3, 2}, 400, 1, pareto{0.2815689563, 1.995375644}, -788.964769899},
		{pareto{0, 1}, 400, 2, pareto{-0.08889937518, 1.102706166}, -403.542174096},
		{pareto{-0.2, 5}, 400, 3, pareto{-0.2674194363, 5.353802966}, -964.155404509},
		{pareto{0.8, 0.5}, 400, 4, pareto{0.830039217, 0.4502128598}, -412.813039128},
		{pareto{0.1, 1}, 48, 5, pareto{0.5046187314, 0.6404432162}, -50.8320250918},
	} {
		sample := paretoSample(c.law, c.n, c.seed)
		got, ok := paretoByLikelihood(sample)
		if !ok || math.Abs(got.shape-c.want.shape) > 2e-3 || math.Abs(got.scale/c.want.scale-1) > 2e-3 {
			t.Errorf("%v: fit %v, %v, want %v", c.law, got, ok, c.want)
		}
		log := 0.0
		for _, y := range sample {
			log -= math.Log(got.scale) + (1/got.shape+1)*math.Log1p(got.shape*y/got.scale)
		}
		if log < c.best-1e-6 {
			t.Errorf("%v: log likelihood %v is below scipy's %v", c.law, log, c.best)
		}
	}
}

// The estimates by moments are within the standard errors of Hosking and Wallis.
func TestMomentsFindTheLaw(t *testing.T) {
	for i, law := range []pareto{{0.3, 2}, {0, 1}, {-0.2, 5}, {0.1, 1}} {
		sample := paretoSample(law, 20_000, uint64(i))
		slices.Sort(sample)
		got, ok := paretoByMoments(sample)
		if !ok || math.Abs(got.shape-law.shape) > 0.05 || math.Abs(got.scale/law.scale-1) > 0.06 {
			t.Errorf("fit %v, %v, want %v", got, ok, law)
		}
	}
}

func TestFitsRefuseWhatHasNoTail(t *testing.T) {
	for _, s := range [][]float64{{0, 0, 0}, {}} {
		if l, ok := paretoByMoments(s); ok {
			t.Errorf("%v: by moments %v", s, l)
		}
		if l, ok := paretoByLikelihood(s); ok {
			t.Errorf("%v: by likelihood %v", s, l)
		}
	}
	for _, s := range [][]float64{{1, 1, 1, 1}, {1e-300, 1e-300, 1}, {1e300, 1e300}, {5}} {
		if l, ok := paretoByLikelihood(s); ok && !(l.scale > 0 && l.shape >= -0.51 && l.scale-l.scale == 0) {
			t.Errorf("%v: by likelihood %v", s, l)
		}
	}
}
