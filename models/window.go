package models

import (
	"math"
	"time"
)

// Window is the sum of a value over a sliding window of time.
//
// The window is a ring of slots, each width/slots long (rounded up to a nanosecond) and
// aligned to the Unix epoch. The sum at t is that of the slots
//
//	floor(t/step)-slots … floor(t/step)
//
// which is slots+1 slots: all of (t-width, t], and at most one slot's length more at the
// old end. A value that is in the window is therefore never missed, and none older than
// width+step counts.
//
// Valid range: values within ±10^290. While every value is a whole number and the sum
// stays within ±2^53 sums are exact. Other values are added in float64, and the sum is
// made anew once in each turn of the ring, so that rounding cannot build up.
//
// Cost: Add and Sum at the newest slot are O(1) amortised, after a gap at most O(slots),
// and for a slot that is d slots late O(d). Bytes: 56 while nothing was added; then 4 more
// for each slot as long as each slot holds a whole number below 2^32, else 8. The two
// growths are the only allocations.
type Window struct {
	step   int64
	newest int64 // newest slot
	sum    float64
	// cells is the ring: one uint32 for each slot, or the two halves of a float64's bits
	// once wide.
	cells []uint32
	slots int32
	wide  bool
}

// maxWindowValue keeps every possible sum finite.
const maxWindowValue = 1e290

// NewWindow returns an empty window. It panics where width or slots is not positive.
func NewWindow(width time.Duration, slots int) Window {
	return Window{step: slotStep(width, slots), slots: int32(slots)}
}

// ring returns the number of slots that are kept.
func (w *Window) ring() int { return int(w.slots) + 1 }

// Add adds v at time t. A late value counts where it belongs. Add reports false, and
// changes nothing, where t's slot is no longer kept (it is more than slots before the
// newest slot that Add or Sum was given) or v is outside the valid range.
func (w *Window) Add(t int64, v float64) bool {
	if !(math.Abs(v) <= maxWindowValue) {
		return false
	}
	slot := slotOf(t, w.step)
	if w.cells == nil {
		w.cells = make([]uint32, w.ring())
		w.newest = slot
	}
	if slot > w.newest {
		w.advance(slot)
	} else if slotsBetween(slot, w.newest) > uint64(w.slots) {
		return false
	}
	w.put(ringIndex(slot, w.ring()), v)
	w.sum += v
	return true
}

// Sum returns the sum at time t, over the slots that the type's comment names. A t newer
// than the newest slot moves the window there. An older t is answered from the slots that
// are still kept, and moves nothing.
func (w *Window) Sum(t int64) float64 {
	if w.cells == nil {
		return 0
	}
	slot := slotOf(t, w.step)
	if slot >= w.newest {
		w.advance(slot)
		return w.sum
	}
	late := slotsBetween(slot, w.newest)
	if late > uint64(w.slots) {
		return 0
	}
	sum := w.sum
	for s := w.newest; s > slot; s-- {
		sum -= w.cell(ringIndex(s, w.ring()))
	}
	return sum
}

// advance makes slot, which is not older than the newest, the newest one.
func (w *Window) advance(slot int64) {
	gap := slotsBetween(w.newest, slot)
	if gap == 0 {
		return
	}
	if gap > uint64(w.slots) {
		clear(w.cells)
		w.newest, w.sum = slot, 0
		return
	}
	for i := ringIndex(w.newest, w.ring()); w.newest < slot; {
		w.newest++
		if i++; i == w.ring() {
			i = 0
		}
		w.sum -= w.cell(i)
		w.clearCell(i)
		if i == 0 && w.wide {
			w.resum()
		}
	}
}

// resum makes the running sum anew from the cells.
func (w *Window) resum() {
	w.sum = 0
	for i := range w.ring() {
		w.sum += w.cell(i)
	}
}

func (w *Window) cell(i int) float64 {
	if w.wide {
		return math.Float64frombits(uint64(w.cells[2*i])<<32 | uint64(w.cells[2*i+1]))
	}
	return float64(w.cells[i])
}

func (w *Window) clearCell(i int) {
	if w.wide {
		w.cells[2*i], w.cells[2*i+1] = 0, 0
		return
	}
	w.cells[i] = 0
}

// put adds v to cell i, and widens the cells where the result is no uint32.
func (w *Window) put(i int, v float64) {
	v += w.cell(i)
	if !w.wide {
		if n := uint32(v); v >= 0 && v <= math.MaxUint32 && float64(n) == v {
			w.cells[i] = n
			return
		}
		w.widen()
	}
	bits := math.Float64bits(v)
	w.cells[2*i], w.cells[2*i+1] = uint32(bits>>32), uint32(bits)
}

func (w *Window) widen() {
	narrow := w.cells
	w.cells, w.wide = make([]uint32, 2*len(narrow)), true
	for i, n := range narrow {
		bits := math.Float64bits(float64(n))
		w.cells[2*i], w.cells[2*i+1] = uint32(bits>>32), uint32(bits)
	}
}
