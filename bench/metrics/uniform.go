package metrics

import (
	"math"
	"slices"
)

// Histogram returns the share of the p-values in each of as many equal bins of [0, 1]. A
// p-value of 1 is in the last bin. Where p-values are uniform, all shares are about 1/bins.
func Histogram(p []float64, bins int) []float64 {
	shares := make([]float64, bins)
	for _, x := range p {
		i := min(max(int(x*float64(bins)), 0), bins-1)
		shares[i] += 1 / float64(len(p))
	}
	return shares
}

// KS is the test of Kolmogorov and Smirnov: how far the empirical distribution function F
// of p-values is from that of the uniform law.
type KS struct {
	// Distance is the greatest |F(x) - x|, and P the probability of one at least as great
	// where p-values are independent and uniform (asymptotic; good from about 50 values).
	Distance float64
	P        float64
	// Excess is the greatest F(x) - x, which is what harms: too many small p-values, hence
	// too many alarms. ExcessP is its probability (Smirnov's asymptotic exp(-2n·D²)).
	Excess  float64
	ExcessP float64
}

// Uniform tests p-values against the uniform law. All is NaN where there are none.
func Uniform(p []float64) KS {
	if len(p) == 0 {
		nan := math.NaN()
		return KS{nan, nan, nan, nan}
	}
	sorted := slices.Sorted(slices.Values(p))
	n := float64(len(sorted))
	var over, under float64
	for i, x := range sorted {
		over = max(over, float64(i+1)/n-x)
		under = max(under, x-float64(i)/n)
	}
	d := max(over, under)
	return KS{d, kolmogorov(math.Sqrt(n) * d), over, math.Exp(-2 * n * over * over)}
}

// kolmogorov returns P(K > x) of Kolmogorov's law. Of its two series each is used where it
// converges fast.
func kolmogorov(x float64) float64 {
	switch {
	case x <= 0:
		return 1
	case x < 1:
		var sum float64
		for k := 1.0; k < 8; k++ {
			sum += math.Exp(-(2*k - 1) * (2*k - 1) * math.Pi * math.Pi / (8 * x * x))
		}
		return 1 - math.Sqrt(2*math.Pi)/x*sum
	}
	var sum float64
	sign := 1.0
	for k := 1.0; k < 8; k++ {
		sum += sign * math.Exp(-2*k*k*x*x)
		sign = -sign
	}
	return min(2*sum, 1)
}
