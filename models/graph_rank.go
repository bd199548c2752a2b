package models

import (
	"math"
	"math/rand/v2"
	"slices"
)

// PageRank returns for each node how often a walk is there that follows an edge, drawn by its
// weight, with probability damping, and else, or where no edge goes on, begins anew at a node
// drawn uniformly (Page, Brin, Motwani and Winograd 1999). The ranks add up to 1.
//
// Here walks begin at agents and end at what they use, so the rank of a resource says how
// much of the use of the tenant comes to it.
//
// 0 ≤ damping < 1, as a rule 0.85; iteration ends when the ranks move by less than tol in all,
// or after 1000 turns: the error is below tol·damping/(1-damping). Cost: O(edges) a turn,
// log(tol)/log(damping) turns: about 130 for 1e-9.
func (g *AccessGraph) PageRank(damping, tol float64) []float64 {
	n := len(g.kinds)
	if n == 0 {
		return nil
	}
	sums := g.outWeights()
	rank, next := make([]float64, n), make([]float64, n)
	for i := range rank {
		rank[i] = 1 / float64(n)
	}
	for range 1000 {
		ended := 0.0
		for i, s := range sums {
			if s == 0 {
				ended += rank[i]
			}
		}
		anew := (1 - damping + damping*ended) / float64(n)
		moved := 0.0
		for i := range next {
			next[i] = anew + damping*g.flow(uint32(i), rank, sums)
			moved += math.Abs(next[i] - rank[i])
		}
		rank, next = next, rank
		if moved < tol {
			break
		}
	}
	return rank
}

func (g *AccessGraph) outWeights() []float64 {
	sums := make([]float64, len(g.kinds))
	for i := range sums {
		for _, w := range g.out.weights(uint32(i)) {
			sums[i] += float64(w)
		}
	}
	return sums
}

// flow is what comes to node n from the nodes that lead to it.
func (g *AccessGraph) flow(n uint32, rank, sums []float64) (sum float64) {
	weights := g.in.weights(n)
	for i, from := range g.in.of(n) {
		sum += rank[from] * float64(weights[i]) / sums[from]
	}
	return sum
}

// Betweenness returns for each node the share of shortest paths between two others that lead
// through it, from 0 to 1:
//
//	b(v) = Σ_{s≠v≠t} σ_st(v)/σ_st / ((n-1)(n-2))      Freeman 1977, by Brandes' algorithm 2001
//
// over the n nodes that are not actions, with edges taken both ways and without weight. So it
// finds what joins parts of a tenant that else are apart: a shared identity, an orchestrator.
// Actions have 0: they join everything and open nothing.
//
// Of the n sources s at most pivots are taken, drawn with seed (Brandes and Pich 2007). With k
// of them the error of a node is above ε·n/(n-1) with a probability of at most 2·exp(-2kε²), by
// Hoeffding's bound for draws without replacement: k = 256 gives ±0.085 at 95 %.
//
// Cost: O(k·(nodes + edges)), about 10–20 ns for each.
func (g *AccessGraph) Betweenness(pivots int, seed uint64) []float64 {
	between := make([]float64, len(g.kinds))
	var sources []uint32
	for n, kind := range g.kinds {
		if kind != ActionNode {
			sources = append(sources, uint32(n))
		}
	}
	n := len(sources)
	if n < 3 || pivots < 1 {
		return between
	}
	if pivots < n {
		rng := rand.New(rand.NewPCG(seed, 0))
		for i := range pivots {
			j := i + rng.IntN(n-i)
			sources[i], sources[j] = sources[j], sources[i]
		}
		sources = sources[:pivots]
	}
	p := newPaths(g.bothWays())
	for _, s := range sources {
		p.add(s, between)
	}
	scale := float64(n) / float64(len(sources)) / float64(n-1) / float64(n-2)
	for i := range between {
		between[i] *= scale
	}
	return between
}

// bothWays returns the edges that are not to actions, once in each direction.
func (g *AccessGraph) bothWays() arcs {
	a := arcs{first: make([]uint32, 1, len(g.kinds)+1), to: make([]uint32, 0, 2*len(g.out.to))}
	for n := range uint32(len(g.kinds)) {
		if g.kinds[n] != ActionNode {
			begin := len(a.to)
			for _, to := range g.out.of(n) {
				if g.kinds[to] != ActionNode {
					a.to = append(a.to, to)
				}
			}
			a.to = append(a.to, g.in.of(n)...)
			slices.Sort(a.to[begin:])
			a.to = a.to[:begin+len(slices.Compact(a.to[begin:]))]
		}
		a.first = append(a.first, uint32(len(a.to)))
	}
	return a
}

// paths is the memory of a search for the shortest paths from one node.
type paths struct {
	arcs  arcs
	far   []int32   // steps from the source, -1: not reached
	ways  []float64 // σ: the number of shortest paths
	share []float64 // δ: of the paths from the source, those through the node
	order []uint32  // as reached
}

func newPaths(a arcs) *paths {
	n := len(a.first) - 1
	p := &paths{a, make([]int32, n), make([]float64, n), make([]float64, n), make([]uint32, 0, n)}
	for i := range p.far {
		p.far[i] = -1
	}
	return p
}

// add adds to between the paths from s, and leaves the memory as it was.
func (p *paths) add(s uint32, between []float64) {
	p.far[s], p.ways[s] = 0, 1
	p.order = append(p.order[:0], s)
	for i := 0; i < len(p.order); i++ {
		v := p.order[i]
		for _, w := range p.arcs.of(v) {
			if p.far[w] < 0 {
				p.far[w] = p.far[v] + 1
				p.order = append(p.order, w)
			}
			if p.far[w] == p.far[v]+1 {
				p.ways[w] += p.ways[v]
			}
		}
	}
	for i := len(p.order) - 1; i > 0; i-- {
		w := p.order[i]
		between[w] += p.share[w]
		each := (1 + p.share[w]) / p.ways[w]
		for _, v := range p.arcs.of(w) {
			if p.far[v] == p.far[w]-1 {
				p.share[v] += p.ways[v] * each
			}
		}
	}
	for _, v := range p.order {
		p.far[v], p.ways[v], p.share[v] = -1, 0, 0
	}
}
