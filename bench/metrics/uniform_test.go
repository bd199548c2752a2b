package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
)

// scipy.special.kolmogorov.
func TestKolmogorovsLaw(t *testing.T) {
	for x, want := range map[float64]float64{
		0: 1, .3: 0.9999906941986655, .5: 0.9639452436648751, .8: 0.5441424115741981, .99: 0.2808738392255489,
		1: 0.26999967167735456, 1.36: 0.049485876755377876, 2: 0.0006709252557796953, 3: 3.045995948942526e-08,
	} {
		if got := kolmogorov(x); math.Abs(got-want) > 1e-12+1e-9*want {
			t.Errorf("K(%g) = %.15g, want %.15g", x, got, want)
		}
	}
}

// scipy.stats.kstest(p, 'uniform', mode='asymp').
func TestUniformIsKolmogorovSmirnov(t *testing.T) {
	ks := Uniform([]float64{.5, .01, .02, .03, .2, .55, .9, .95})
	near(t, "distance", ks.Distance, .345)
	near(t, "p", ks.P, 0.29684055692195815)
	near(t, "excess", ks.Excess, .345)
	near(t, "excess p", ks.ExcessP, math.Exp(-2*8*.345*.345))
	near(t, "of nothing", Uniform(nil).Distance, math.NaN())
}

// P-values that are too large are far from uniform, but they harm nobody.
func TestExcessIsOnlyOfSmallPValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var uniform, large []float64
	for range 5000 {
		u := r.Float64()
		uniform, large = append(uniform, u), append(large, math.Sqrt(u))
	}
	if ks := Uniform(uniform); ks.P < .001 {
		t.Errorf("uniform ones are rejected: %+v", ks)
	}
	if ks := Uniform(large); ks.P > 1e-9 || ks.ExcessP < .001 {
		t.Errorf("large ones: %+v", ks)
	}
}

func TestHistogramSharesAddUpToOne(t *testing.T) {
	h := Histogram([]float64{0, .05, .1, .99, 1}, 10)
	for i, want := range []float64{.4, .2, 0, 0, 0, 0, 0, 0, 0, .4} {
		near(t, "share", h[i], want)
	}
}
