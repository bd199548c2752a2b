package models

import "math/bits"

// tally is one count of one key.
type tally struct {
	recent  float32 // S, the present tick included
	learned float32 // what the present tick will teach
	sum     float32 // of the closed ticks, fading
	squares float32 // of the closed ticks' counts, fading
}

// close ends the tick: what it teaches joins the past, and the past fades as does S, for
// all the ticks up to the present.
func (c *tally) close(f fade) {
	c.sum = (c.sum + c.learned) * f.keep
	c.squares = (c.squares + c.learned*c.learned) * f.keep
	c.recent *= f.carry
	c.learned = 0
}

// tallies are those that a key has beside its calls.
type tallies interface{ [0]tally | [2]tally }

// burstPlace is one key.
type burstPlace[M tallies] struct {
	key   uint64 // 0: empty
	last  int64  // tick up to which the tallies are
	more  M
	calls tally
}

func (p *burstPlace[M]) close(f fade) {
	p.calls.close(f)
	for i := range len(p.more) {
		p.more[i].close(f)
	}
}

// burstTable keeps keys within a bound. A key is in one of the probes places from its home on,
// before the first empty one. Places are never emptied, only taken over.
type burstTable[M tallies] struct {
	places []burstPlace[M] // a power of two
	bound  int
}

const (
	probes         = 8
	maxBurstPlaces = 1 << 24
)

func newBurstTable[M tallies](bound int) burstTable[M] {
	bound = min(max(bound, probes), maxBurstPlaces)
	return burstTable[M]{bound: 1 << bits.Len(uint(bound-1))}
}

// place returns the key's place, a new one where it has none, and whether it had one.
func (t *burstTable[M]) place(key uint64, now int64) (p *burstPlace[M], known bool) {
	if key == 0 {
		key = 1
	}
	for {
		weakest := -1
		mask := len(t.places) - 1
		home := int(key * 0x9E3779B97F4A7C15 >> 40)
		for i := home; i < home+probes && mask >= 0; i++ {
			p := &t.places[i&mask]
			if p.key == key {
				return p, true
			}
			if p.key == 0 {
				*p = burstPlace[M]{key: key, last: now}
				return p, false
			}
			if weakest < 0 || p.weaker(&t.places[weakest]) {
				weakest = i & mask
			}
		}
		if len(t.places) == t.bound {
			p := &t.places[weakest]
			*p = burstPlace[M]{key: key, last: now}
			return p, false
		}
		t.grow()
	}
}

// weaker says whether p is to give way before q: the one with fewer events, and of equals
// the one that was seen longer ago.
func (p *burstPlace[M]) weaker(q *burstPlace[M]) bool {
	a, b := p.calls.sum+p.calls.recent, q.calls.sum+q.calls.recent
	return a < b || a == b && p.last < q.last
}

// grow doubles the table. A key that finds no place takes that of the weakest.
func (t *burstTable[M]) grow() {
	old := t.places
	t.places = make([]burstPlace[M], max(probes, 2*len(old)))
	for i := range old {
		if old[i].key != 0 {
			t.insert(&old[i])
		}
	}
}

func (t *burstTable[M]) insert(from *burstPlace[M]) {
	mask := len(t.places) - 1
	home := int(from.key * 0x9E3779B97F4A7C15 >> 40)
	weakest := from
	for i := home; i < home+probes; i++ {
		p := &t.places[i&mask]
		if p.key == 0 {
			*p = *from
			return
		}
		if p.weaker(weakest) {
			weakest = p
		}
	}
	if weakest != from {
		*weakest = *from
	}
}

func (t *burstTable[M]) used() (n int) {
	for i := range t.places {
		if t.places[i].key != 0 {
			n++
		}
	}
	return n
}
