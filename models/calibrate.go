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
func LogENovel(isNew bool, pNew float64) float64 { return LogEBernoulli(isNew, pNew, 0.5) }

var logThreeQuarters = math.Log(0.75)

// LogMidP returns the logarithm of the mid-p-value of a count n,
//
//	½·(P(N ≥ n) + P(N ≥ n+1)),
//
// from the logarithms of the two tails (Lancaster 1961). It is no valid p-value: P(mid-p ≤
// x) may be up to 2x. But it is less than a uniform number in convex order, and so
// E[e(mid-p)] ≤ E[e(U)] for every convex e (Rubin-Delanchy, Heard and Lawson,
// "Meta-analysis of mid-p-values: some new results based on the convex order", 2019). The
// calibrator of LogEFromLogP is a mixture of κ·p^(κ-1), which are convex, with integral 1: its
// e-value of a mid-p is valid, and greater than that of the p-value. Like the tails it
// falls with n, as EDetector.Set needs.
//
// Use it as evidence of counts; for a plain test at a level use the p-value itself.
func LogMidP(tail, next float64) float64 { return LogRandomP(tail, next, 0.5) }

// LogRandomP returns the logarithm of the randomised p-value of a count n,
//
//	P(N ≥ n+1) + u·P(N = n),
//
// from the logarithms of P(N ≥ n) and P(N ≥ n+1) and from a uniform u that is independent
// of n. If N follows the law it is exactly uniform, and for a law that is continuous it is
// the p-value: so histograms and Kolmogorov–Smirnov distances of it show calibration. It is
// valid as evidence too, but then an alarm would be chance in part: use it for figures
// alone.
//
// Valid range: log P ≤ 0 with next ≤ tail, u within 0 … 1; a next above tail counts as tail.
// NaN gives 0. Cost: O(1), about 20 ns.
func LogRandomP(tail, next, u float64) float64 {
	if tail != tail || next != next || u != u {
		return 0
	}
	ratio := math.Exp(min(next-tail, 0)) // P(N ≥ n+1)/P(N ≥ n)
	if math.IsInf(tail, -1) {
		return tail
	}
	return tail + math.Log(ratio+u*(1-ratio))
}
