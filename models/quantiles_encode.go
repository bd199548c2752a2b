package models

import (
	"encoding/binary"
	"math"
)

const quantilesVersion = 1

// AppendBinary appends the state to b: the cells of each slot, the oldest first. It never fails.
func (w *Quantiles) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, quantilesVersion)
	b = binary.AppendUvarint(b, uint64(w.step))
	b = binary.AppendUvarint(b, uint64(w.slots))
	if w.lengths == nil {
		return append(b, formEmpty), nil
	}
	b = append(b, formNarrow)
	b = binary.AppendVarint(b, w.newest)
	at := 0
	for age := int64(w.slots); age >= 0; age-- {
		n := int(w.lengths[ringIndex(w.newest-age, w.ring())])
		b = binary.AppendUvarint(b, uint64(n))
		for _, c := range w.cells[at : at+n] {
			b = binary.AppendUvarint(b, uint64(c.bucket))
			b = binary.AppendUvarint(b, uint64(c.count))
		}
		at += n
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewQuantiles returned it, with the same parameters.
func (w *Quantiles) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, quantilesVersion)
	r.parameter(uint64(w.step))
	r.parameter(uint64(w.slots))
	d := Quantiles{step: w.step, slots: w.slots}
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
	*w = d
	return r.rest, nil
}

func (w *Quantiles) decodeCells(r *reader) {
	w.newest = r.varint()
	if r.err != nil {
		return
	}
	w.lengths = make([]uint16, w.ring())
	lowest, highest := int32(math.MaxInt32), int32(0)
	for age := int64(w.slots); age >= 0; age-- {
		n := r.count(quantileBuckets + 1)
		w.lengths[ringIndex(w.newest-age, w.ring())] = uint16(n)
		for i := range n {
			c := quantileCell{uint32(r.count(int(quantileLast))), uint32(r.count(math.MaxUint32))}
			if c.count == 0 || c.count > math.MaxUint32-w.n || i > 0 && c.bucket <= w.cells[len(w.cells)-1].bucket {
				r.fail("a bucket")
			}
			if r.err != nil {
				return
			}
			w.n += c.count
			w.cells = append(w.cells, c)
			if c.bucket > 0 {
				lowest, highest = min(lowest, int32(c.bucket)), max(highest, int32(c.bucket))
			}
		}
	}
	if highest-lowest >= quantileBuckets { // below 0 where there is none
		r.fail("buckets so far apart")
	}
	if r.err != nil {
		return
	}
	if highest > 0 {
		w.low, w.total = lowest, make([]uint32, highest-lowest+1)
	}
	w.n = 0
	for _, c := range w.cells {
		w.count(c.bucket, c.count)
	}
}
