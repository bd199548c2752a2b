package shard

import (
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
)

// kinds are the far ends of an entity's edges of one sort: the resources it used, the
// agents that used it.
//
// A kind that turns up while evidence is high is held back, so that an attack is not
// learned: it is learned when the evidence has gone, and forgotten when it has led to a
// detection.
//
// A surprise feature holds every new kind back for a while, for a thief is still a thief at
// the second call. Where several kinds are known, calls come in runs of one kind (a session
// of one of the agents that share an identity), and only the call that turns from one kind
// to another says something about who else is there. Turning to a fresh kind is rarer than
// a fresh kind among all calls, so the predicted probability errs on the side of "not
// surprising".
//
// New kinds come in clumps: a new task brings several at once. So the probability of a
// fresh kind right after a fresh one is learned apart.
//
// A kind that is new to the entity may be known to its peers: to its group, or at least to its
// tenant. How often that is so are further questions, asked only at fresh kinds; the e-values of
// the answers multiply the first one's.
type kinds struct {
	known models.Novelty
	held  []heldKind
	last  uint64 // hash of the last call's kind
	// Of the draws right after a fresh one: how many were fresh, and how many would have been
	// with the probability of any draw.
	again, expected float64

	begun bool // there was a last call
	// Of the last call:
	counts bool    // it is evidence, one way or the other
	fresh  bool    // a new kind; for surprise a turn to a new or held kind
	p      float64 // probability, before the call, that it would be fresh
	q      float64 // the same under the alternative that the evidence is for
	peersE float64 // log e-value of what the peers know of the fresh kind
}

type heldKind struct {
	hash  uint64
	draws uint32 // for surprise: turns to it
	since int64  // when it was first seen
}

func newKinds() *kinds {
	return &kinds{known: models.NewNovelty(noveltyDiscount, noveltyStrength, noveltyKinds)}
}

// draw takes in that the call at t has a value with hash h. A new kind is learned at once,
// or held back if hold says so. It reports whether a new kind was learned.
func (k *kinds) draw(h uint64, t int64, surprise, hold bool) (learned bool) {
	follows := k.fresh && k.begun && !surprise
	p := k.pFresh(surprise)
	k.p, k.q = p, freshHalf
	if follows {
		k.p, k.q = k.pAgain(p), freshMost
	}
	at := k.heldAt(h)
	same := k.begun && h == k.last
	k.last, k.begun = h, true
	seen := at < 0 && k.known.Seen(h)
	k.counts = true
	if surprise {
		k.fresh = !seen && (!same || k.dedicated())
		k.counts = seen || k.fresh // the run of a held kind says nothing
	} else {
		k.fresh = !seen && at < 0
	}
	if follows && !hold {
		k.expected += p
		k.again += truth(k.fresh)
	}
	switch {
	case at >= 0:
		if k.fresh || !surprise {
			k.held[at].draws++
		}
	case seen || !hold:
		k.known.Learn(h)
		return !seen
	case len(k.held) < maxHeld:
		k.held = append(k.held, heldKind{h, 1, t})
	}
	return false
}

// Who collects what it never touched draws fresh kinds half of the time, and mostly more of
// them once it has begun.
const (
	freshHalf = 0.5
	freshMost = 0.9
)

// pAgain is the probability that a fresh kind comes right after a fresh one, where any draw
// is fresh with probability p: the odds are higher by as much as such draws were fresh more
// often than any, which is believed to be tenfold before anything was seen.
func (k *kinds) pAgain(p float64) float64 {
	const lift, weight = 10, 2
	more := max(1, (k.again+lift*weight)/(k.expected+weight))
	return more * p / (1 - p + more*p)
}

// compare asks whether the fresh kind of the last call, as feature i, is new to the peers too.
func (k *kinds) compare(h uint64, peers *peerRule, i int) {
	k.peersE = 0
	if k.fresh {
		k.peersE = peers.logENew(i, h)
	}
}

// logE returns the logarithm of the last call's e-value.
func (k *kinds) logE() float64 {
	return models.LogEBernoulli(k.fresh, k.p, k.q) + k.peersE
}

// pFresh is the probability that the next call is fresh. Held calls count, so that
// the prediction is the one that would be made had they been learned.
func (k *kinds) pFresh(surprise bool) float64 {
	var draws, singles float64
	for i := range k.held {
		draws += float64(k.held[i].draws)
		singles += truth(k.held[i].draws == 1)
	}
	p := k.known.PNewAfter(len(k.held), draws, singles)
	if !surprise || draws == 0 {
		return p
	}
	return min(1, p+draws/(draws+k.known.Draws()+noveltyStrength))
}

// dedicated reports whether all calls so far were of one kind: an identity of one agent.
// It has no turns to learn from, so each call of a stranger counts.
func (k *kinds) dedicated() bool { return k.known.Kinds() == 1 }

func (k *kinds) heldAt(h uint64) int {
	for i := range k.held {
		if k.held[i].hash == h {
			return i
		}
	}
	return -1
}

// settle learns the kinds that were held back and are honest after all, at time t, and gives
// each to learned.
func (k *kinds) settle(t int64, surprise bool, learned func(h uint64)) {
	kept := k.held[:0]
	for _, h := range k.held {
		if surprise && t-h.since < int64(heldFor) {
			kept = append(kept, h)
			continue
		}
		for range min(h.draws, maxHeldDraws) {
			k.known.Learn(h.hash)
		}
		learned(h.hash)
	}
	k.held = kept
}

// forget drops what was held back: it has led to a detection.
func (k *kinds) forget() {
	k.held = k.held[:0]
	k.begun = false
}

// value is what a condition reads: for new 1 or 0, for surprise the nats that the call was worth.
func (k *kinds) value(kind detector.FeatureKind) float64 {
	if kind == detector.KindNew {
		return truth(k.fresh)
	}
	if k.fresh {
		return -math.Log(k.p)
	}
	return 0
}
