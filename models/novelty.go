package models

import (
	"math"
	"slices"
)

// Novelty is the predictive probability that the next draw of an entity (a resource, an
// action, an identity) is of a kind that it never drew before.
//
// After n draws of K kinds, of which N1 were drawn once, it is the larger of
//
//	(θ + d·K) / (θ + n)     Pitman–Yor process (Pitman and Yor 1997)
//	(N1 + 1) / (n + 1)      Good–Turing (Good 1953), smoothed
//
// The first is exact where draws follow a Pitman–Yor process with discount d (0 ≤ d < 1)
// and concentration θ (θ > -d). The second holds, on average over the past, for every
// exchangeable sequence: the chance that draw n+1 is the only one of its kind among n+1 is
// E[N1 after n+1]/(n+1), and one draw raises N1 by at most 1. So an entity that always
// visits new things is not surprising.
//
// At most cap kinds are kept. Where a new one does not fit, a quarter of the kinds is
// forgotten: those with the smallest counts and, among equal counts, those whose hash
// comes first in an order that changes with each time. The F draws of forgotten kinds stay
// in n. They are added to θ + d·K, which is the exact Pitman–Yor probability of a kind
// that is new or forgotten, and to N1 + 1, in which then every kept kind counts as drawn
// once: both err on the side of "not surprising".
//
// Cost: Seen, LogNew and LogProb O(1), about 10–20 ns; Learn O(1) amortised. Bytes: 72,
// and 12 for each place of a table with at most 8/3·cap places.
type Novelty struct {
	discount, concentration float64

	draws   float64 // n
	kept    float64 // draws of the kinds in the table: n - F
	singles int32   // N1, in the table
	cap     int32
	table   table[uint32]
}

// NewNovelty returns a model without draws. It panics where discount is outside [0, 1),
// concentration is not above -discount, or cap is below 4.
func NewNovelty(discount, concentration float64, cap int) Novelty {
	if !(discount >= 0 && discount < 1 && concentration > -discount && concentration <= math.MaxFloat64) {
		panic("models: novelty needs 0 ≤ discount < 1 and concentration > -discount")
	}
	if cap < 4 || cap > maxKinds {
		panic("models: novelty needs a cap of 4 … 2^24 kinds")
	}
	return Novelty{discount: discount, concentration: concentration, cap: int32(cap)}
}

const maxKinds = 1 << 24

// Seen says whether the kind with hash h is known.
func (v *Novelty) Seen(h uint64) bool { return v.table.find(h) >= 0 }

// Draws returns how many draws were learned.
func (v *Novelty) Draws() float64 { return v.draws }

// Kinds returns how many kinds are known.
func (v *Novelty) Kinds() int { return int(v.table.used) }

// Hashes returns the hashes of the kinds that are known, the least first.
func (v *Novelty) Hashes() []uint64 {
	hashes := make([]uint64, 0, v.table.used)
	for i := range v.table.places {
		if e := &v.table.places[i]; e.val != 0 {
			hashes = append(hashes, e.key())
		}
	}
	slices.Sort(hashes)
	return hashes
}

// LogNew returns the log probability that the next draw's kind is not known.
func (v *Novelty) LogNew() float64 { return math.Log(v.PNew()) }

// PNew returns the probability that the next draw's kind is not known.
func (v *Novelty) PNew() float64 { return v.PNewAfter(0, 0, 0) }

// PNewAfter is PNew as it would be after draws further draws of more further new kinds,
// singles of them drawn once. It serves whoever holds draws back before it learns them, and
// must predict as if it had. O(1).
func (v *Novelty) PNewAfter(more int, draws, singles float64) float64 {
	return pNew(v.discount, v.concentration, law{
		draws:     v.draws + draws,
		forgotten: v.draws - v.kept,
		kinds:     float64(more) + float64(v.table.used),
		singles:   singles + float64(v.singles),
	})
}

// law is what the probability of a new kind depends on.
type law struct {
	draws, forgotten, kinds, singles float64
}

// pNew is the probability of the comment of Novelty, 1 where nothing was drawn.
func pNew(discount, concentration float64, l law) float64 {
	if l.draws == 0 {
		return 1
	}
	return min(1, max(l.pitmanYor(discount, concentration), l.goodTuring()))
}

func (l law) pitmanYor(discount, concentration float64) float64 {
	return (concentration + discount*l.kinds + l.forgotten) / (concentration + l.draws)
}

func (l law) goodTuring() float64 {
	if l.forgotten > 0 { // the kinds that are left were selected for having been drawn more often
		l.singles = l.kinds
	}
	return (l.singles + 1 + l.forgotten) / (l.draws + 1)
}

// LogProb returns the log probability that the next draw has hash h. For a known kind
// drawn c times it is its share (c-d)/(n-F-d·K) of what LogNew leaves; for any other it is
// LogNew. It is -Inf for a known kind only where LogNew is 0. Detectors ask only whether a kind
// is new; LogProb is for programs that want the whole law, such as the surprise of an edge.
func (v *Novelty) LogProb(h uint64) float64 {
	i := v.table.find(h)
	if i < 0 {
		return v.LogNew()
	}
	share := (float64(v.table.places[i].val) - v.discount) / (v.kept - v.discount*float64(v.table.used))
	return math.Log(share) + math.Log1p(-v.PNew())
}

// Learn takes in a draw of the kind with hash h.
func (v *Novelty) Learn(h uint64) {
	i := v.table.find(h)
	if i < 0 {
		if v.table.used == v.cap {
			v.forget()
		}
		v.table.add(h, 1)
		v.singles++
	} else {
		count := &v.table.places[i].val
		if *count == math.MaxUint32 {
			v.draws++ // counts among the forgotten
			return
		}
		if *count == 1 {
			v.singles--
		}
		*count++
	}
	v.draws++
	v.kept++
}

// forget drops about a quarter of the kinds by the rule of the type's comment.
func (v *Novelty) forget() {
	forgetRarest(&v.table, uint64(v.draws), func(_ uint64, count uint32) {
		v.kept -= float64(count)
		if count == 1 {
			v.singles--
		}
	})
}

// mix is the finaliser of MurmurHash3 (Appleby), a bijection whose bits all depend on all.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
