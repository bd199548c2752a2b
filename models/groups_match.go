package models

import (
	"cmp"
	"slices"
)

// startFrom returns the division of before as a start for Louvain: an agent that had no group is
// on its own, and a thing is where most of its weight is. It is nil where no agent has a
// group of before.
func (net *louvain) startFrom(agents, before []uint32) []int32 {
	of := make([]int32, len(net.strength))
	place := map[uint32]int32{}
	known := int32(0)
	for i, n := range agents {
		group := groupOf(before, n)
		c, ok := place[group]
		if !ok {
			c = known
			known++
			if group != 0 {
				place[group] = c
			}
		}
		of[i] = c
	}
	if len(place) == 0 {
		return nil
	}
	links := make([]float64, known)
	for n := len(agents); n < len(of); n++ {
		edges := net.to[net.first[n]:net.first[n+1]]
		for i, a := range edges {
			links[of[a]] += net.weight[int(net.first[n])+i]
		}
		best := of[edges[0]]
		for _, a := range edges {
			if links[of[a]] > links[best] {
				best = of[a]
			}
		}
		for _, a := range edges {
			links[of[a]] = 0
		}
		of[n] = best
	}
	return of
}

// groupOf returns the group of a node that may be newer than the groups.
func groupOf(groups []uint32, n uint32) uint32 {
	if int(n) < len(groups) {
		return groups[n]
	}
	return 0
}

// overlap is how many agents a new group has from an old one.
type overlap struct {
	old     uint32
	new     int32
	members int
}

// match gives each group of two or more agents a number. It is the one of the old group
// with which it shares most agents (ties: the smaller number, then the group that comes first),
// provided that these are at least half of the one or of the other; else it is a new one.
func match(agents []uint32, division []int32, before []uint32, groups *PeerGroups) {
	size, had := make([]int, len(division)), map[uint32]int{}
	shared := map[overlap]int{}
	for i, n := range agents {
		size[division[i]]++
		if o := groupOf(before, n); o != 0 {
			had[o]++
			shared[overlap{old: o, new: division[i]}]++
		}
	}
	var overlaps []overlap
	for o, members := range shared {
		if size[o.new] > 1 && (2*members >= size[o.new] || 2*members >= had[o.old]) {
			overlaps = append(overlaps, overlap{o.old, o.new, members})
		}
	}
	slices.SortFunc(overlaps, func(a, b overlap) int {
		return cmp.Or(cmp.Compare(b.members, a.members), cmp.Compare(a.old, b.old), cmp.Compare(a.new, b.new))
	})
	number, taken := make([]uint32, len(division)), map[uint32]bool{}
	for _, o := range overlaps {
		if number[o.new] == 0 && !taken[o.old] {
			number[o.new], taken[o.old] = o.old, true
		}
	}
	for i, n := range agents {
		c := division[i]
		if size[c] < 2 {
			continue
		}
		if number[c] == 0 {
			number[c] = groups.Next
			groups.Next++
		}
		groups.Of[n] = number[c]
	}
}
