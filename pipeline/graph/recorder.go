package graph

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Stats counts what a recorder saw and what did not fit.
type Stats struct {
	Calls        uint64 // recorded
	Denied       uint64 // not recorded: a denied call shows no access
	DroppedNodes uint64 // uses of nodes past MaxNodes
	DroppedEdges uint64 // uses of edges past MaxEdges
	DroppedOut   uint64 // uses of edges past MaxOut of their agent or identity
	Snapshots    uint64
}

// Recorder takes the calls of a shard into the access graph. It belongs to the shard's
// goroutine, and so do the answers of its snapshots.
type Recorder struct {
	opt   Options
	ids   *telemetry.Interner // by key; gives a node its number
	kinds []models.NodeKind   // by node; only appended to, for computations beside read them
	of    []uint32            // tenant of each node; likewise
	tally []tally             // by node
	edges models.FadingEdges
	tick  uint32 // the greatest of the calls', in intervals; 0 before the first call

	current, pending *Snapshot
	key              []byte

	// Stats counts since New.
	Stats Stats
}

// tally counts the edges of a node, so that nothing has to be searched for on the way of a call.
type tally struct {
	out        uint32 // edges from it
	resources  uint32 // of those, to resources
	identities uint32 // and to identities
	fan        uint32 // children of an agent; agents of an identity
}

// New returns a recorder that saw nothing.
func New(opt Options) *Recorder {
	opt = opt.withDefaults()
	return &Recorder{
		opt:     opt,
		ids:     telemetry.NewInterner(opt.MaxNodes),
		edges:   models.NewFadingEdges(float64(opt.HalfLife)/float64(opt.Interval), opt.MaxEdges),
		current: newSnapshot(),
	}
}

// Delegation is what a call says of the delegation that it is part of. The counts are of what
// the recorder knew before the call.
type Delegation struct {
	models.ChainShape
	FanOut  int // children of the parent
	Sharing int // agents of the identity

	// ResourceBeyond says that the parent used resources, but never this one, and
	// IdentityBeyond that it used identities, but never this one.
	ResourceBeyond, IdentityBeyond bool
}

// none is the number of no node.
const none = math.MaxUint32

// Call takes in a call at time t, Unix nanoseconds: the call's own time as its shard bounds it.
func (r *Recorder) Call(c *telemetry.Call, t int64) Delegation {
	r.cross(t)
	d := Delegation{ChainShape: models.ShapeOf(c.Chain)}
	if len(c.Agent) == 0 {
		return d
	}
	if c.Outcome == telemetry.OutcomeDenied {
		r.Stats.Denied++
		tenant := r.lookup(kindTenant, 0, c.Tenant)
		r.judge(&d, r.lookup(models.AgentNode, tenant, parentOf(c)),
			r.lookup(models.IdentityNode, tenant, c.Identity), r.lookup(models.ResourceNode, tenant, c.Resource))
		return d
	}
	r.Stats.Calls++
	tenant := r.number(kindTenant, 0, c.Tenant)
	agent := r.number(models.AgentNode, tenant, c.Agent)
	parent := r.number(models.AgentNode, tenant, parentOf(c))
	identity := r.number(models.IdentityNode, tenant, c.Identity)
	resource := r.number(models.ResourceNode, tenant, c.Resource)
	r.judge(&d, parent, identity, resource)
	r.use(agent, identity)
	r.use(agent, resource)
	r.use(identity, resource)
	r.use(agent, r.number(models.ActionNode, tenant, c.Action))
	r.delegate(c, tenant, agent, parent)
	return d
}

// parentOf returns the member of the chain before the acting agent, or nil.
func parentOf(c *telemetry.Call) []byte {
	chain := withoutAgent(c)
	if len(chain) == 0 {
		return nil
	}
	return chain[len(chain)-1]
}

// withoutAgent returns the chain without the acting agent, which as a rule is its last member.
func withoutAgent(c *telemetry.Call) [][]byte {
	if n := len(c.Chain); n > 0 && bytes.Equal(c.Chain[n-1], c.Agent) {
		return c.Chain[:n-1]
	}
	return c.Chain
}

func (r *Recorder) judge(d *Delegation, parent, identity, resource uint32) {
	if identity != none {
		d.Sharing = int(r.tally[identity].fan)
	}
	if parent == none {
		return
	}
	p := &r.tally[parent]
	d.FanOut = int(p.fan)
	d.ResourceBeyond = p.resources > 0 && resource != none && !r.edges.Has(parent, resource)
	d.IdentityBeyond = p.identities > 0 && identity != none && !r.edges.Has(parent, identity)
}

// linksKept bounds the links of one chain that are recorded: the last ones.
const linksKept = 8

// delegate records the links of the chain, the last of which is parent → agent.
func (r *Recorder) delegate(c *telemetry.Call, tenant, agent, parent uint32) {
	r.use(parent, agent)
	chain := withoutAgent(c)
	for i := len(chain) - 2; i >= max(0, len(chain)-linksKept); i-- {
		before := r.number(models.AgentNode, tenant, chain[i])
		r.use(before, parent)
		parent = before
	}
}

// use counts a use of an edge, which is made if it is new.
func (r *Recorder) use(from, to uint32) {
	if from == none || to == none || from == to || r.edges.Use(from, to, r.tick) {
		return
	}
	switch {
	case r.edges.Full():
		r.Stats.DroppedEdges++
	case int(r.tally[from].out) >= r.opt.MaxOut:
		r.Stats.DroppedOut++
	default:
		r.edges.Add(from, to, r.tick)
		r.count(from, to, 1)
	}
}

// count adds by, 1 or -1 in two's complement, to the tallies of an edge's ends.
func (r *Recorder) count(from, to, by uint32) {
	r.tally[from].out += by
	switch r.kinds[to] {
	case models.ResourceNode:
		r.tally[from].resources += by
	case models.AgentNode:
		r.tally[from].fan += by
	case models.IdentityNode:
		r.tally[from].identities += by
		r.tally[to].fan += by
	}
}

// number returns the number of a node, made if it is new, or none where it has no name, does
// not fit, or is of no tenant.
func (r *Recorder) number(kind models.NodeKind, tenant uint32, name []byte) uint32 {
	if len(name) == 0 && kind != kindTenant || tenant == none {
		return none
	}
	r.key = appendKey(r.key[:0], kind, tenant, name)
	id, fresh, ok := r.ids.Intern(r.key)
	if !ok {
		r.Stats.DroppedNodes++
		return none
	}
	if fresh {
		r.kinds = append(r.kinds, kind)
		r.of = append(r.of, tenant)
		r.tally = append(r.tally, tally{})
	}
	return id
}

// lookup returns the number of a node, or none.
func (r *Recorder) lookup(kind models.NodeKind, tenant uint32, name []byte) uint32 {
	r.key = appendKey(r.key[:0], kind, tenant, name)
	if id, ok := r.ids.Lookup(r.key); ok {
		return id
	}
	return none
}

// keyHead is the length of a key before the name: the kind and the number of the tenant.
const keyHead = 5

// appendKey appends the key of a node. That of a tenant has the tenant 0.
func appendKey(b []byte, kind models.NodeKind, tenant uint32, name []byte) []byte {
	b = append(b, byte(kind))
	b = binary.LittleEndian.AppendUint32(b, tenant)
	return append(b, name...)
}

// cross moves the time on, and takes a snapshot where it crosses a multiple of the interval.
func (r *Recorder) cross(t int64) {
	tick := uint32(min(max(t/int64(r.opt.Interval), 0), math.MaxUint32))
	if tick <= r.tick {
		return
	}
	first := r.tick == 0
	r.tick = tick
	if !first {
		r.snapshot()
	}
}

// snapshot shows the pending snapshot and takes the next.
func (r *Recorder) snapshot() {
	r.current.wait()
	if r.pending != nil {
		r.pending.wait()
		r.current, r.pending = r.pending, nil
	}
	r.edges.Sweep(r.tick, leastWeight, func(from, to uint32) { r.count(from, to, ^uint32(0)) })
	r.compact()
	r.Stats.Snapshots++
	r.pending = r.take(r.tick, r.edges.Append(make([]models.AccessEdge, 0, r.edges.Len()), r.tick))
	before, now := r.current, r.pending
	r.opt.Run(func() { now.compute(before) })
}

// take returns a snapshot of edges, still to be computed. At tick 0 there was none.
func (r *Recorder) take(tick uint32, edges []models.AccessEdge) *Snapshot {
	s := &Snapshot{tick: tick, ids: r.ids, kinds: r.kinds, of: r.of, edges: edges, done: make(chan struct{})}
	if tick > 0 {
		s.taken = time.Unix(0, int64(tick)*int64(r.opt.Interval)).UTC()
	}
	return s
}

// Current returns the snapshot that is to be asked now. Before there is one it is empty.
func (r *Recorder) Current() *Snapshot {
	r.current.wait()
	return r.current
}
