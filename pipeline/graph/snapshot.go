package graph

import (
	"cmp"
	"slices"
	"time"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Snapshot is the access graph at one moment, and what was computed from it. It does not
// change, but its answers look names up in the recorder's memory: only the shard's
// goroutine may ask.
type Snapshot struct {
	tick     uint32
	taken    time.Time // the multiple of the interval
	ids      *telemetry.Interner
	position []position // by node
	graph    []tenantGraph
	next     uint32 // the first group that was never given

	basis *basis // what it is computed from; nil once it is asked
	at    Position
	state []byte // what Recorder.State returns of it, if that is kept

	done  chan struct{}
	ready bool // done was seen
}

// basis is what a snapshot is computed from. The computation reads no more of the recorder's
// memory than this, and changes none of it.
type basis struct {
	opt   *Options
	kinds []models.NodeKind
	of    []uint32
	names []byte
	edges models.FadingEdges // a copy
	keep  bool

	before *Snapshot // computed; its groups are those of before
	known  []uint32  // or they are these, by node,
	next   uint32    // and this is the first group that was never given
	then   uint32    // the tick of the snapshot before
	fixed  bool      // the groups stay as they were
}

// position is where a node is: the graph of its tenant, from 1, and the node's number in it.
// The zero position is nowhere.
type position struct{ graph, node uint32 }

// tenantGraph is what is computed for one tenant. Its slices are by node of the graph.
type tenantGraph struct {
	graph   *models.AccessGraph
	numbers []uint32 // the recorder's
	groups  []uint32
	sizes   map[uint32]int // of the groups
	rank    []float64
	between []float64
	below   []float32 // share of the tenant's nodes of that kind with a smaller rank
}

// newSnapshot returns an empty snapshot that is computed.
func newSnapshot() *Snapshot {
	s := &Snapshot{next: 1, done: make(chan struct{}), ids: telemetry.NewInterner(0)}
	close(s.done)
	return s
}

// computed reports whether the snapshot can be asked.
func (s *Snapshot) computed() bool {
	if !s.ready {
		select {
		case <-s.done:
			s.ready = true
		default:
		}
	}
	return s.ready
}

// compute fills the snapshot in.
func (s *Snapshot) compute() {
	defer close(s.done)
	b := s.basis
	if b.before != nil {
		b.known, b.next, b.then, b.before = b.before.groups(), b.before.next, b.before.tick, nil
	}
	s.next = b.next
	edges := s.divide(b.edges.Append(make([]models.AccessEdge, 0, b.edges.Len()), s.tick))
	for i := range s.graph {
		t := &s.graph[i]
		kinds := make([]models.NodeKind, len(t.numbers))
		known := make([]uint32, len(t.numbers))
		for node, number := range t.numbers {
			kinds[node] = b.kinds[number]
			if int(number) < len(b.known) {
				known[node] = b.known[number]
			}
		}
		t.graph = models.NewAccessGraph(kinds, edges[i])
		s.group(t, known)
		t.weigh()
	}
	if b.keep {
		s.state = b.appendState(nil, s.tick)
	}
}

// groups returns the group of each node, without the zeros at the end.
func (s *Snapshot) groups() []uint32 {
	last := len(s.position)
	for last > 0 && s.groupOf(uint32(last-1)) == 0 {
		last--
	}
	groups := make([]uint32, last)
	for n := range groups {
		groups[n] = s.groupOf(uint32(n))
	}
	return groups
}

// divide gives each node its position and returns the edges of each tenant, with the nodes'
// numbers in its graph. Everything follows the order of the recorder's numbers.
func (s *Snapshot) divide(all []models.AccessEdge) [][]models.AccessEdge {
	s.position = make([]position, len(s.basis.kinds))
	for _, e := range all {
		s.position[e.From].graph, s.position[e.To].graph = 1, 1
	}
	graphOf := map[uint32]uint32{} // by tenant
	for n := range s.position {
		if s.position[n].graph == 0 {
			continue
		}
		g := graphOf[s.basis.of[n]]
		if g == 0 {
			s.graph = append(s.graph, tenantGraph{})
			g = uint32(len(s.graph))
			graphOf[s.basis.of[n]] = g
		}
		t := &s.graph[g-1]
		s.position[n] = position{g, uint32(len(t.numbers))}
		t.numbers = append(t.numbers, uint32(n))
	}
	edges := make([][]models.AccessEdge, len(s.graph))
	for _, e := range all {
		from := s.position[e.From]
		edges[from.graph-1] = append(edges[from.graph-1],
			models.AccessEdge{From: from.node, To: s.position[e.To].node, Weight: e.Weight})
	}
	return edges
}

// group finds the peer groups of a tenant, or takes them where they are fixed.
func (s *Snapshot) group(t *tenantGraph, known []uint32) {
	if s.basis.fixed {
		t.groups = known
	} else {
		found := t.graph.PeerGroups(known, s.next, seed)
		t.groups, s.next = found.Of, found.Next
	}
	t.sizes = map[uint32]int{}
	for _, g := range t.groups {
		if g != 0 {
			t.sizes[g]++
		}
	}
}

// weigh computes the criticality of each node.
func (t *tenantGraph) weigh() {
	g := t.graph
	t.rank = g.PageRank(damping, rankTol)
	pivots := pivotWork / (g.Nodes() + 2*g.Edges())
	t.between = g.Betweenness(min(max(pivots, leastPivots), mostPivots), seed)
	t.below = make([]float32, g.Nodes())
	var kind [4][]uint32
	for n := range uint32(g.Nodes()) {
		kind[g.Kind(n)] = append(kind[g.Kind(n)], n)
	}
	for _, nodes := range kind {
		slices.SortFunc(nodes, func(a, b uint32) int { return cmp.Compare(t.rank[a], t.rank[b]) })
		below := 0
		for i, n := range nodes {
			if t.rank[n] > t.rank[nodes[below]] {
				below = i
			}
			t.below[n] = float32(below) / float32(len(nodes))
		}
	}
}

// groupOf returns the group of the recorder's node, or 0.
func (s *Snapshot) groupOf(number uint32) uint32 {
	if int(number) >= len(s.position) || s.position[number].graph == 0 {
		return 0
	}
	p := s.position[number]
	return s.graph[p.graph-1].groups[p.node]
}

// find returns the tenant's graph and the node's number in it, or nil.
func (s *Snapshot) find(kind models.NodeKind, tenant, name []byte) (t *tenantGraph, node uint32) {
	var buf [256]byte
	id, ok := s.ids.Lookup(appendKey(buf[:0], kindTenant, 0, tenant))
	if !ok {
		return nil, 0
	}
	if id, ok = s.ids.Lookup(appendKey(buf[:0], kind, id, name)); !ok || int(id) >= len(s.position) {
		return nil, 0
	}
	p := s.position[id]
	if p.graph == 0 {
		return nil, 0
	}
	return &s.graph[p.graph-1], p.node
}

// name returns the name of a node of a tenant's graph.
func (s *Snapshot) name(t *tenantGraph, node uint32) string {
	return s.ids.String(t.numbers[node])[keyHead:]
}

func (s *Snapshot) names(t *tenantGraph, nodes []uint32) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = s.name(t, n)
	}
	return names
}
