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

	names []byte // kind, tenant and name of each node, as the state has them; only appended to

	memory           memory
	current, pending *Snapshot
	spare            models.FadingEdges // memory for the next copy of edges
	key              []byte

	// At is the place in the log of the call that Call is given; whoever wants State sets it
	// before.
	At Position
	// Stats counts since New. What was dropped is counted when an interval ends.
	Stats Stats
}

// Position is the place of a call in its log: the offset of the record and the call's index in it.
type Position struct {
	Offset int64
	Index  int
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
		memory:  newMemory(),
		current: newSnapshot(),
	}
}

// Place is where a call stands in the graph: its agent's peers, and the delegation that it is
// part of. The counts are of what the recorder knew before the call.
type Place struct {
	// Snapshot is the multiple of the interval at which the current snapshot was taken; 0 before
	// there is one.
	Snapshot uint32
	// Group is the agent's, as GroupOf of the current snapshot; 0 where it has no peers.
	Group uint32

	models.ChainShape
	FanOut  int // children of the parent
	Sharing int // agents of the identity

	// ResourceBeyond says that the parent used resources, but never this one, and
	// IdentityBeyond that it used identities, but never this one.
	ResourceBeyond, IdentityBeyond bool
}

// Call takes in a call at time t, Unix nanoseconds: the call's own time as its shard bounds it.
func (r *Recorder) Call(c *telemetry.Call, t int64) Place {
	r.cross(t)
	switch {
	case len(c.Agent) == 0:
		return r.judge(models.ShapeOf(c.Chain), nobody)
	case c.Outcome == telemetry.OutcomeDenied:
		r.Stats.Denied++
		return r.judge(models.ShapeOf(c.Chain), r.known(c))
	}
	r.Stats.Calls++
	id, fresh, ok := r.memory.find(c)
	if !ok && r.memory.full() {
		r.forget()
		id, fresh, ok = r.memory.find(c)
	}
	if ok && !fresh {
		m := &r.memory.calls[id]
		m.again++
		r.Stats.DroppedNodes += uint64(m.dropped)
		return r.judge(m.shape, m.parties)
	}
	return r.learn(c, ok)
}

// learn takes in a call that did not come before in this interval, and may be remembered.
func (r *Recorder) learn(c *telemetry.Call, remember bool) Place {
	dropped, first := r.Stats.DroppedNodes, len(r.memory.links)
	p := r.partiesOf(c)
	shape := models.ShapeOf(c.Chain)
	at := r.judge(shape, p)
	r.use(p.agent, p.identity)
	r.use(p.agent, p.resource)
	r.use(p.identity, p.resource)
	r.use(p.agent, p.action)
	r.delegate(c, p)
	if !remember {
		r.memory.links = r.memory.links[:first]
		return at
	}
	r.memory.calls = append(r.memory.calls, remembered{
		first: uint32(first), last: uint32(len(r.memory.links)),
		dropped: uint32(r.Stats.DroppedNodes - dropped), parties: p, shape: shape,
	})
	return at
}

// none is the number of no node.
const none = math.MaxUint32

// parties are the numbers of who and what is part of a call.
type parties struct{ tenant, agent, parent, identity, resource, action uint32 }

var nobody = parties{none, none, none, none, none, none}

// partiesOf returns the parties of a call, made if they are new.
func (r *Recorder) partiesOf(c *telemetry.Call) parties {
	tenant := r.number(kindTenant, 0, c.Tenant)
	return parties{
		tenant:   tenant,
		agent:    r.number(models.AgentNode, tenant, c.Agent),
		parent:   r.number(models.AgentNode, tenant, parentOf(c)),
		identity: r.number(models.IdentityNode, tenant, c.Identity),
		resource: r.number(models.ResourceNode, tenant, c.Resource),
		action:   r.number(models.ActionNode, tenant, c.Action),
	}
}

// known returns what judge needs of the parties of a call, and makes none.
func (r *Recorder) known(c *telemetry.Call) parties {
	tenant := r.lookup(kindTenant, 0, c.Tenant)
	return parties{
		agent:    r.lookup(models.AgentNode, tenant, c.Agent),
		parent:   r.lookup(models.AgentNode, tenant, parentOf(c)),
		identity: r.lookup(models.IdentityNode, tenant, c.Identity),
		resource: r.lookup(models.ResourceNode, tenant, c.Resource),
	}
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

// judge returns the place of a call with these parties.
func (r *Recorder) judge(shape models.ChainShape, p parties) Place {
	at := Place{ChainShape: shape}
	if r.ready() {
		at.Snapshot, at.Group = r.current.tick, r.current.groupOf(p.agent)
	}
	if p.identity != none {
		at.Sharing = int(r.tally[p.identity].fan)
	}
	if p.parent == none {
		return at
	}
	had := &r.tally[p.parent]
	at.FanOut = int(had.fan)
	at.ResourceBeyond = had.resources > 0 && p.resource != none && !r.edges.Has(p.parent, p.resource)
	at.IdentityBeyond = had.identities > 0 && p.identity != none && !r.edges.Has(p.parent, p.identity)
	return at
}

// linksKept bounds the links of one chain that are recorded: the last ones.
const linksKept = 8

// delegate records the links of the chain, the last of which is parent → agent.
func (r *Recorder) delegate(c *telemetry.Call, p parties) {
	r.use(p.parent, p.agent)
	chain, child := withoutAgent(c), p.parent
	for i := len(chain) - 2; i >= max(0, len(chain)-linksKept); i-- {
		before := r.number(models.AgentNode, p.tenant, chain[i])
		r.use(before, child)
		child = before
	}
}

// use counts a use of an edge and notes the link.
func (r *Recorder) use(from, to uint32) {
	if from != none && to != none && from != to {
		l := link{from, to}
		r.memory.links = append(r.memory.links, l)
		r.count(l, 1)
	}
}

// count counts uses of an edge, which is made if it is new.
func (r *Recorder) count(l link, uses uint32) {
	switch {
	case r.edges.Use(l.from, l.to, r.tick, uses):
	case r.edges.Full():
		r.Stats.DroppedEdges += uint64(uses)
	case int(r.tally[l.from].out) >= r.opt.MaxOut:
		r.Stats.DroppedOut += uint64(uses)
	default:
		r.edges.Add(l.from, l.to, r.tick)
		r.edges.Use(l.from, l.to, r.tick, uses-1)
		r.mark(l, 1)
	}
}

// mark adds by, 1 or -1 in two's complement, to the tallies of an edge's ends.
func (r *Recorder) mark(l link, by uint32) {
	r.tally[l.from].out += by
	switch r.kinds[l.to] {
	case models.ResourceNode:
		r.tally[l.from].resources += by
	case models.AgentNode:
		r.tally[l.from].fan += by
	case models.IdentityNode:
		r.tally[l.from].identities += by
		r.tally[l.to].fan += by
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
		r.names = appendName(r.names, kind, tenant, name)
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
	r.forget()
	r.tick = tick
	if !first && r.settled() {
		r.snapshot()
	}
}

// settled reports whether all that was taken is computed, and waits for that where it is to wait.
func (r *Recorder) settled() bool {
	for _, s := range []*Snapshot{r.current, r.pending} {
		if s == nil {
			continue
		}
		if r.opt.Wait {
			<-s.done
		}
		if !s.computed() {
			return false
		}
	}
	return true
}

// snapshot shows the pending snapshot, which is computed, and takes the next.
func (r *Recorder) snapshot() {
	if r.pending != nil {
		r.current, r.pending = r.pending, nil
		r.spare, r.current.basis = r.current.basis.edges, nil
	}
	r.edges.Sweep(r.tick, leastWeight, func(from, to uint32) { r.mark(link{from, to}, ^uint32(0)) })
	r.compact()
	r.Stats.Snapshots++
	r.edges.CopyTo(&r.spare)
	r.pending = r.take(r.tick, r.spare)
	r.pending.basis.before, r.pending.basis.keep, r.pending.at = r.current, r.opt.Keep, r.At
	r.spare = models.FadingEdges{}
	r.opt.Run(r.pending.compute)
}

// take returns a snapshot of edges, still to be computed. At tick 0 there was none.
func (r *Recorder) take(tick uint32, edges models.FadingEdges) *Snapshot {
	s := &Snapshot{
		tick: tick, ids: r.ids, done: make(chan struct{}),
		basis: &basis{opt: &r.opt, kinds: r.kinds, of: r.of, names: r.names, edges: edges},
	}
	if tick > 0 {
		s.taken = time.Unix(0, int64(tick)*int64(r.opt.Interval)).UTC()
	}
	return s
}

// Current returns the snapshot that is to be asked now. Before there is one it is empty, and
// so it is after a restart until that of before is computed again, which Options.Wait waits for.
func (r *Recorder) Current() *Snapshot {
	if !r.ready() {
		return newSnapshot()
	}
	return r.current
}

func (r *Recorder) ready() bool {
	if r.opt.Wait && !r.current.ready {
		<-r.current.done
	}
	return r.current.computed()
}
