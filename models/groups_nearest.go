package models

import (
	"cmp"
	"math"
	"slices"
)

// Peer is an agent that uses what another uses.
type Peer struct {
	Node  uint32
	Share float64 // of what the other uses; 1 is all of it
}

// nearestWork bounds the agents that Nearest visits.
const nearestWork = 1 << 16

// Nearest returns the agents that have most of what an agent uses, at most most of them: the share
// of its resources, actions and identities that the peer uses too, each counted by its rarity,
// ln(1 + agents/users). Ties: the smaller number first.
//
// It goes through what the agent uses from the rarest on, and leaves out the rest where that
// would be more than 65,536 visits. Cost: that many, about 5 ns each, and a number for each node.
func (g *AccessGraph) Nearest(agent uint32, most int) []Peer {
	if g.kinds[agent] != AgentNode {
		return nil
	}
	things := g.rarestFirst(agent)
	shares := make([]float64, len(g.kinds))
	var peers []Peer
	all, work := 0.0, 0
	for _, thing := range things {
		users := g.Users(thing, AgentNode)
		if work += users; work > nearestWork {
			break
		}
		rarity := math.Log1p(float64(g.number[AgentNode]) / float64(users))
		all += rarity
		for _, n := range g.in.of(thing) {
			if g.kinds[n] != AgentNode || n == agent {
				continue
			}
			if shares[n] == 0 {
				peers = append(peers, Peer{Node: n})
			}
			shares[n] += rarity
		}
	}
	for i := range peers {
		peers[i].Share = shares[peers[i].Node] / all
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Node, b.Node))
	})
	return slices.Clip(peers[:min(most, len(peers))])
}

// rarestFirst returns what an agent uses, without its children.
func (g *AccessGraph) rarestFirst(agent uint32) (things []uint32) {
	for _, n := range g.out.of(agent) {
		if g.kinds[n] != AgentNode {
			things = append(things, n)
		}
	}
	slices.SortFunc(things, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(len(g.in.of(a)), len(g.in.of(b))), cmp.Compare(a, b))
	})
	return things
}
