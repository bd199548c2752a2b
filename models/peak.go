package models

import (
	"encoding/binary"
	"time"
)

// Peak is the largest value over a sliding window of time: the same slots as a Window's,
// each with the largest value that fell into it.
//
// Valid range: finite values; nothing below 0 is told from 0, which is the value of an empty
// window.
//
// Cost: Add O(1); Max O(1), and O(slots) where the largest value has just left the window.
// Bytes: 56 while nothing was added, then 8 more for each slot.
type Peak struct {
	step   int64
	newest int64 // newest slot
	top    float64
	cells  []float64
	slots  int32
}

// NewPeak returns an empty window. It panics where width or slots is not positive.
func NewPeak(width time.Duration, slots int) Peak {
	return Peak{step: slotStep(width, slots), slots: int32(slots)}
}

func (p *Peak) ring() int { return int(p.slots) + 1 }

// Add takes in v at time t. A late value counts where it belongs. Add reports false, and
// changes nothing, where t's slot is no longer kept or v is not a finite number.
func (p *Peak) Add(t int64, v float64) bool {
	if v-v != 0 {
		return false
	}
	slot := slotOf(t, p.step)
	if p.cells == nil {
		p.cells = make([]float64, p.ring())
		p.newest = slot
	}
	if slot > p.newest {
		p.advance(slot)
	} else if slotsBetween(slot, p.newest) > uint64(p.slots) {
		return false
	}
	cell := &p.cells[ringIndex(slot, p.ring())]
	*cell = max(*cell, v)
	p.top = max(p.top, v)
	return true
}

// Max returns the largest value in the window that ends at t, 0 if there is none. A t older
// than the newest slot is answered for the newest.
func (p *Peak) Max(t int64) float64 {
	if p.cells == nil {
		return 0
	}
	if slot := slotOf(t, p.step); slot > p.newest {
		p.advance(slot)
	}
	return p.top
}

// advance makes slot, which is newer than the newest, the newest one.
func (p *Peak) advance(slot int64) {
	if slotsBetween(p.newest, slot) > uint64(p.slots) {
		clear(p.cells)
		p.newest, p.top = slot, 0
		return
	}
	lost := false
	for p.newest < slot {
		p.newest++
		cell := &p.cells[ringIndex(p.newest, p.ring())]
		lost = lost || *cell == p.top
		*cell = 0
	}
	if lost {
		p.top = 0
		for _, v := range p.cells {
			p.top = max(p.top, v)
		}
	}
}

const peakVersion = 1

// AppendBinary appends the state to b: the slots that are not zero. It never fails.
func (p *Peak) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, peakVersion)
	b = binary.AppendUvarint(b, uint64(p.step))
	b = binary.AppendUvarint(b, uint64(p.slots))
	if p.cells == nil {
		return append(b, formEmpty), nil
	}
	b = append(b, formNarrow)
	b = binary.AppendVarint(b, p.newest)
	used := 0
	for _, v := range p.cells {
		if v != 0 {
			used++
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	for age := range p.cells {
		if v := p.cells[ringIndex(p.newest-int64(age), p.ring())]; v != 0 {
			b = appendShort(binary.AppendUvarint(b, uint64(age)), v)
		}
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewPeak returned it, with the same parameters.
func (p *Peak) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, peakVersion)
	r.parameter(uint64(p.step))
	r.parameter(uint64(p.slots))
	d := Peak{step: p.step, slots: p.slots}
	switch r.byte() {
	case formEmpty:
	case formNarrow:
		d.decodeCells(&r)
	default:
		r.fail("the form of a window")
	}
	if r.err != nil {
		return nil, r.err
	}
	*p = d
	return r.rest, nil
}

func (p *Peak) decodeCells(r *reader) {
	p.newest = r.varint()
	p.cells = make([]float64, p.ring())
	for range r.count(p.ring()) {
		age, v := r.count(int(p.slots)), r.short()
		cell := &p.cells[ringIndex(p.newest-int64(age), p.ring())]
		if v <= 0 || *cell != 0 {
			r.fail("a value")
		}
		if r.err != nil {
			return
		}
		*cell = v
		p.top = max(p.top, v)
	}
}
