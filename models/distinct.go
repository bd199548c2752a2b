package models

import "time"

// maxDistinctSlots is the largest number of slots of a Distinct: slot codes are bytes.
const maxDistinctSlots = 127

// Distinct is the number of different hashes in a sliding window of time: exact while at
// most exact are live, then a HyperLogLog estimate with a standard error of 6.5 % (see
// sketch). It is exact again once a whole window has passed with at most exact.
//
// The slots that count at t are those of Window: floor(t/step)-slots … floor(t/step). The
// clock of a Distinct is the newest time that Add or Count was given: an older Count is
// answered as of that time, because only the last slot of a hash is kept.
//
// Valid range: 1 … 127 slots (more are lowered to 127, which makes the slots longer),
// exact ≤ 65535, up to about 2^31 different hashes.
//
// Cost: Add O(1) amortised, plus O(256) for each new slot once estimating; Count O(1),
// about 100 ns while estimating; after a gap at most O(slots + exact). Bytes: 104 while
// empty, then 2 for each slot and 12 for each place of a table with at most 4·exact places;
// while estimating 6.5 KiB more.
type Distinct struct {
	step   int64
	newest int64 // newest slot
	base   int64 // the slot whose code is 1
	since  int64 // while estimating: first slot from which the table is complete
	table  table[uint8]
	fresh  []uint16 // ring: how many hashes of the table were last seen in each slot
	sketch *sketch  // nil while exact
	live   int32    // sum of fresh
	exact  uint16
	slots  uint8
}

// NewDistinct returns an empty count. It panics where width or slots is not positive or
// exact is outside 0 … 65535.
func NewDistinct(width time.Duration, slots, exact int) Distinct {
	if exact < 0 || exact > 65535 {
		panic("models: exact must be in 0 … 65535")
	}
	slots = min(slots, maxDistinctSlots)
	return Distinct{step: slotStep(width, slots), slots: uint8(slots), exact: uint16(exact)}
}

// Exact says whether Count is exact now: it does not estimate, or every live slot is in
// the table again.
func (d *Distinct) Exact() bool {
	return d.sketch == nil || d.exact > 0 && d.newest-int64(d.slots) >= d.since
}

func (d *Distinct) ring() int { return int(d.slots) + 1 }

// code returns the code of a live slot; rebase keeps it within a byte.
func (d *Distinct) code(slot int64) uint8 { return uint8(slot - d.base + 1) }

// oldest returns the code of the oldest live slot.
func (d *Distinct) oldest() uint8 { return d.code(d.newest - int64(d.slots)) }

// Add notes that hash h was seen at time t. A late one counts where it belongs; one whose
// slot is no longer kept is ignored.
func (d *Distinct) Add(t int64, h uint64) {
	slot := slotOf(t, d.step)
	if d.fresh == nil {
		d.fresh = make([]uint16, d.ring())
		d.start(slot)
	}
	if slot > d.newest {
		d.advance(slot)
	} else if slotsBetween(slot, d.newest) > uint64(d.slots) {
		return
	}
	if d.sketch != nil {
		d.sketch.add(h, d.code(slot))
		if d.exact == 0 {
			return
		}
	}
	d.note(h, slot)
}

// Count returns the number of different hashes at time t. A t newer than the newest slot
// moves the window there; an older one is answered as of the newest.
func (d *Distinct) Count(t int64) float64 {
	if d.fresh == nil {
		return 0
	}
	if slot := slotOf(t, d.step); slot > d.newest {
		d.advance(slot)
	}
	if d.Exact() {
		return float64(d.live)
	}
	return d.sketch.estimate()
}

// start makes an empty window whose newest slot is slot.
func (d *Distinct) start(slot int64) {
	d.newest, d.base, d.live, d.sketch = slot, slot-int64(d.slots), 0, nil
}

// note records in the table that h was seen in a live slot.
func (d *Distinct) note(h uint64, slot int64) {
	code := d.code(slot)
	i := d.table.find(h)
	if i < 0 {
		d.insert(h, slot)
		return
	}
	was := d.table.places[i].val
	if was >= code {
		return
	}
	if was >= d.oldest() {
		d.fresh[ringIndex(d.base+int64(was)-1, d.ring())]--
		d.live--
	} else if d.live >= int32(d.exact) { // it comes back, and the table is at its bound
		d.overflow(h, code)
		return
	}
	d.table.places[i].val = code
	d.fresh[ringIndex(slot, d.ring())]++
	d.live++
}

func (d *Distinct) insert(h uint64, slot int64) {
	if d.live >= int32(d.exact) {
		d.overflow(h, d.code(slot))
		return
	}
	// Dead entries are swept out only when they are at least a quarter: O(1) amortised.
	if d.table.full() && (d.table.used-d.live)*4 >= d.table.used {
		d.sweep()
	}
	d.table.add(h, d.code(slot))
	d.fresh[ringIndex(slot, d.ring())]++
	d.live++
}

// overflow goes from counting to estimating, with h as one hash more than exact. Where it
// already estimates, it begins the table anew.
func (d *Distinct) overflow(h uint64, code uint8) {
	if d.sketch == nil {
		d.sketch = newSketch()
		oldest := d.oldest()
		for i := range d.table.places {
			if e := &d.table.places[i]; e.val >= oldest {
				d.sketch.add(e.key(), e.val)
			}
		}
		d.sketch.add(h, code)
	}
	d.table.clear()
	clear(d.fresh)
	d.live = 0
	d.since = d.newest + 1
}

// advance makes slot, newer than the newest, the newest one.
func (d *Distinct) advance(slot int64) {
	if slotsBetween(d.newest, slot) > uint64(d.slots) {
		d.table.clear()
		clear(d.fresh)
		d.start(slot)
		return
	}
	for i := ringIndex(d.newest, d.ring()); d.newest < slot; {
		d.newest++
		if i++; i == d.ring() {
			i = 0
		}
		d.live -= int32(d.fresh[i])
		d.fresh[i] = 0
	}
	if d.newest-d.base >= 255 {
		d.rebase()
	}
	if d.sketch != nil {
		d.sketch.expire(d.oldest())
		// Half of exact, so that an entity near the bound does not make a sketch again and again.
		if d.Exact() && d.live <= int32(d.exact)/2 {
			d.sketch = nil
		}
	}
}

// sweep deletes from the table what is not live.
func (d *Distinct) sweep() {
	oldest := d.oldest()
	d.table.sweep(func(_ uint64, code uint8) bool { return code < oldest })
}

// rebase gives the oldest live slot the code 1, so that codes stay within a byte.
func (d *Distinct) rebase() {
	d.sweep()
	delta := d.oldest() - 1
	for i := range d.table.places {
		code := &d.table.places[i].val
		*code -= min(*code, delta)
	}
	if d.sketch != nil {
		d.sketch.rebase(delta)
	}
	d.base += int64(delta)
}
