package models

import "math"

// studentLogTail returns log P(T ≥ t) for Student's t with ν degrees of freedom:
//
//	½·I_x(ν/2, ½) for t ≥ 0,  x = ν/(ν+t²)
//
// (NIST DLMF 8.17), as the logarithm of the leading factor and a continued fraction, since far
// out the probability is no float64 any more; near the middle by studentBetween.
func studentLogTail(t, freedom float64) float64 {
	a := freedom / 2
	switch tt := t * t; {
	case tt < 4:
		return math.Log(0.5 - studentBetween(t, freedom))
	case t < 0:
		return math.Log1p(-math.Exp(studentLogTail(-t, freedom)))
	default:
		// log x = -log1p(t²/ν); 1-x = t²/(ν+t²).
		log := -a*math.Log1p(tt/freedom) + 0.5*math.Log(tt/(freedom+tt)) - math.Log(a) - logBetaHalf(a)
		f, _ := betaFraction(freedom/(freedom+tt), a, 0.5)
		return log + math.Log(f) - math.Ln2
	}
}

// studentBetween returns P(0 ≤ T ≤ t), -P(t ≤ T ≤ 0) for t < 0, by the series with positive terms
//
//	t·f(t)·(1 + Σ_k Π_{j≤k} z·(ν-1+2j)/(1+2j)),  z = t²/(ν+t²)
//
// with the density f (NIST DLMF 8.17.8). It takes up to about 30 terms for |t| ≤ 2, about 150 ns.
func studentBetween(t, freedom float64) float64 {
	z := t * t / (freedom + t*t)
	sum, term := 1.0, 1.0
	for j := 1.0; term > sum*0x1p-54; j++ {
		term *= z * (freedom - 1 + 2*j) / (1 + 2*j)
		sum += term
	}
	log := -0.5*math.Log(freedom) - logBetaHalf(freedom/2) - (freedom+1)/2*math.Log1p(t*t/freedom)
	return t * math.Exp(log) * sum
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
