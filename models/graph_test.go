package models

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/network"
	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/traverse"
)

// drawing makes graphs by names: "a:" agents, "i:" identities, "r:" resources, "do:" actions.
type drawing struct {
	kinds []NodeKind
	names []string
	edges []AccessEdge
}

func (d *drawing) node(name string) uint32 {
	if i := slices.Index(d.names, name); i >= 0 {
		return uint32(i)
	}
	kind := map[byte]NodeKind{'a': AgentNode, 'i': IdentityNode, 'r': ResourceNode, 'd': ActionNode}[name[0]]
	d.kinds, d.names = append(d.kinds, kind), append(d.names, name)
	return uint32(len(d.names) - 1)
}

func (d *drawing) edge(from string, to ...string) *drawing {
	for _, name := range to {
		d.edges = append(d.edges, AccessEdge{d.node(from), d.node(name), 1})
	}
	return d
}

func (d *drawing) graph() *AccessGraph { return NewAccessGraph(d.kinds, slices.Clone(d.edges)) }

func (d *drawing) of(nodes []uint32) (names []string) {
	for _, n := range nodes {
		names = append(names, d.names[n])
	}
	return names
}

// randomAccess draws a graph of agents, identities, resources and actions.
func randomAccess(seed uint64, agents, others, edges int) *AccessGraph {
	rng := rand.New(rand.NewPCG(seed, 7))
	kinds := make([]NodeKind, agents+others)
	for i := agents; i < len(kinds); i++ {
		kinds[i] = IdentityNode + NodeKind(rng.IntN(3))
	}
	var es []AccessEdge
	for len(es) < edges {
		e := AccessEdge{uint32(rng.IntN(len(kinds))), uint32(rng.IntN(len(kinds))), float32(1 + rng.IntN(9))}
		if joins(kinds[e.From], kinds[e.To]) && e.From != e.To {
			es = append(es, e)
		}
	}
	return NewAccessGraph(kinds, es)
}

func nearly(a, b []float64, tol float64) bool {
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= tol) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestEdgesThatCannotBeAreLeftOutAndEqualOnesAddUp(t *testing.T) {
	kinds := []NodeKind{AgentNode, AgentNode, IdentityNode, ResourceNode, ActionNode}
	inf := float32(math.Inf(1))
	g := NewAccessGraph(kinds, []AccessEdge{
		{0, 3, 1}, {0, 1, 2}, {0, 3, 2}, {2, 3, 1}, {1, 4, 1}, // good
		{3, 0, 1}, {2, 4, 1}, {2, 0, 1}, {4, 3, 1}, {2, 2, 1}, {0, 0, 1}, // kinds that do not join, itself
		{0, 5, 1}, {9, 3, 1}, {0, 2, 0}, {0, 2, -1}, {0, 2, inf}, {0, 2, inf - inf}, // no node, no weight
	})
	if g.Edges() != 4 || g.Nodes() != 5 || g.Count(AgentNode) != 2 {
		t.Errorf("%d edges, %d nodes, %d agents", g.Edges(), g.Nodes(), g.Count(AgentNode))
	}
	if got := g.out.weights(0); !slices.Equal(got, []float32{2, 3}) {
		t.Errorf("weights of 0: %v", got)
	}
	if g.Used(0, ResourceNode) != 1 || g.Users(3, AgentNode) != 1 || g.Users(3, IdentityNode) != 1 || g.Users(1, AgentNode) != 1 {
		t.Error("wrong counts of neighbours")
	}
}

// The ranks of a ring are equal. In a star of k children of one parent, whose walk ends at the
// children: child c = (1-d+d·k·c)/n + d·parent/k and parent = (1-d+d·k·c)/n with n = k+1.
func TestPageRankOfRingAndStarIsTheClosedForm(t *testing.T) {
	ring := (&drawing{}).edge("a1", "a2").edge("a2", "a3").edge("a3", "a4").edge("a4", "a1").graph()
	if got := ring.PageRank(0.85, 1e-12); !nearly(got, []float64{.25, .25, .25, .25}, 1e-12) {
		t.Errorf("ring: %v", got)
	}
	const d, k, n = 0.85, 4.0, 5.0
	// parent p, child p(1+d/k), sum p(1 + k + d) = 1
	p := 1 / (1 + k + d)
	star := (&drawing{}).edge("a0", "r1", "r2", "r3", "r4").graph()
	want := []float64{p, p * (1 + d/k), p * (1 + d/k), p * (1 + d/k), p * (1 + d/k)}
	if got := star.PageRank(d, 1e-13); !nearly(got, want, 1e-12) {
		t.Errorf("star: %v, want %v", got, want)
	}
}

func directed(g *AccessGraph) *simple.WeightedDirectedGraph {
	d := simple.NewWeightedDirectedGraph(0, 0)
	for n := range g.Nodes() {
		d.AddNode(simple.Node(n))
	}
	for n := range uint32(g.Nodes()) {
		for i, to := range g.out.of(n) {
			d.SetWeightedEdge(simple.WeightedEdge{F: simple.Node(n), T: simple.Node(to), W: float64(g.out.weights(n)[i])})
		}
	}
	return d
}

func TestPageRankIsThatOfGonum(t *testing.T) {
	for seed := range uint64(5) {
		g := randomAccess(seed, 40, 60, 400)
		want := make([]float64, g.Nodes())
		for n, r := range network.PageRankSparse(directed(g), 0.85, 1e-12) {
			want[n] = r
		}
		got := g.PageRank(0.85, 1e-12)
		if !nearly(got, want, 1e-9) {
			t.Errorf("seed %d: differs from gonum", seed)
		}
		if !slices.Equal(got, randomAccess(seed, 40, 60, 400).PageRank(0.85, 1e-12)) {
			t.Error("the same graph gives another rank")
		}
	}
	if got := NewAccessGraph(nil, nil).PageRank(0.85, 1e-9); len(got) != 0 {
		t.Error(got)
	}
}

// On a path, place i of 0 … n-1 lies between the i before and the n-1-i after it.
func TestBetweennessOfAPathIsTheClosedForm(t *testing.T) {
	const n = 7
	d := &drawing{}
	for i := range n - 1 {
		d.edge("a"+string(rune('0'+i)), "a"+string(rune('1'+i)))
	}
	got := d.graph().Betweenness(n, 1)
	for i := range n {
		if want := 2 * float64(i*(n-1-i)) / ((n - 1) * (n - 2)); math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("place %d: %v, want %v", i, got[i], want)
		}
	}
}

func TestBetweennessIsThatOfGonumAndActionsHaveNone(t *testing.T) {
	g := randomAccess(3, 50, 60, 300)
	u := simple.NewUndirectedGraph()
	others := 0
	for n := range uint32(g.Nodes()) {
		if g.kinds[n] == ActionNode {
			continue
		}
		others++
		if u.Node(int64(n)) == nil {
			u.AddNode(simple.Node(n))
		}
		for _, to := range g.out.of(n) {
			if g.kinds[to] != ActionNode {
				u.SetEdge(simple.Edge{F: simple.Node(n), T: simple.Node(to)})
			}
		}
	}
	want := make([]float64, g.Nodes())
	for n, b := range network.Betweenness(u) {
		want[n] = b / float64((others-1)*(others-2))
	}
	if !nearly(g.Betweenness(others, 1), want, 1e-12) {
		t.Error("differs from gonum")
	}
	for n, b := range g.Betweenness(others, 1) {
		if g.kinds[n] == ActionNode && b != 0 {
			t.Errorf("action %d has %v", n, b)
		}
	}
}

// The comment promises an error above ε·n/(n-1) with a probability of at most 2·exp(-2kε²).
func TestSampledBetweennessIsWithinItsBound(t *testing.T) {
	g := randomAccess(4, 300, 200, 1500)
	exact := g.Betweenness(g.Nodes(), 1)
	const pivots, share = 64, 0.05
	bound := math.Sqrt(math.Log(2/share)/(2*pivots)) * 1.01
	wrong, all := 0, 0
	for seed := range uint64(40) {
		for n, b := range g.Betweenness(pivots, seed) {
			if all++; math.Abs(b-exact[n]) > bound {
				wrong++
			}
		}
	}
	if float64(wrong) > share*float64(all) {
		t.Errorf("%d of %d beyond %v", wrong, all, bound)
	}
	mean := make([]float64, len(exact))
	for seed := range uint64(400) {
		for n, b := range g.Betweenness(pivots, seed) {
			mean[n] += b / 400
		}
	}
	if !nearly(mean, exact, 0.004) {
		t.Error("the sample is biased")
	}
}

func TestReachFollowsIdentitiesAndDelegationsOnly(t *testing.T) {
	d := (&drawing{}).
		edge("a:root", "a:child", "do:list").edge("a:child", "a:grandchild", "i:shared", "r:own").
		edge("a:grandchild", "r:deep").
		edge("a:stranger", "i:shared", "r:secret", "r:open", "do:list").edge("i:shared", "r:open", "r:own")
	g := d.graph()
	got := g.Reach(d.node("a:root"), 100, 10)
	want := Reach{Agents: 2, Identities: 1, Resources: 3, Complete: true}
	names := d.of(got.Nearest)
	got.Nearest = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// r:secret is the stranger's, but not through the shared identity.
	if !slices.Equal(names, []string{"r:own", "r:deep", "r:open"}) {
		t.Errorf("reached %v", names)
	}
	if got := g.Reach(d.node("a:grandchild"), 100, 10); got.Resources != 1 || got.Agents != 0 {
		t.Errorf("a child reaches its parents: %+v", got)
	}
	if got := g.Reach(d.node("a:root"), 3, 10); got.Complete || got.Agents+got.Identities+got.Resources != 2 {
		t.Errorf("3 nodes give %+v", got)
	}
	if got := g.Reach(d.node("a:root"), 100, 1); len(got.Nearest) != 1 || got.Resources != 3 || !got.Complete {
		t.Errorf("a list of 1 gives %+v", got)
	}
}

func TestReachIsThatOfGonum(t *testing.T) {
	g := randomAccess(5, 100, 150, 400)
	d := directed(g)
	for n := range uint32(100) {
		want := Reach{Complete: true}
		walk := traverse.BreadthFirst{
			Traverse: func(e graph.Edge) bool { return g.kinds[e.To().ID()] != ActionNode },
			Visit: func(v graph.Node) {
				if id := uint32(v.ID()); id != n {
					want.note(g.kinds[id], id, 0)
				}
			},
		}
		walk.Walk(d, simple.Node(n), nil)
		if diff := cmp.Diff(want, g.Reach(n, 1000, 0)); diff != "" {
			t.Fatalf("agent %d: %s", n, diff)
		}
	}
}

func BenchmarkAccessGraphBuild(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := make([]NodeKind, 40_000)
	for i := 10_000; i < len(kinds); i++ {
		kinds[i] = ResourceNode
	}
	edges := make([]AccessEdge, 200_000)
	for i := range edges {
		edges[i] = AccessEdge{rng.Uint32N(10_000), 10_000 + rng.Uint32N(30_000), 1}
	}
	for b.Loop() {
		sinkGraph = NewAccessGraph(kinds, slices.Clone(edges))
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(len(edges)), "ns/edge")
}

var sinkGraph *AccessGraph

func BenchmarkPageRank(b *testing.B) {
	g := randomAccess(1, 10_000, 30_000, 200_000)
	for b.Loop() {
		g.PageRank(0.85, 1e-9)
	}
}

func BenchmarkBetweenness256(b *testing.B) {
	g := randomAccess(1, 10_000, 30_000, 200_000)
	for b.Loop() {
		g.Betweenness(256, 1)
	}
}

func BenchmarkReach(b *testing.B) {
	g := randomAccess(1, 10_000, 30_000, 200_000)
	b.ReportAllocs()
	for b.Loop() {
		g.Reach(1, 1<<16, 100)
	}
}
