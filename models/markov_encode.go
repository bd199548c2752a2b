package models

import (
	"encoding/binary"
	"math"
)

const markovVersion = 1

// AppendBinary appends the state to b: 11 bytes and more for each context, 9 and more for
// each transition. It never fails.
func (m *Markov) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, markovVersion)
	b = binary.AppendUvarint(b, uint64(m.order))
	b = binary.AppendUvarint(b, uint64(m.cap))
	b = binary.AppendUvarint(b, uint64(m.index.used))
	for i := range m.contexts {
		if c := &m.contexts[i]; c.kinds > 0 {
			b = binary.AppendUvarint(b, uint64(i))
			b = binary.LittleEndian.AppendUint64(b, c.hash)
			b = binary.AppendUvarint(b, uint64(c.draws-c.kept))
		}
	}
	b = binary.AppendUvarint(b, uint64(m.next.used))
	for i := range m.next.places {
		if e := &m.next.places[i]; e.val != 0 {
			b = binary.LittleEndian.AppendUint64(b, e.key())
			b = binary.AppendUvarint(b, uint64(e.val))
		}
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewMarkov returned it, with the same parameters.
func (m *Markov) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, markovVersion)
	r.parameter(uint64(m.order))
	r.parameter(uint64(m.cap))
	n := Markov{order: m.order, cap: m.cap}
	n.decodeContexts(&r)
	n.decodeTransitions(&r)
	for i := range n.contexts {
		if c := &n.contexts[i]; r.err == nil && (c.kinds == 0) != (n.place(c.hash) != i) {
			r.fail("a context without transitions")
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	*m = n
	return r.rest, nil
}

// decodeContexts reads the contexts, whose places rise; those between them are vacant.
func (m *Markov) decodeContexts(r *reader) {
	for range r.count(int(m.cap)) {
		place, hash, forgotten := r.count(int(m.cap)-1), r.uint64(), r.count(math.MaxUint32)
		if r.err != nil || place < len(m.contexts) || m.place(hash) >= 0 {
			r.fail("a context")
			return
		}
		for len(m.contexts) < place {
			m.contexts = append(m.contexts, context{})
		}
		m.contexts = append(m.contexts, context{hash: hash, draws: uint32(forgotten)})
		m.index.add(hash, uint32(place+1))
	}
}

func (m *Markov) decodeTransitions(r *reader) {
	for range r.count(int(m.cap)) {
		key, count := r.uint64(), uint32(r.count(math.MaxUint32))
		place := int(key >> 48)
		if r.err != nil || count == 0 || m.next.find(key) >= 0 || place >= len(m.contexts) {
			r.fail("a transition")
			return
		}
		c := &m.contexts[place]
		if m.place(c.hash) != place || count > math.MaxUint32-c.draws {
			r.fail("the context of a transition")
			return
		}
		m.next.add(key, count)
		c.draws += count
		c.kept += count
		c.kinds++
		if count == 1 {
			c.singles++
		}
	}
}
