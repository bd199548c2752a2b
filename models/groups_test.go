package models

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/community"
	"gonum.org/v1/gonum/graph/simple"
)

// adjustedRand is the index of Hubert and Arabie 1985: 1 for equal divisions, 0 on average for
// those made by chance.
func adjustedRand(a, b []uint32) float64 {
	type pair struct{ a, b uint32 }
	both, of, in := map[pair]float64{}, map[uint32]float64{}, map[uint32]float64{}
	for i := range a {
		both[pair{a[i], b[i]}]++
		of[a[i]]++
		in[b[i]]++
	}
	pairs := func(n float64) float64 { return n * (n - 1) / 2 }
	var sum, sumA, sumB float64
	for _, n := range both {
		sum += pairs(n)
	}
	for _, n := range of {
		sumA += pairs(n)
	}
	for _, n := range in {
		sumB += pairs(n)
	}
	chance := sumA * sumB / pairs(float64(len(a)))
	if sumA+sumB == 2*chance {
		return 1
	}
	return (sum - chance) / ((sumA+sumB)/2 - chance)
}

// scikit-learn's adjusted_rand_score([0,0,1,1],[0,0,1,2]) = 0.571428…, ([0,0,1,1],[0,1,0,1]) = -0.5.
func TestAdjustedRandIsThatOfScikitLearn(t *testing.T) {
	for _, c := range []struct {
		a, b []uint32
		want float64
	}{
		{[]uint32{0, 0, 1, 1}, []uint32{5, 5, 3, 3}, 1},
		{[]uint32{0, 0, 1, 1}, []uint32{0, 0, 1, 2}, 4.0 / 7},
		{[]uint32{0, 0, 1, 1}, []uint32{0, 1, 0, 1}, -0.5},
	} {
		if got := adjustedRand(c.a, c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v, %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// planted is a tenant of agents in teams. An agent uses things resources of its team's pool,
// alien ones of other teams', some of its own, its team's identity, and four actions that all
// agents of its kind use, whatever their team.
type planted struct {
	agents, teams, kinds int
	pool, things, alien  int
}

func (p planted) draw(seed uint64) (*AccessGraph, []uint32) {
	rng := rand.New(rand.NewPCG(seed, 9))
	d := &drawing{}
	nodes := map[string]uint32{}
	node := func(kind NodeKind, name string, numbers ...any) uint32 {
		name = fmt.Sprintf(name, numbers...)
		n, ok := nodes[name]
		if !ok {
			n = uint32(len(d.kinds))
			nodes[name], d.kinds = n, append(d.kinds, kind)
		}
		return n
	}
	use := func(from, to uint32, weight int) {
		d.edges = append(d.edges, AccessEdge{from, to, float32(weight)})
	}
	truth := make([]uint32, p.agents)
	for i := range p.agents {
		node(AgentNode, "agent %d", i)
		truth[i] = uint32(i % p.teams)
	}
	for i := range p.agents {
		a, team := uint32(i), i%p.teams
		for range p.things {
			use(a, node(ResourceNode, "%d of team %d", rng.IntN(p.pool), team), 1+rng.IntN(200))
		}
		for range p.alien {
			use(a, node(ResourceNode, "%d of team %d", rng.IntN(p.pool), rng.IntN(p.teams)), 1)
		}
		for k := range 3 {
			use(a, node(ResourceNode, "%d of agent %d", k, i), 50)
		}
		for k := range 4 {
			use(a, node(ActionNode, "%d of kind %d", k, rng.IntN(p.kinds)), 100)
		}
		use(a, node(IdentityNode, "of team %d", team), 100)
	}
	return NewAccessGraph(d.kinds, d.edges), truth
}

func TestPlantedTeamsAreFound(t *testing.T) {
	for _, c := range []struct {
		planted
		least float64 // adjusted Rand index
	}{
		{planted{agents: 60, teams: 6, kinds: 3, pool: 10, things: 4, alien: 1}, 0.95},
		{planted{agents: 1000, teams: 100, kinds: 5, pool: 20, things: 6, alien: 1}, 0.8},
		{planted{agents: 1000, teams: 100, kinds: 5, pool: 20, things: 3, alien: 1}, 0.75},
		{planted{agents: 1000, teams: 20, kinds: 5, pool: 20, things: 4, alien: 2}, 0.95},
		{planted{agents: 2000, teams: 5, kinds: 5, pool: 400, things: 8, alien: 2}, 0.95},
		{planted{agents: 2000, teams: 5, kinds: 5, pool: 4000, things: 8, alien: 2}, 0.8},
	} {
		g, truth := c.draw(11)
		groups := g.PeerGroups(nil, 0, 1)
		if got := adjustedRand(truth, groups.Of[:c.agents]); got < c.least {
			t.Errorf("%+v: adjusted Rand index %.3f", c.planted, got)
		}
		for n := c.agents; n < g.Nodes(); n++ {
			if groups.Of[n] != 0 {
				t.Fatalf("node %d is no agent and has group %d", n, groups.Of[n])
			}
		}
	}
}

func TestATenantOfOneKindIsOneGroup(t *testing.T) {
	for _, p := range []planted{
		{agents: 300, teams: 1, kinds: 1, pool: 100, things: 8},
		{agents: 20, teams: 1, kinds: 1, pool: 10, things: 5},
	} {
		g, _ := p.draw(1)
		groups := g.PeerGroups(nil, 0, 1)
		for n := range p.agents {
			if groups.Of[n] != 1 {
				t.Fatalf("agent %d of %d is in group %d, modularity %v", n, p.agents, groups.Of[n], groups.Modularity)
			}
		}
	}
}

func TestAgentsThatShareNothingHaveNoGroup(t *testing.T) {
	d := (&drawing{}).edge("a1", "r1", "do1").edge("a2", "r1", "do2").edge("a3", "r3", "do3").edge("a4", "r4")
	groups := d.graph().PeerGroups(nil, 0, 1)
	of := func(name string) uint32 { return groups.Of[d.node(name)] }
	if of("a1") == 0 || of("a1") != of("a2") || of("a3") != 0 || of("a4") != 0 {
		t.Errorf("groups %v", groups.Of)
	}
	if empty := NewAccessGraph(nil, nil).PeerGroups(nil, 0, 1); len(empty.Of) != 0 || empty.Next != 1 {
		t.Errorf("an empty graph gives %+v", empty)
	}
}

func TestChildrenOfOneParentArePeers(t *testing.T) {
	d := (&drawing{}).edge("a:p", "a1", "a2", "a3").edge("a:q", "a4", "a5", "a6")
	groups := d.graph().PeerGroups(nil, 0, 1)
	want := map[uint32][]string{}
	for i, name := range d.names {
		want[groups.Of[i]] = append(want[groups.Of[i]], name)
	}
	if len(want) != 3 || !slices.Equal(want[0], []string{"a:p", "a:q"}) || !slices.Equal(want[1], []string{"a1", "a2", "a3"}) {
		t.Errorf("groups %v", want)
	}
}

// undirected gives gonum a network of groups of one.
func undirected(net *louvain) *simple.WeightedUndirectedGraph {
	u := simple.NewWeightedUndirectedGraph(0, 0)
	for n := range net.strength {
		for i := net.first[n]; i < net.first[n+1]; i++ {
			u.SetWeightedEdge(simple.WeightedEdge{F: simple.Node(n), T: simple.Node(net.to[i]), W: net.weight[i]})
		}
	}
	return u
}

func communities(of []int32) [][]graph.Node {
	cs := make([][]graph.Node, len(of))
	for n, c := range of {
		cs[c] = append(cs[c], simple.Node(n))
	}
	return slices.DeleteFunc(cs, func(c []graph.Node) bool { return len(c) == 0 })
}

func TestModularityIsThatOfGonumAndNotBelowItsLouvain(t *testing.T) {
	for seed := range uint64(4) {
		for _, p := range []planted{
			{agents: 120, teams: 10, kinds: 3, pool: 20, things: 3, alien: 3}, // blurred
			{agents: 200, teams: 1, kinds: 8, pool: 60, things: 5, alien: 0},
		} {
			g, _ := p.draw(seed)
			net, _ := g.sharing()
			of, q := net.divide(nil, rand.New(rand.NewPCG(seed, 1)))
			u := undirected(net)
			if got := community.Q(u, communities(of), resolution); math.Abs(got-q) > 1e-9 {
				t.Errorf("modularity %v, gonum says %v", q, got)
			}
			theirs := community.Q(u, community.Modularize(u, resolution, rand.NewPCG(seed, 1)).Communities(), resolution)
			if q < theirs-0.01 {
				t.Errorf("modularity %v, gonum finds %v", q, theirs)
			}
		}
	}
}

func TestGroupsKeepTheirNumbersWhileTheTenantChanges(t *testing.T) {
	p := planted{agents: 300, teams: 15, kinds: 4, pool: 20, things: 6, alien: 1}
	g, _ := p.draw(1)
	first := g.PeerGroups(nil, 0, 1)
	moved := 0
	before := first
	for seed := range uint64(10) { // other calls of the same teams, and another order of visits
		g, _ = p.draw(seed + 2)
		now := g.PeerGroups(before.Of[:p.agents], before.Next, seed)
		for n := range p.agents {
			if now.Of[n] != first.Of[n] {
				moved++
			}
		}
		before = now
	}
	if moved > 30 { // of 3000
		t.Errorf("%d times an agent changed its group", moved)
	}
}

func TestGroupsAreTheSameForTheSameGraph(t *testing.T) {
	p := planted{agents: 200, teams: 10, kinds: 3, pool: 20, things: 3, alien: 3}
	want, _ := p.draw(1)
	first := want.PeerGroups(nil, 0, 1)
	again := want.PeerGroups(first.Of, first.Next, 1)
	for range 5 {
		g, _ := p.draw(1)
		one := g.PeerGroups(nil, 0, 1)
		two := g.PeerGroups(one.Of, one.Next, 1)
		if !slices.Equal(one.Of, first.Of) || one.Modularity != first.Modularity || !slices.Equal(two.Of, again.Of) {
			t.Fatal("the same graph gives other groups")
		}
	}
}

// Two groups merge, one splits, one ends, one begins.
func TestNumbersFollowTheOverlap(t *testing.T) {
	agents := []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	before := []uint32{1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4}
	for _, c := range []struct {
		name     string
		division []int32
		want     []uint32
	}{
		{"nothing changed", []int32{0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 3}, before},
		{"1 and 2 merge", []int32{0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 3, 3}, []uint32{1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 4, 4}},
		{"3 splits", []int32{0, 0, 0, 1, 1, 4, 4, 4, 5, 5, 3, 3}, []uint32{1, 1, 1, 2, 2, 3, 3, 3, 9, 9, 4, 4}},
		{"4 ends", []int32{0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 4}, []uint32{1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 0, 0}},
		{"all merge", []int32{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []uint32{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}},
	} {
		groups := PeerGroups{Of: make([]uint32, len(agents)), Next: 9}
		match(agents, c.division, before, &groups)
		if !slices.Equal(groups.Of, c.want) {
			t.Errorf("%s: %v, want %v", c.name, groups.Of, c.want)
		}
	}
}

func BenchmarkPeerGroups(b *testing.B) {
	for _, p := range []planted{
		{agents: 1000, teams: 100, kinds: 5, pool: 20, things: 8, alien: 1},
		{agents: 10_000, teams: 1000, kinds: 5, pool: 20, things: 8, alien: 1},
	} {
		b.Run(fmt.Sprint(p.agents), func(b *testing.B) {
			g, _ := p.draw(1)
			before := g.PeerGroups(nil, 0, 1)
			for b.Loop() {
				g.PeerGroups(before.Of, before.Next, 1)
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(g.Edges()), "ns/edge")
		})
	}
}

func TestTheNearestPeersShareMostOfWhatIsRare(t *testing.T) {
	d := (&drawing{}).edge("a1", "r:rare", "r:common", "do:all", "r:own").
		edge("a2", "r:rare", "do:all").edge("a3", "r:common", "do:all").edge("a4", "r:common", "do:all").edge("a5", "r5")
	g := d.graph()
	rarity := func(users float64) float64 { return math.Log1p(5 / users) }
	all := rarity(2) + rarity(3) + rarity(4) + rarity(1)
	want := []Peer{
		{d.node("a2"), (rarity(2) + rarity(4)) / all},
		{d.node("a3"), (rarity(3) + rarity(4)) / all},
		{d.node("a4"), (rarity(3) + rarity(4)) / all},
	}
	got := g.Nearest(d.node("a1"), 10)
	for i := range want {
		if len(got) != len(want) || got[i].Node != want[i].Node || math.Abs(got[i].Share-want[i].Share) > 1e-12 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if got := g.Nearest(d.node("a1"), 1); len(got) != 1 || got[0].Node != d.node("a2") {
		t.Errorf("the nearest of all: %v", got)
	}
	if got := g.Nearest(d.node("r:rare"), 1); got != nil {
		t.Errorf("a resource has peers: %v", got)
	}
}
