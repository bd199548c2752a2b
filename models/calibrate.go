package models

import "math"

// LogEFromLogP returns log e(p) for a p-value given as log p, by the mixture calibrator
//
//	e(p) = ∫₀¹ κ·p^(κ-1) dκ = (1 - p + p·ln p) / (p·(ln p)²)
//
// of Vovk and Wang, "E-values: calibration, combination and applications" (2021), which is
// decreasing and has integral 1. If P(p-value ≤ x) ≤ x for all x, then E[e(p)] ≤ 1.
//
// Valid range: every log p. Above 0 and NaN count as p = 1, whose e-value is ½. The result
// is at most MaxLogE. With L = -log p it is log((e^L - 1 - L)/L²), about L - 2·log L.
// Cost: O(1), about 60 ns.
func LogEFromLogP(logp float64) float64 {
	l := min(-logp, 2*MaxLogE)
	switch {
	case !(l > 0):
		return -math.Ln2
	case l < 0.01: // (e^L-1-L)/L² by its series: the next term is below 1e-12
		return math.Log(1.0/2 + l*(1.0/6+l*(1.0/24+l*(1.0/120+l*(1.0/720+l/5040)))))
	case l < 40:
		return math.Log((math.Expm1(l) - l) / (l * l))
	}
	return min(l-2*math.Log(l), MaxLogE)
}

// LogENovel returns the log e-value of one draw that was new or not, where the model gave
// the probability pNew to new:
//
//	½ + ½·LR,  LR = q/p if new, (1-q)/(1-p) if not,  q = max(½, p)
//
// The alternative q is a Bernoulli that draws new things half of the time. If the true
// probability p0 of new is at most p, the expectation of LR is 1 - (q-p)(p-p0)/(p(1-p)) ≤
// 1, so it is a valid e-value. From p = ½ on, where nothing new can surprise, LR would be
// 1 for either outcome. Such ones would add up to an alarm without any evidence, since R_t
// = t; the e-value is ¾ there, which is the least that a known draw has below ½.
//
// Valid range: every pNew. Below 0 counts as 0, above 1 and NaN as 1; the result is at most
// MaxLogE. Cost: O(1), about 10 ns.
func LogENovel(isNew bool, pNew float64) float64 {
	switch {
	case !(pNew < 0.5):
		return logThreeQuarters
	case isNew:
		return min(math.Log(0.5+0.25/max(pNew, 0)), MaxLogE)
	}
	return math.Log(0.5 + 0.25/(1-max(pNew, 0)))
}

var logThreeQuarters = math.Log(0.75)
