package models

import "math"

// LogEBernoulli returns the log e-value of one draw that hit or not, where the model gave a
// hit the probability p and the alternative gives it q:
//
//	½ + ½·LR,  LR = q/p if hit, (1-q)/(1-p) if not
//
// It bets that hits become more frequent. If the true probability p0 of a hit is at most p,
// and p ≤ q, the expectation of LR is 1 - (q-p)(p-p0)/(p(1-p)) ≤ 1, so that it is a valid
// e-value; the ½ bounds what one draw can take away, as in LogENovel. Where p ≥ q the
// alternative says nothing and the e-value is ¾, for the reason that LogENovel gives.
//
// Valid range: every p, q in (0, 1). A p below 0 counts as 0, NaN as 1; the result is at most
// MaxLogE. Cost: O(1), about 10 ns.
func LogEBernoulli(hit bool, p, q float64) float64 {
	switch {
	case !(p < q):
		return logThreeQuarters
	case hit:
		return min(math.Log(0.5+0.5*q/max(p, 0)), MaxLogE)
	}
	return math.Log(0.5 + 0.5*(1-q)/(1-max(p, 0)))
}
