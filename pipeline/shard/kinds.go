package shard

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
)

// kinds are the far ends of an entity's edges of one sort: the resources it used, the
// agents that used it.
//
// A kind that turns up while evidence is high is held back, so that an attack is not
// learned: it is learned when the evidence has gone, and forgotten when it has led to a
// detection. A surprise feature holds every new kind back until it has been drawn
// heldDraws times, for a thief is still a thief at the second call.
type kinds struct {
	known models.Novelty
	held  []heldKind

	// Of the last draw:
	drawn bool
	fresh bool    // a new kind, or for surprise also a held one
	logP  float64 // log probability, before the draw, that it would be fresh
}

type heldKind struct {
	hash  uint64
	draws uint32
}

func newKinds() *kinds {
	return &kinds{known: models.NewNovelty(noveltyDiscount, noveltyStrength, noveltyKinds)}
}

// draw takes in that the call's value hashes to h.
func (k *kinds) draw(h uint64, surprise, high bool) {
	k.drawn = true
	k.logP = k.logFresh(surprise)
	at := k.heldAt(h)
	seen := at < 0 && k.known.Seen(h)
	k.fresh = !seen && (at < 0 || surprise)
	switch {
	case at >= 0:
		k.held[at].draws++
	case seen || !surprise && !high:
		k.known.Learn(h)
	case len(k.held) < maxFresh:
		k.held = append(k.held, heldKind{h, 1})
	}
}

// logFresh is the log probability that the next draw is fresh. Held draws count as drawn,
// so that the prediction is the one that would be made had they been learned.
func (k *kinds) logFresh(surprise bool) float64 {
	var draws, singles float64
	for i := range k.held {
		draws += float64(k.held[i].draws)
		singles += truth(k.held[i].draws == 1)
	}
	logNew := k.known.LogNewAfter(len(k.held), draws, singles)
	if !surprise || draws == 0 {
		return logNew
	}
	return math.Min(0, logAddExp(logNew, math.Log(draws/(draws+k.known.Draws()+noveltyStrength))))
}

func (k *kinds) heldAt(h uint64) int {
	for i := range k.held {
		if k.held[i].hash == h {
			return i
		}
	}
	return -1
}

// settle learns the kinds that were held back and are honest after all.
func (k *kinds) settle(surprise bool) {
	kept := k.held[:0]
	for _, h := range k.held {
		if surprise && h.draws < heldDraws {
			kept = append(kept, h)
			continue
		}
		for range min(h.draws, 1000) {
			k.known.Learn(h.hash)
		}
	}
	k.held = kept
}

// value is what a condition reads: for new 1 or 0, for surprise the nats that the draw was worth.
func (k *kinds) value(kind detector.FeatureKind) float64 {
	if kind == detector.KindNew {
		return truth(k.fresh)
	}
	if k.fresh {
		return -k.logP
	}
	return -math.Log1p(-math.Exp(math.Min(k.logP, -1e-12)))
}

func hash(b []byte) uint64 { return xxhash.Sum64(b) }
