package models

import (
	"encoding/binary"
	"math"
)

const conformalVersion = 1

// AppendBinary appends the state to b: four bytes for each kept score. It never fails.
func (c *Conformal) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, conformalVersion)
	b = binary.AppendUvarint(b, uint64(c.cap))
	b = binary.AppendUvarint(b, c.added)
	b = binary.AppendUvarint(b, uint64(len(c.scores)))
	for _, s := range c.scores {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(s))
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewConformal returned it, with the same cap.
func (c *Conformal) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, conformalVersion)
	r.parameter(uint64(c.cap))
	n := Conformal{cap: c.cap, added: r.uvarint()}
	kept := r.count(int(c.cap))
	if uint64(kept) != min(n.added, uint64(c.cap)) {
		r.fail("the number of scores")
	}
	for range kept {
		s := r.float32()
		if r.err != nil || len(n.scores) > 0 && s < n.scores[len(n.scores)-1] {
			r.fail("a score")
			return nil, r.err
		}
		n.scores = append(n.scores, s)
	}
	if r.err != nil {
		return nil, r.err
	}
	*c = n
	return r.rest, nil
}

// float32 reads a finite number of four bytes.
func (r *reader) float32() float32 {
	if len(r.rest) < 4 {
		r.fail("a short number")
		return 0
	}
	v := math.Float32frombits(binary.LittleEndian.Uint32(r.rest))
	r.rest = r.rest[4:]
	if v-v != 0 {
		r.fail("a finite short number")
		return 0
	}
	return v
}
