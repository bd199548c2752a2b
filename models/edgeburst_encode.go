package models

import (
	"encoding/binary"
	"math"
	"math/bits"
)

const edgeBurstVersion = 1

// AppendBinary appends the state to b: the ticks, and of each table its size and the places
// in use, an edge in about 30 bytes and a node in about 60. It never fails. What Reason
// and OwnReason return is not part of it.
func (b *EdgeBurst) AppendBinary(to []byte) ([]byte, error) {
	to = append(to, edgeBurstVersion)
	to = binary.AppendUvarint(to, uint64(b.options.Edges))
	to = binary.AppendUvarint(to, uint64(b.options.Nodes))
	to = appendShort(to, b.options.Carry)
	if !b.begun {
		return append(to, formEmpty), nil
	}
	to = append(to, formBegun)
	to = binary.AppendVarint(to, b.start)
	to = binary.AppendVarint(to, b.now)
	to = b.edges.append(to, b.now)
	to = b.sources.append(to, b.now)
	return b.destinations.append(to, b.now), nil
}

const formBegun = 1

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewEdgeBurst returned it, with the same options.
func (b *EdgeBurst) DecodeBinary(from []byte) (rest []byte, err error) {
	r := readVersion(from, edgeBurstVersion)
	r.parameter(uint64(b.options.Edges))
	r.parameter(uint64(b.options.Nodes))
	r.shortParameter(b.options.Carry)
	d := newEdgeBurst(b.options, b.law)
	switch r.byte() {
	case formEmpty:
	case formBegun:
		d.decode(&r)
	default:
		r.fail("the form of an edge burst")
	}
	if r.err != nil {
		return nil, r.err
	}
	*b = *d
	return r.rest, nil
}

func (b *EdgeBurst) decode(r *reader) {
	b.begun = true
	b.start, b.now = r.varint(), r.varint()
	if b.start > b.now {
		r.fail("the ticks")
		return
	}
	b.weigh()
	b.edges.decode(r, b.now)
	b.sources.decode(r, b.now)
	b.destinations.decode(r, b.now)
}

func (t *burstTable[M]) append(to []byte, now int64) []byte {
	to = append(to, byte(bits.Len(uint(len(t.places)))))
	to = binary.AppendUvarint(to, uint64(t.used()))
	skipped := uint64(0)
	for i := range t.places {
		p := &t.places[i]
		if p.key == 0 {
			skipped++
			continue
		}
		to = binary.AppendUvarint(to, skipped)
		to = binary.LittleEndian.AppendUint64(to, p.key)
		to = binary.AppendUvarint(to, uint64(now)-uint64(p.last))
		to = p.calls.append(to)
		for j := range len(p.more) {
			to = p.more[j].append(to)
		}
		skipped = 0
	}
	return to
}

func (t *burstTable[M]) decode(r *reader, now int64) {
	size := 1 << min(r.byte(), 30) >> 1
	used := r.count(size)
	// What is allocated has the bound of the options, as for every other state.
	if size > t.bound || size != 0 && size < probes || used > len(r.rest)/smallestPlace || used == 0 && size != 0 {
		r.fail("the size of a table")
	}
	if r.err != nil {
		return
	}
	t.places = make([]burstPlace[M], size)
	at := 0
	for range used {
		at += r.count(size)
		if at >= size {
			r.fail("a place")
			return
		}
		p := &t.places[at]
		p.key = r.uint64()
		p.last = int64(uint64(now) - r.uvarint())
		p.calls.decode(r)
		for j := range len(p.more) {
			p.more[j].decode(r)
		}
		if p.key == 0 || p.last > now {
			r.fail("a key")
			return
		}
		at++
	}
}

func (c *tally) append(to []byte) []byte {
	for _, v := range [...]float32{c.recent, c.learned, c.sum, c.squares} {
		to = binary.AppendUvarint(to, uint64(bits.ReverseBytes32(math.Float32bits(v))))
	}
	return to
}

func (c *tally) decode(r *reader) {
	c.recent, c.learned = r.tally(maxTick), r.tally(maxTick)
	c.sum, c.squares = r.tally(maxSum), r.tally(maxSum*maxTick)
}

// tally reads a number of at most limit.
func (r *reader) tally(limit float32) float32 {
	v := math.Float32frombits(bits.ReverseBytes32(uint32(r.count(math.MaxUint32))))
	if !(v >= 0 && v <= limit) {
		r.fail("a count")
		return 0
	}
	return v
}

// What counts can add up to.
const (
	maxTick = 1 << 24       // a float32 stays there
	maxSum  = maxTick * 1e5 // more than the ticks of the memory
)

// smallestPlace is how many bytes a place in use takes at least.
const smallestPlace = 1 + 8 + 1 + 4
