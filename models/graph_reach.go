package models

// Reach is the blast radius of an agent: what its credentials and delegations would open to
// whoever takes it over.
type Reach struct {
	Agents     int      // it delegates to, directly or not, without itself
	Identities int      // that it or those agents used
	Resources  int      // that it, those agents or anyone with those identities used
	Nearest    []uint32 // resources, the nearest first; at most as many as were asked for
	Complete   bool     // false where the search was cut off: the counts are then lower bounds
}

// Reach follows the edges from an agent: to its children, to the identities that they used,
// and to the resources that any agent opened with these. It visits at most most nodes, and
// lists at most list resources. Actions are no part of it.
//
// It is an observation, not a reading of policies: what was never used is not in it.
//
// Cost: O(nodes + edges) visited, and a bit for each node.
func (g *AccessGraph) Reach(agent uint32, most, list int) Reach {
	r := Reach{Complete: true}
	seen := make([]uint64, len(g.kinds)/64+1)
	seen[agent/64] |= 1 << (agent % 64)
	queue := []uint32{agent}
	for i := 0; i < len(queue); i++ {
		for _, to := range g.out.of(queue[i]) {
			if g.kinds[to] == ActionNode || seen[to/64]&(1<<(to%64)) != 0 {
				continue
			}
			if len(queue) >= most {
				r.Complete = false
				return r
			}
			seen[to/64] |= 1 << (to % 64)
			queue = append(queue, to)
			r.note(g.kinds[to], to, list)
		}
	}
	return r
}

func (r *Reach) note(kind NodeKind, n uint32, list int) {
	switch kind {
	case AgentNode:
		r.Agents++
	case IdentityNode:
		r.Identities++
	case ResourceNode:
		if r.Resources++; len(r.Nearest) < list {
			r.Nearest = append(r.Nearest, n)
		}
	}
}
