package graph

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// stateVersion is the encoding that AppendBinary writes.
const stateVersion = 1

// AppendBinary appends the state to b: names, edges, the current snapshot's edges and groups,
// and the pending one's edges. What else a snapshot has is computed again. It never fails, and
// does not wait for a computation under way. Bytes: about 9 + 2·10 an edge, and the names.
func (r *Recorder) AppendBinary(b []byte) ([]byte, error) {
	r.flush()
	b = append(b, stateVersion)
	for _, p := range r.parameters() {
		b = binary.AppendUvarint(b, p)
	}
	b = binary.AppendUvarint(b, uint64(r.tick))
	b = binary.AppendUvarint(b, uint64(len(r.kinds)))
	for n, kind := range r.kinds {
		name := r.ids.String(uint32(n))[keyHead:]
		b = append(b, byte(kind))
		b = binary.AppendUvarint(b, uint64(r.of[n]))
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	b, _ = r.edges.AppendBinary(b) // never fails
	for _, count := range r.Stats.all() {
		b = binary.AppendUvarint(b, *count)
	}
	b = r.Current().appendState(b)
	if r.pending == nil {
		return append(b, 0), nil
	}
	b = binary.AppendUvarint(append(b, 1), uint64(r.pending.tick))
	return appendEdges(b, slices.Clone(r.pending.edges)), nil
}

// parameters are the options that the state depends on.
func (r *Recorder) parameters() []uint64 {
	o := &r.opt
	return []uint64{uint64(o.Interval), uint64(o.HalfLife), uint64(o.MaxNodes), uint64(o.MaxEdges), uint64(o.MaxOut)}
}

func (s *Stats) all() []*uint64 {
	return []*uint64{&s.Calls, &s.Denied, &s.DroppedNodes, &s.DroppedEdges, &s.DroppedOut, &s.Snapshots}
}

// appendState appends the edges and groups of a computed snapshot.
func (s *Snapshot) appendState(b []byte) []byte {
	var edges []models.AccessEdge
	for i := range s.graph {
		t := &s.graph[i]
		first := len(edges)
		edges = t.graph.AppendEdges(edges)
		for j := first; j < len(edges); j++ {
			edges[j].From, edges[j].To = t.numbers[edges[j].From], t.numbers[edges[j].To]
		}
	}
	b = binary.AppendUvarint(b, uint64(s.tick))
	b = binary.AppendUvarint(b, uint64(s.next))
	b = appendEdges(b, edges)
	last := len(s.position)
	for last > 0 && s.groupOf(uint32(last-1)) == 0 {
		last--
	}
	b = binary.AppendUvarint(b, uint64(last))
	for n := range last {
		b = binary.AppendUvarint(b, uint64(s.groupOf(uint32(n))))
	}
	return b
}

// appendEdges sorts edges and appends them.
func appendEdges(b []byte, edges []models.AccessEdge) []byte {
	slices.SortFunc(edges, func(a, b models.AccessEdge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	b = binary.AppendUvarint(b, uint64(len(edges)))
	from := uint32(0)
	for _, e := range edges {
		b = binary.AppendUvarint(b, uint64(e.From-from))
		b = binary.AppendUvarint(b, uint64(e.To))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(e.Weight))
		from = e.From
	}
	return b
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The receiver
// is as New returned it, with the same options; it is unchanged after an error, which wraps
// models.ErrEncoding or models.ErrParameters.
func (r *Recorder) DecodeBinary(b []byte) (rest []byte, err error) {
	in := reader{b: b}
	if v := in.byte(); in.err == nil && v != stateVersion {
		return nil, fmt.Errorf("cannot decode version %d of an access graph: %w", v, models.ErrEncoding)
	}
	for _, p := range r.parameters() {
		if got := in.uvarint(); in.err == nil && got != p {
			return nil, fmt.Errorf("cannot decode an access graph: %w", models.ErrParameters)
		}
	}
	n := New(r.opt)
	n.tick = uint32(in.number(math.MaxUint32))
	n.loadNodes(&in)
	if in.err == nil {
		if in.b, in.err = n.edges.DecodeBinary(in.b); in.err == nil {
			n.recount(&in)
		}
	}
	for _, count := range n.Stats.all() {
		*count = in.uvarint()
	}
	n.current = n.loadCurrent(&in)
	if in.number(1) == 1 {
		n.pending = n.take(uint32(in.number(math.MaxUint32)), n.loadEdges(&in))
	}
	if in.err != nil {
		return nil, fmt.Errorf("cannot decode an access graph: %w", in.err)
	}
	current, pending := n.current, n.pending
	r.opt.Run(func() {
		current.compute(newSnapshot())
		if pending != nil {
			pending.compute(current)
		}
	})
	*r = *n
	return in.b, nil
}

func (r *Recorder) loadNodes(in *reader) {
	for range in.number(r.opt.MaxNodes) {
		kind := models.NodeKind(in.byte())
		tenant := uint32(in.number(math.MaxUint32))
		name := in.bytes(in.number(telemetry.LongestString - keyHead))
		if kind == kindTenant && tenant != 0 || kind != kindTenant && !r.isTenant(tenant) || kind > models.ActionNode && kind != kindTenant {
			in.fail()
		}
		if in.err != nil {
			return
		}
		known := len(r.kinds)
		if r.number(kind, tenant, name); len(r.kinds) == known {
			in.fail()
			return
		}
	}
}

func (r *Recorder) isTenant(n uint32) bool { return int(n) < len(r.kinds) && r.kinds[n] == kindTenant }

// allows says whether an edge may be: between nodes of one tenant, of kinds that join.
func (r *Recorder) allows(from, to uint32) bool {
	n := uint32(len(r.kinds))
	return from < n && to < n && from != to && r.of[from] == r.of[to] && r.kinds[to] != kindTenant &&
		(r.kinds[from] == models.AgentNode || r.kinds[from] == models.IdentityNode && r.kinds[to] == models.ResourceNode)
}

// recount tallies the edges.
func (r *Recorder) recount(in *reader) {
	for _, e := range r.edges.Append(nil, r.tick) {
		if !r.allows(e.From, e.To) {
			in.fail()
			return
		}
		r.mark(link{e.From, e.To}, 1)
	}
}

func (r *Recorder) loadCurrent(in *reader) *Snapshot {
	tick, next := uint32(in.number(math.MaxUint32)), uint32(in.number(math.MaxUint32))
	s := r.take(tick, r.loadEdges(in))
	s.next, s.fixed = next, make([]uint32, len(r.kinds))
	for n := range in.number(len(r.kinds)) {
		s.fixed[n] = uint32(in.number(int(next)))
		if g := s.fixed[n]; g > 0 && (g >= next || r.kinds[n] != models.AgentNode) {
			in.fail()
		}
		if in.err != nil {
			break
		}
	}
	return s
}

func (r *Recorder) loadEdges(in *reader) (edges []models.AccessEdge) {
	from := 0
	for range in.number(r.opt.MaxEdges) {
		from += in.number(math.MaxUint32)
		e := models.AccessEdge{From: uint32(from), To: uint32(in.number(math.MaxUint32)), Weight: in.weight()}
		if from > math.MaxUint32 || !r.allows(e.From, e.To) {
			in.fail()
		}
		if in.err != nil {
			return nil
		}
		edges = append(edges, e)
	}
	return edges
}
