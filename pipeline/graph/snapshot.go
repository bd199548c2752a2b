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

	// What compute begins with. It reads no more of the recorder's memory than this, and
	// changes none of it.
	kinds []models.NodeKind
	of    []uint32
	edges []models.AccessEdge
	fixed []uint32 // group of each node, where they are known; else nil

	done  chan struct{}
	ready bool // done was seen
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

// wait returns once the snapshot is computed.
func (s *Snapshot) wait() {
	if !s.ready {
		<-s.done
		s.ready = true
		s.kinds, s.of, s.edges, s.fixed = nil, nil, nil, nil
	}
}

// compute fills the snapshot in. before is the one before it, and is computed.
func (s *Snapshot) compute(before *Snapshot) {
	defer close(s.done)
	edges := s.divide()
	if s.fixed == nil {
		s.next = before.next
	}
	for i := range s.graph {
		t := &s.graph[i]
		kinds := make([]models.NodeKind, len(t.numbers))
		known := make([]uint32, len(t.numbers))
		for node, number := range t.numbers {
			kinds[node] = s.kinds[number]
			known[node] = before.groupOf(number)
			if s.fixed != nil {
				known[node] = s.fixed[number]
			}
		}
		t.graph = models.NewAccessGraph(kinds, edges[i])
		s.group(t, known)
		t.weigh()
	}
}

// divide gives each node its position and returns the edges of each tenant, with the nodes'
// numbers in its graph. Everything follows the order of the recorder's numbers.
func (s *Snapshot) divide() [][]models.AccessEdge {
	s.position = make([]position, len(s.kinds))
	for _, e := range s.edges {
		s.position[e.From].graph, s.position[e.To].graph = 1, 1
	}
	graphOf := map[uint32]uint32{} // by tenant
	for n := range s.position {
		if s.position[n].graph == 0 {
			continue
		}
		g := graphOf[s.of[n]]
		if g == 0 {
			s.graph = append(s.graph, tenantGraph{})
			g = uint32(len(s.graph))
			graphOf[s.of[n]] = g
		}
		t := &s.graph[g-1]
		s.position[n] = position{g, uint32(len(t.numbers))}
		t.numbers = append(t.numbers, uint32(n))
	}
	edges := make([][]models.AccessEdge, len(s.graph))
	for _, e := range s.edges {
		from := s.position[e.From]
		edges[from.graph-1] = append(edges[from.graph-1],
			models.AccessEdge{From: from.node, To: s.position[e.To].node, Weight: e.Weight})
	}
	return edges
}

// group finds the peer groups of a tenant, or takes them where they are fixed.
func (s *Snapshot) group(t *tenantGraph, known []uint32) {
	if s.fixed != nil {
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
