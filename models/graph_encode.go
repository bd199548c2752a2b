package models

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

const fadingEdgesVersion = 1

// AppendBinary appends the state to b: the edges in the order of their ends, about 7 bytes for each.
// The same edges give the same bytes. It never fails. Cost: a sort.
func (f *FadingEdges) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, fadingEdgesVersion)
	b = appendShort(b, f.halfLife)
	b = binary.AppendUvarint(b, uint64(f.cap))
	edges := make([]fadingEdge, 0, f.used)
	newest := uint32(0)
	for _, e := range f.places {
		if e.weight != 0 {
			edges = append(edges, e)
			newest = max(newest, e.tick)
		}
	}
	slices.SortFunc(edges, func(a, b fadingEdge) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	b = binary.AppendUvarint(b, uint64(newest))
	b = binary.AppendUvarint(b, uint64(len(edges)))
	from := uint32(0)
	for _, e := range edges {
		b = binary.AppendUvarint(b, uint64(e.from-from))
		b = binary.AppendUvarint(b, uint64(e.to))
		b = binary.AppendUvarint(b, uint64(e.weight))
		b = binary.AppendUvarint(b, uint64(newest-e.tick))
		from = e.from
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The receiver
// is as NewFadingEdges returned it, with the same parameters.
func (f *FadingEdges) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, fadingEdgesVersion)
	r.shortParameter(f.halfLife)
	r.parameter(uint64(f.cap))
	d := FadingEdges{halfLife: f.halfLife, cap: f.cap, fades: f.fades}
	newest := uint32(r.count(math.MaxUint32))
	last := fadingEdge{}
	for i := range r.count(f.cap) {
		from := uint64(last.from) + uint64(r.count(math.MaxUint32))
		e := fadingEdge{uint32(from), uint32(r.count(math.MaxUint32)), uint32(r.count(math.MaxUint32)), newest - uint32(r.count(int(newest)))}
		if e.weight == 0 || from > math.MaxUint32 || i > 0 && e.from == last.from && e.to <= last.to {
			r.fail("an edge")
		}
		if r.err != nil {
			return nil, r.err
		}
		d.put(e)
		last = e
	}
	if r.err != nil {
		return nil, r.err
	}
	*f = d
	return r.rest, nil
}
