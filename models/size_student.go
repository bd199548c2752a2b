package models

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// studentLogTail returns log P(T ≥ t) for Student's t with ν degrees of freedom:
//
//	½·I_x(ν/2, ½) for t ≥ 0,  x = ν/(ν+t²)
//
// (NIST DLMF 8.17). Far out, where the probability is no float64 any more, it is the
// logarithm of the leading factor and a continued fraction.
func studentLogTail(t, freedom float64) float64 {
	a := freedom / 2
	switch tt := t * t; {
	case t < 0:
		return math.Log1p(-math.Exp(studentLogTail(-t, freedom)))
	case tt < 4:
		return math.Log(0.5 * mathext.RegIncBeta(a, 0.5, freedom/(freedom+tt)))
	default:
		// log x = -log1p(t²/ν); 1-x = t²/(ν+t²).
		log := -a*math.Log1p(tt/freedom) + 0.5*math.Log(tt/(freedom+tt)) - math.Log(a) - logBetaHalf(a)
		f, _ := betaFraction(freedom/(freedom+tt), a, 0.5)
		return log + math.Log(f) - math.Ln2
	}
}

// logBetaHalf returns log B(a, ½) = log Γ(a) + ½·log π - log Γ(a+½), by the asymptotic series
// of the ratio where the difference would lose digits.
func logBetaHalf(a float64) float64 {
	if a < 20 {
		g, _ := math.Lgamma(a)
		h, _ := math.Lgamma(a + 0.5)
		return g + 0.5*math.Log(math.Pi) - h
	}
	// log Γ(a+½)/Γ(a) = ½·log a - 1/(8a) + 1/(192a³) - 1/(640a⁵) + …
	r := 1 / a
	return 0.5*math.Log(math.Pi) - (0.5*math.Log(a) - r/8 + r*r*r/192 - r*r*r*r*r/640)
}
