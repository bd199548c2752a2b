package graph

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// stateVersion is the encoding that State holds.
const stateVersion = 2

// State is what a recorder knew when it took a snapshot.
type State struct {
	// From is the place of the first call that is not in it.
	From Position
	// Data are the names, the edges with their weights, and the groups of the snapshot before. What
	// else a snapshot has is computed again. About 7 bytes an edge, and the names.
	Data []byte
}

// State returns the state of the last snapshot, once it is computed, and each one once; ok is
// false where there is none to tell. It needs Options.Keep.
func (r *Recorder) State() (s State, ok bool) {
	last := r.pending
	if last == nil || !last.computed() {
		last = r.current
	}
	if !last.computed() || last.state == nil {
		return State{}, false
	}
	s = State{last.at, last.state}
	last.state, r.current.state = nil, nil
	return s, true
}

// appendState appends the state of a snapshot that was taken at tick.
func (b *basis) appendState(to []byte, tick uint32) []byte {
	to = append(to, stateVersion)
	for _, p := range b.opt.parameters() {
		to = binary.AppendUvarint(to, p)
	}
	to = binary.AppendUvarint(to, uint64(tick))
	to = binary.AppendUvarint(to, uint64(b.then))
	to = binary.AppendUvarint(to, uint64(len(b.kinds)))
	to = append(to, b.names...)
	to, _ = b.edges.AppendBinary(to) // never fails
	to = binary.AppendUvarint(to, uint64(b.next))
	to = binary.AppendUvarint(to, uint64(len(b.known)))
	for _, g := range b.known {
		to = binary.AppendUvarint(to, uint64(g))
	}
	return to
}

// appendName appends a node as the state has it.
func appendName(b []byte, kind models.NodeKind, tenant uint32, name []byte) []byte {
	b = append(b, byte(kind))
	b = binary.AppendUvarint(b, uint64(tenant))
	b = binary.AppendUvarint(b, uint64(len(name)))
	return append(b, name...)
}

// parameters are the options that the state depends on.
func (o *Options) parameters() []uint64 {
	return []uint64{uint64(o.Interval), uint64(o.HalfLife), uint64(o.MaxNodes), uint64(o.MaxEdges), uint64(o.MaxOut)}
}

// Restore goes on from the state of the last snapshot that was kept and, where there is one, of
// the snapshot before that. The receiver is as New returned it, with the same options. Given
// every call from the state's place on, it then answers as the recorder did that wrote the
// states. Without the one before, no snapshot can be asked until the next multiple of the interval.
//
// It computes both snapshots again, beside as always. The receiver is unchanged after an error,
// which wraps models.ErrEncoding or models.ErrParameters.
func (r *Recorder) Restore(last, before []byte) error {
	n, err := r.decode(last)
	if err != nil {
		return err
	}
	if len(before) > 0 {
		old, err := r.decode(before)
		if err != nil {
			return fmt.Errorf("the snapshot before: %w", err)
		}
		// Where nodes were numbered anew in between, the older snapshot is not worth the trouble.
		if bytes.HasPrefix(n.names, old.names) && old.tick == n.pending.basis.then {
			n.current = n.take(old.tick, old.edges)
			n.current.basis.known, n.current.basis.next, n.current.basis.fixed = n.pending.basis.known, n.pending.basis.next, true
		}
	}
	current, pending, empty := n.current, n.pending, n.current.computed()
	r.opt.Run(func() {
		if !empty {
			current.compute()
		}
		pending.compute()
	})
	*r = *n
	return nil
}

// decode returns a recorder with a state, whose pending snapshot is still to be computed.
func (r *Recorder) decode(b []byte) (*Recorder, error) {
	in := reader{b: b}
	if v := in.byte(); in.err == nil && v != stateVersion {
		return nil, fmt.Errorf("cannot decode version %d of an access graph: %w", v, models.ErrEncoding)
	}
	for _, p := range r.opt.parameters() {
		if got := in.uvarint(); in.err == nil && got != p {
			return nil, fmt.Errorf("cannot decode an access graph: %w", models.ErrParameters)
		}
	}
	n := New(r.opt)
	n.tick = uint32(in.number(math.MaxUint32))
	then := uint32(in.number(math.MaxUint32))
	n.loadNodes(&in)
	if in.err == nil {
		if in.b, in.err = n.edges.DecodeBinary(in.b); in.err == nil {
			n.recount(&in)
		}
	}
	next := uint32(in.number(math.MaxUint32))
	known := n.loadGroups(&in, next)
	if in.err == nil && (len(in.b) > 0 || next == 0) {
		in.fail()
	}
	if in.err != nil {
		return nil, fmt.Errorf("cannot decode an access graph: %w", in.err)
	}
	var edges models.FadingEdges
	n.edges.CopyTo(&edges)
	n.pending = n.take(n.tick, edges)
	n.pending.basis.known, n.pending.basis.next, n.pending.basis.then = known, next, then
	return n, nil
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

// loadGroups reads the group of each node, 0 or below next.
func (r *Recorder) loadGroups(in *reader, next uint32) (groups []uint32) {
	for n := range in.number(len(r.kinds)) {
		g := uint32(in.number(int(next)))
		if g > 0 && (g >= next || r.kinds[n] != models.AgentNode) {
			in.fail()
		}
		if in.err != nil {
			return nil
		}
		groups = append(groups, g)
	}
	return groups
}
