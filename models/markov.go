package models

import "math"

// Markov is the predictive distribution of the next symbol of a sequence (an action, a
// resource) given the ones before it: a Markov chain of variable order. The contexts of a
// draw are the last order symbols, the last order-1, … and none; each holds what followed
// it, and the probability backs off from the longest to the shortest:
//
//	P_k(x) = (1 - new_k)·(c_k(x) - d)/(n_k - F_k - d·K_k) + new_k·P_{k-1}(x)
//
// where c_k(x) of the n_k draws in the context of length k were x, K_k kinds are kept, F_k
// draws are of kinds that were forgotten, and new_k is the probability of a new kind as in
// LogProbBackoff. A context learns only the draws that were new to the next longer one.
// With new_k = (θ + d·K_k)/(θ + n_k) it is the hierarchical Pitman–Yor process with one
// table for each dish (Teh 2006), which is interpolated Kneser–Ney smoothing; the back-off
// is that of prediction by partial matching (Cleary and Witten 1984). The discount d = ½ lies
// in the middle of what Teh finds in text, 0.4 – 0.8, and θ = 1 says that one draw makes a
// context known by half.
//
// The symbols of a history need not be of one sequence: for a resource given the action,
// and given the action before, the history is (action before, action).
//
// At most cap transitions (a context and what followed) are kept. Where a new one does not
// fit, a quarter is forgotten, the rarest first, as by Novelty: what was forgotten counts as
// possible again, which errs on the side of "not surprising". A context without transitions
// is forgotten whole.
//
// Units: natural logarithms. Valid range: any hashes. Cost: LogProb O(order), about 50 ns for
// each context; Learn O(order) amortised, up to 1 µs where it forgets all the time. Bytes:
// 104, 12 for each place of a table with at most 8/3·cap places, and for each context, of
// which there are no more than transitions, 24 and at most 32 in its table.
type Markov struct {
	next     table[uint32] // place of the context and symbol → count
	index    table[uint32] // hash of the context → its place + 1
	contexts []context     // by place
	vacant   int32         // no place before it is vacant
	cap      int32
	order    int32
}

// context is what precedes a symbol: its draws.
type context struct {
	hash    uint64
	draws   uint32
	kept    uint32
	kinds   uint32 // 0: the place is vacant
	singles uint32 // kinds drawn once
}

const (
	markovDiscount      = 0.5
	markovConcentration = 1

	longestOrder    = 8
	mostTransitions = 1 << 16 // so that a place fits in the 16 bits that transition has for it
)

// NewMarkov returns a model without draws. It panics where order is outside 0 … 8 or cap,
// the number of transitions that are kept, outside 4 … 2^16.
func NewMarkov(order, cap int) Markov {
	if order < 0 || order > longestOrder || cap < 4 || cap > mostTransitions {
		panic("models: a Markov chain needs an order of 0 … 8 and a cap of 4 … 2^16 transitions")
	}
	return Markov{order: int32(order), cap: int32(cap)}
}

// LogProb returns the log probability that next follows history, whose last symbol is the
// most recent; of a longer one the last order symbols count. logBase is the log probability
// of next where no context knows it, as for LogProbBackoff: with 0 the result is that of
// "next or anything unknown", and the LogProb of the peers' chain continues the back-off.
func (m *Markov) LogProb(history []uint64, next uint64, logBase float64) float64 {
	chain := backoff{fresh: 1}
	hash := uint64(rootContext)
	for length := 0; ; length++ {
		if place := m.place(hash); place >= 0 {
			chain.add(m.interpolated(place, next))
		}
		if length == m.depth(history) {
			return chain.logP(logBase)
		}
		hash = longer(hash, history, length)
	}
}

// Learn takes in that next followed history. It says whether next was new to every context,
// which is when a wider chain is to learn it too.
func (m *Markov) Learn(history []uint64, next uint64) (isNew bool) {
	var hashes [longestOrder + 1]uint64
	depth := m.depth(history)
	hashes[0] = rootContext
	for length := range depth {
		hashes[length+1] = longer(hashes[length], history, length)
	}
	for length := depth; length >= 0; length-- {
		if m.count(hashes[length], next) {
			return false
		}
	}
	return true
}

// count adds a draw to a context and says whether it was known there.
func (m *Markov) count(hash, next uint64) (known bool) {
	place := m.place(hash)
	if place >= 0 {
		if i := m.next.find(transition(place, next)); i >= 0 {
			m.again(&m.contexts[place], &m.next.places[i].val)
			return true
		}
		if m.contexts[place].draws == math.MaxUint32 {
			return false
		}
	}
	if m.next.used == m.cap {
		m.forget()
		place = m.place(hash) // it may be forgotten
	}
	if place < 0 {
		place = m.open(hash)
	}
	m.next.add(transition(place, next), 1)
	c := &m.contexts[place]
	c.kinds++
	c.singles++
	c.kept++
	c.draws++
	return false
}

// again counts a draw of a kind that is known. A context with 2^32 draws is full.
func (m *Markov) again(c *context, count *uint32) {
	if c.draws == math.MaxUint32 {
		return
	}
	if *count == 1 {
		c.singles--
	}
	*count++
	c.kept++
	c.draws++
}

// interpolated returns the probability that a context itself gives to next, and the
// probability that it hands to the next shorter one.
func (m *Markov) interpolated(place int, next uint64) (own, fresh float64) {
	c := &m.contexts[place]
	fresh = pBackoff(markovDiscount, markovConcentration, law{
		draws:     float64(c.draws),
		forgotten: float64(c.draws - c.kept),
		kinds:     float64(c.kinds),
		singles:   float64(c.singles),
	})
	if i := m.next.find(transition(place, next)); i >= 0 {
		share := (float64(m.next.places[i].val) - markovDiscount) / (float64(c.kept) - markovDiscount*float64(c.kinds))
		own = share * (1 - fresh)
	}
	return own, fresh
}

// forget drops about a quarter of the transitions, and the contexts that have none left.
func (m *Markov) forget() {
	forgetRarest(&m.next, m.salt(), func(key uint64, count uint32) {
		c := &m.contexts[key>>48]
		c.kept -= count
		c.kinds--
		if count == 1 {
			c.singles--
		}
	})
	m.index.sweep(func(_ uint64, at uint32) bool { return m.contexts[at-1].kinds == 0 })
	m.vacant = 0
}

// salt changes with the draws and is the same after a restart.
func (m *Markov) salt() (sum uint64) {
	for i := range m.contexts {
		if c := &m.contexts[i]; c.kinds > 0 {
			sum += uint64(c.draws)
		}
	}
	return sum
}

// open gives a context that is not there the first vacant place.
func (m *Markov) open(hash uint64) (place int) {
	place = int(m.vacant)
	for place < len(m.contexts) && m.contexts[place].kinds > 0 {
		place++
	}
	if place == len(m.contexts) {
		m.contexts = append(m.contexts, context{})
	}
	m.vacant = int32(place + 1)
	m.contexts[place] = context{hash: hash}
	m.index.add(hash, uint32(place+1))
	return place
}

// place returns where a context is, or -1.
func (m *Markov) place(hash uint64) int {
	i := m.index.find(hash)
	if i < 0 {
		return -1
	}
	return int(m.index.places[i].val) - 1
}

// depth returns how many symbols of history count.
func (m *Markov) depth(history []uint64) int { return min(len(history), int(m.order)) }

// rootContext is the hash of the context of length 0.
const rootContext = 0x9E3779B97F4A7C15

// longer returns the hash of the context that is one symbol longer than the one of length.
func longer(hash uint64, history []uint64, length int) uint64 {
	return mix(hash ^ mix(history[len(history)-1-length]+uint64(length)+1))
}

// transition is the key of a symbol in a context.
func transition(place int, symbol uint64) uint64 { return uint64(place)<<48 | symbol>>16 }
