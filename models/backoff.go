package models

import "math"

// LogProbBackoff returns the log probability that the next draw is h, through levels from
// the entity itself to ever wider groups (agent, peer group, tenant):
//
//	P(h) = own_0(h) + new_0 · (own_1(h) + new_1 · ( … + new_L · base))
//
// new_i is the PNew of level i, where Good–Turing counts up to n/(n+1): one that never drew
// anything twice would else give the kinds it knows no probability at all. own_i(h) is the
// share that h has in what new_i leaves, 0 where the level does not know it. With the levels filled by LearnBackoff this is the
// hierarchical Pitman–Yor process with one table for each dish, which is interpolated
// Kneser–Ney smoothing (Teh, "A hierarchical Bayesian language model based on Pitman–Yor
// processes", 2006). A level without draws has new = 1 and changes nothing, so a new agent
// is judged by its peers.
//
// logBase is the log probability of h where no level knows it: -log(n) spreads what is new
// to all over n kinds, and another model's log probability continues the chain. If the base
// adds up to at most 1 over all kinds, so do the P. The base 0 does not: it gives the
// probability that h comes or anything that no level knows. By that measure nothing known
// is ever stranger than the unknown.
//
// Units: natural logarithms, at most 0. Valid range: logBase ≤ 0; others, and NaN, count as
// 0. Cost: O(levels), about 35 ns each; it allocates nothing.
func LogProbBackoff(h uint64, logBase float64, levels ...*Novelty) float64 {
	chain := backoff{fresh: 1}
	for i := len(levels) - 1; i >= 0; i-- {
		chain.add(levels[i].interpolated(h))
	}
	return chain.logP(logBase)
}

// LearnBackoff takes in a draw of h: a level learns only the draws that were new to the
// level below it, so that a wide level counts entities which use h and not how often.
func LearnBackoff(h uint64, levels ...*Novelty) {
	for _, level := range levels {
		known := level.Seen(h)
		level.Learn(h)
		if known {
			return
		}
	}
}

// interpolated returns the probability that a level itself gives to h, and the probability
// that it hands to the next level.
func (v *Novelty) interpolated(h uint64) (own, fresh float64) {
	fresh = pBackoff(v.discount, v.concentration, law{
		draws:     v.draws,
		forgotten: v.draws - v.kept,
		kinds:     float64(v.table.used),
		singles:   float64(v.singles),
	})
	if i := v.table.find(h); i >= 0 {
		share := (float64(v.table.places[i].val) - v.discount) / (v.kept - v.discount*float64(v.table.used))
		own = share * (1 - fresh)
	}
	return own, fresh
}

// pBackoff is the new_i of LogProbBackoff, below 1 but for a level without draws.
func pBackoff(discount, concentration float64, l law) float64 {
	if l.draws == 0 {
		return 1
	}
	return max(l.pitmanYor(discount, concentration), min(l.goodTuring(), l.draws/(l.draws+1)))
}

// backoff is a chain of levels: P = own + fresh·base. The base is kept apart since it may be
// below the smallest float64.
type backoff struct{ own, fresh float64 }

// add puts a more special level before the chain.
func (b *backoff) add(own, fresh float64) {
	b.own = own + fresh*b.own
	b.fresh *= fresh
}

func (b *backoff) logP(logBase float64) float64 {
	if !(logBase < 0) {
		logBase = 0
	}
	if b.own == 0 {
		return math.Log(b.fresh) + logBase
	}
	return min(0, math.Log(b.own+b.fresh*math.Exp(logBase)))
}
