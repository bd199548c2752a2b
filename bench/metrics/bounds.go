package metrics

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// PoissonUpper returns the upper confidence bound of the mean of a Poisson count of which n
// events were seen: the mean at which n or fewer have the probability 1-confidence. It is
// exact (Garwood 1936): the confidence quantile of a Gamma law of shape n+1. With n = 0 it
// is -log(1-confidence), 3.00 for 0.95.
func PoissonUpper(n int, confidence float64) float64 {
	return mathext.GammaIncRegInv(float64(n)+1, confidence)
}

// PoissonLower returns the lower confidence bound of the same mean; 0 where n is 0.
func PoissonLower(n int, confidence float64) float64 {
	if n == 0 {
		return 0
	}
	return mathext.GammaIncRegInv(float64(n), 1-confidence)
}

// ShareLower returns the lower confidence bound of a share of which hits of n were seen
// (Clopper and Pearson 1934, one-sided): the 1-confidence quantile of a Beta law with
// parameters hits and n-hits+1. 0 where there are no hits, NaN where n is 0.
func ShareLower(hits, n int, confidence float64) float64 {
	switch {
	case n == 0:
		return math.NaN()
	case hits == 0:
		return 0
	}
	return mathext.InvRegIncBeta(float64(hits), float64(n-hits)+1, 1-confidence)
}
