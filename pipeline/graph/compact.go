package graph

import (
	"encoding/binary"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// compact forgets nodes without edges, and numbers the others anew in the same order, where
// the nodes are nearly at their bound and that frees a quarter of them. It runs between two
// snapshots, when nothing computes beside and the memory of calls is empty.
func (r *Recorder) compact() {
	if r.ids.Len() < r.opt.MaxNodes/8*7 {
		return
	}
	number, kept := r.inUse()
	if kept > r.ids.Len()/4*3 {
		return
	}
	old := *r
	r.ids = telemetry.NewInterner(r.opt.MaxNodes)
	r.kinds, r.of, r.tally, r.names = nil, nil, nil, nil
	for n, to := range number {
		if to == none {
			continue
		}
		key := append(r.key[:0], old.ids.String(uint32(n))...)
		tenant := uint32(0)
		if old.kinds[n] != kindTenant {
			tenant = number[old.of[n]]
			binary.LittleEndian.PutUint32(key[1:], tenant)
		}
		r.ids.Intern(key)
		r.kinds, r.of, r.tally = append(r.kinds, old.kinds[n]), append(r.of, tenant), append(r.tally, old.tally[n])
		r.key = key
		r.names = appendName(r.names, old.kinds[n], tenant, key[keyHead:])
	}
	r.edges.Renumber(number)
	r.current.renumber(number, kept, r.ids)
}

// inUse returns the new number of each node that has edges or is in the current snapshot, none
// for all others, and how many stay. A tenant comes before its nodes, as it did.
func (r *Recorder) inUse() (number []uint32, kept int) {
	used := make([]bool, r.ids.Len())
	mark := func(n uint32) { used[n], used[r.of[n]] = true, true }
	for _, e := range r.edges.Append(nil, r.tick) {
		mark(e.From)
		mark(e.To)
	}
	for n := range r.current.position {
		if r.current.position[n].graph != 0 {
			mark(uint32(n))
		}
	}
	number = make([]uint32, len(used))
	for n := range number {
		number[n] = none
		if used[n] {
			number[n] = uint32(kept)
			kept++
		}
	}
	return number, kept
}

// renumber follows the recorder to new numbers.
func (s *Snapshot) renumber(number []uint32, nodes int, ids *telemetry.Interner) {
	s.ids = ids
	old := s.position
	s.position = make([]position, nodes)
	for n, p := range old {
		if p.graph != 0 {
			s.position[number[n]] = p
		}
	}
	for i := range s.graph {
		numbers := s.graph[i].numbers
		for node, n := range numbers {
			numbers[node] = number[n]
		}
	}
}
