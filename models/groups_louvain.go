package models

import (
	"math/rand/v2"
	"slices"
)

// louvain is an undirected weighted graph for Louvain's method. A node may be a group of
// nodes of a finer network.
//
// gonum's community.Modularize goes through all members of every neighbouring group for each
// move, by maps, and takes 40 to 700 times as long on the networks of 1,000 to 10,000 agents. The
// tests hold this one against it.
type louvain struct {
	first    []int32 // edges of node n: first[n] … first[n+1]-1, each edge at both its ends
	to       []int32
	weight   []float64
	inside   []float64 // weight inside of each node, twice
	strength []float64 // sum of its weights, inside and out
	total    float64   // of all strengths: 2m
}

// newLouvain returns the network with the given edges. Every node should have one.
func newLouvain(nodes int, ties []tie) *louvain {
	net := &louvain{
		first: make([]int32, nodes+1), to: make([]int32, 2*len(ties)), weight: make([]float64, 2*len(ties)),
		inside: make([]float64, nodes), strength: make([]float64, nodes),
	}
	for _, t := range ties {
		net.first[t.agent+1]++
		net.first[t.thing+1]++
	}
	for n := range nodes {
		net.first[n+1] += net.first[n]
	}
	next := slices.Clone(net.first)
	put := func(from, to int32, w float64) {
		net.to[next[from]], net.weight[next[from]] = to, w
		next[from]++
		net.strength[from] += w
		net.total += w
	}
	for _, t := range ties {
		put(t.agent, t.thing, t.weight)
		put(t.thing, t.agent, t.weight)
	}
	return net
}

// divide returns the group of each node and the modularity, beginning with the groups of start,
// or with each node on its own.
func (net *louvain) divide(start []int32, rng *rand.Rand) (group []int32, q float64) {
	if net.total == 0 {
		return make([]int32, len(net.strength)), 0
	}
	coarse, of := net, start
	if of == nil {
		of = numbers(len(net.strength))
	}
	for {
		moved := coarse.move(of, rng)
		groups := renumber(of)
		if group == nil {
			group = slices.Clone(of)
		} else {
			for n := range group {
				group[n] = of[group[n]]
			}
		}
		coarse = coarse.fold(of, groups)
		// A start of several nodes to a group has to be folded once, whether it moved or not.
		if !moved && start == nil {
			return group, coarse.modularity()
		}
		start, of = nil, numbers(groups)
	}
}

func numbers(n int) []int32 {
	ns := make([]int32, n)
	for i := range ns {
		ns[i] = int32(i)
	}
	return ns
}

// renumber makes the numbers dense, in the order of their first nodes, and returns how many.
func renumber(of []int32) int {
	dense := make([]int32, len(of))
	groups := int32(0)
	for n, c := range of {
		if dense[c] == 0 {
			groups++
			dense[c] = groups
		}
		of[n] = dense[c] - 1
	}
	return int(groups)
}

// modularity is Q where each node is a group.
func (net *louvain) modularity() (q float64) {
	for n, s := range net.strength {
		q += net.inside[n]/net.total - resolution*s/net.total*(s/net.total)
	}
	return q
}

const (
	leastGain = 1e-12 // of modularity, by one move: less is rounding
	mostTurns = 64    // through all nodes; a handful is usual
)

// mover is the memory of moves between groups.
type mover struct {
	*louvain
	of    []int32
	sum   []float64 // strength of each group
	size  []int32   // nodes of each group
	free  []int32   // every empty group, and some that no longer are
	links []float64 // from the node under way to each group
	near  []int32   // groups with links
}

// move moves each node to the group where the modularity gains most, until none gains, and
// reports whether any moved.
func (net *louvain) move(of []int32, rng *rand.Rand) (moved bool) {
	n := len(of)
	m := mover{louvain: net, of: of, sum: make([]float64, n), size: make([]int32, n), links: make([]float64, n)}
	for node, c := range of {
		m.sum[c] += net.strength[node]
		m.size[c]++
	}
	for c := n - 1; c >= 0; c-- {
		if m.size[c] == 0 {
			m.free = append(m.free, int32(c))
		}
	}
	order := rng.Perm(n)
	for range mostTurns {
		again := false
		for _, node := range order {
			again = m.step(int32(node)) || again
		}
		if !again {
			break
		}
		moved = true
	}
	return moved
}

// step moves one node, and reports whether it did.
func (m *mover) step(node int32) bool {
	own, strength := m.of[node], m.strength[node]
	m.near = m.near[:0]
	for i := m.first[node]; i < m.first[node+1]; i++ {
		c := m.of[m.to[i]]
		if m.links[c] == 0 {
			m.near = append(m.near, c)
		}
		m.links[c] += m.weight[i]
	}
	m.sum[own] -= strength
	m.size[own]--
	gain := func(c int32) float64 { return m.links[c] - resolution*strength*m.sum[c]/m.total }
	best, most := own, gain(own)+leastGain*m.total
	for _, c := range m.near {
		if g := gain(c); g > most {
			best, most = c, g
		}
	}
	if most < 0 { // alone is better
		best = m.empty()
	}
	for _, c := range m.near {
		m.links[c] = 0
	}
	if m.size[own] == 0 && best != own {
		m.free = append(m.free, own)
	}
	m.of[node] = best
	m.sum[best] += strength
	m.size[best]++
	return best != own
}

// empty returns an empty group. There is one, for a node under way is in none.
func (m *mover) empty() int32 {
	for {
		c := m.free[len(m.free)-1]
		m.free = m.free[:len(m.free)-1]
		if m.size[c] == 0 {
			return c
		}
	}
}

// fold makes each group a node.
func (net *louvain) fold(of []int32, groups int) *louvain {
	f := &louvain{
		first: make([]int32, 1, groups+1), inside: make([]float64, groups),
		strength: make([]float64, groups), total: net.total,
	}
	members, begin := byGroup(of, groups)
	links, near := make([]float64, groups), []int32(nil)
	for c := range int32(groups) {
		for _, n := range members[begin[c]:begin[c+1]] {
			f.inside[c] += net.inside[n]
			f.strength[c] += net.strength[n]
			for i := net.first[n]; i < net.first[n+1]; i++ {
				d := of[net.to[i]]
				if links[d] == 0 {
					near = append(near, d)
				}
				links[d] += net.weight[i]
			}
		}
		for _, d := range near {
			if d == c {
				f.inside[c] += links[d]
			} else {
				f.to, f.weight = append(f.to, d), append(f.weight, links[d])
			}
			links[d] = 0
		}
		near = near[:0]
		f.first = append(f.first, int32(len(f.to)))
	}
	return f
}

// byGroup lists the nodes of group c as members[begin[c]:begin[c+1]].
func byGroup(of []int32, groups int) (members, begin []int32) {
	begin = make([]int32, groups+1)
	for _, c := range of {
		begin[c+1]++
	}
	for c := range groups {
		begin[c+1] += begin[c]
	}
	members = make([]int32, len(of))
	next := slices.Clone(begin)
	for n, c := range of {
		members[next[c]] = int32(n)
		next[c]++
	}
	return members, begin
}
