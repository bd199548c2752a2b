package models

import (
	"math"
	"math/rand/v2"
)

// PeerGroups are groups of agents that use the same things.
type PeerGroups struct {
	// Of is the group of each node that is an agent with peers, and 0 of all others.
	Of []uint32
	// Next is the first group that was never given. 0 names no group, so it is at least 1.
	Next uint32
	// Modularity is that of the division of agents and the things that they share, at most 1.
	Modularity float64
}

// resolution is γ, chosen on planted teams: in tenants of 60 to 2000 agents in 5 to 100 teams the
// adjusted Rand index is at least 0.81. At γ = 1 it falls to 0.51, because teams of ten merge
// (the resolution limit, Fortunato and Barthélemy 2007), at 2 to 0.59, because big ones split.
const resolution = 1.5

// leastModularity is where groups begin. Agents that all draw from the same things have a
// modularity of about 0.07, by chance alone, and the weakest of those teams have 0.41.
const leastModularity = 0.15

// keepWithin is how much modularity the groups of before may cost before they are given up for
// new ones. Among the very many divisions of nearly the same modularity (Good, de Montjoye and
// Clauset 2010) the one that is known is the best: a group that stays lends its members a
// prior that was learned.
const keepWithin = 0.01

// PeerGroups divides the agents into groups by Louvain's method (Blondel, Guillaume, Lambiotte
// and Lefebvre 2008), which seeks the division with the greatest modularity
//
//	Q = Σ_groups ( inside/2m - γ·(strength/2m)² )     Newman and Girvan 2004, γ: Reichardt and Bornholdt 2006
//
// of the graph of agents and what two or more of them share: resources, actions, identities and
// parents. The weight between agent a and thing f is, as in information retrieval,
//
//	ln(1 + uses) · ln(1 + agents/users(f))
//
// scaled such that an agent's things of each kind have the norm 1. So one stray call moves
// nobody, and what all use joins nobody. Louvain runs on agents and things together rather than on
// pairs of agents: it needs O(edges) and not O(Σ users²), and nothing has to be cut off where
// thousands share an action.
//
// before has the group of each node (0: none) and next the first unused number, as the last
// PeerGroups returned them; nil and 0 to begin with. Groups keep their numbers by overlap, see
// match, and no number is given twice. The groups of before are the start, unless a start
// from nothing is better by more than keepWithin. Where the modularity is below
// leastModularity all that share something are one group. An agent that shares nothing, or is alone
// in its group, has none.
//
// seed fixes the order in which Louvain visits. Cost: about 0.5 µs an edge.
func (g *AccessGraph) PeerGroups(before []uint32, next uint32, seed uint64) PeerGroups {
	net, agents := g.sharing()
	rng := rand.New(rand.NewPCG(seed, 1))
	division, q := net.divide(nil, rng)
	if start := net.startFrom(agents, before); start != nil {
		if kept, keptQ := net.divide(start, rng); keptQ >= q-keepWithin {
			division, q = kept, keptQ
		}
	}
	if q < leastModularity {
		clear(division)
	}
	groups := PeerGroups{Of: make([]uint32, len(g.kinds)), Next: max(next, 1), Modularity: q}
	match(agents, division, before, &groups)
	return groups
}

// tie joins an agent to something that it shares.
type tie struct {
	agent, thing int32 // places in a louvain
	weight       float64
}

// sharing returns the network of the agents that share something, and of what they share. The
// first places are the agents, whose nodes it returns.
func (g *AccessGraph) sharing() (net *louvain, agents []uint32) {
	s := sharing{graph: g, users: make([]int32, 2*len(g.kinds)), place: make([]int32, 2*len(g.kinds))}
	for n := range uint32(len(g.kinds)) {
		s.users[n] = int32(g.Users(n, AgentNode))
		if g.kinds[n] == AgentNode {
			s.users[n] = 0 // agents are things only as parents
			s.users[s.parent(n)] = int32(g.Used(n, AgentNode))
		}
	}
	for n := range uint32(len(g.kinds)) {
		if g.kinds[n] == AgentNode && s.join(n, int32(len(agents))) {
			agents = append(agents, n)
		}
	}
	for i := range s.ties {
		s.ties[i].thing += int32(len(agents))
	}
	return newLouvain(len(agents)+s.things, s.ties), agents
}

// sharing collects ties. Node n is the thing n, and the thing parent(n) for its children.
type sharing struct {
	graph  *AccessGraph
	users  []int32 // agents that have each thing
	place  []int32 // of each thing among the things, from 1
	things int
	ties   []tie
}

func (s *sharing) parent(n uint32) uint32 { return n + uint32(len(s.graph.kinds)) }

// join adds the ties of agent n at a place, or reports that it shares nothing.
func (s *sharing) join(n uint32, at int32) bool {
	g, begin := s.graph, len(s.ties)
	for kind := IdentityNode; kind < nodeKinds; kind++ {
		first := len(s.ties)
		weights := g.out.weights(n)
		for i, to := range g.out.of(n) {
			if g.kinds[to] == kind {
				s.tie(at, to, weights[i])
			}
		}
		scale(s.ties[first:])
	}
	first := len(s.ties)
	weights := g.in.weights(n)
	for i, from := range g.in.of(n) { // only agents have edges to agents
		s.tie(at, s.parent(from), weights[i])
	}
	scale(s.ties[first:])
	return len(s.ties) > begin
}

func (s *sharing) tie(at int32, thing uint32, uses float32) {
	users := s.users[thing]
	if users < 2 {
		return
	}
	if s.place[thing] == 0 {
		s.things++
		s.place[thing] = int32(s.things)
	}
	rarity := math.Log1p(float64(s.graph.number[AgentNode]) / float64(users))
	s.ties = append(s.ties, tie{at, s.place[thing] - 1, math.Log1p(float64(uses)) * rarity})
}

// scale makes the norm of the weights 1.
func scale(ties []tie) {
	sum := 0.0
	for i := range ties {
		sum += ties[i].weight * ties[i].weight
	}
	for i := range ties {
		ties[i].weight /= math.Sqrt(sum)
	}
}
