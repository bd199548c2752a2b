package graph

import (
	"time"

	"github.com/estop-project/estop/models"
)

// Multiple returns the multiple of the interval at which the snapshot was taken, as Place.Snapshot.
func (s *Snapshot) Multiple() uint32 { return s.tick }

// Size is how large a snapshot is.
type Size struct {
	Taken                         time.Time // zero before the first one
	Tenants, Agents, Nodes, Edges int
	Groups                        int
}

// Size returns how large the snapshot is.
func (s *Snapshot) Size() Size {
	size := Size{Taken: s.taken, Tenants: len(s.graph)}
	for i := range s.graph {
		t := &s.graph[i]
		size.Agents += t.graph.Count(models.AgentNode)
		size.Nodes += t.graph.Nodes()
		size.Edges += t.graph.Edges()
		size.Groups += len(t.sizes)
	}
	return size
}

// GroupOf returns the peer group of an agent; ok is false where it has no peers. A group keeps
// its number from one snapshot to the next, and no other group of the recorder, of any
// tenant, ever has it. It allocates nothing.
func (s *Snapshot) GroupOf(tenant, agent []byte) (group uint32, ok bool) {
	t, node := s.find(models.AgentNode, tenant, agent)
	if t == nil || t.groups[node] == 0 {
		return 0, false
	}
	return t.groups[node], true
}

// BlastRadius is what an agent can reach, as far as its tenant's calls showed: whoever takes
// it over has this.
type BlastRadius struct {
	Agents     int      // it delegates to, directly or not
	Identities int      // that it and these agents used
	Resources  int      // that it, these agents or anyone with these identities used
	Share      float64  // of all resources of the tenant
	Nearest    []string // of the resources, at most 100
	Complete   bool     // false: there are more than were looked at, 65,536 nodes
}

// BlastRadius returns what an agent can reach; ok is false where it is not known.
func (s *Snapshot) BlastRadius(tenant, agent []byte) (b BlastRadius, ok bool) {
	t, node := s.find(models.AgentNode, tenant, agent)
	if t == nil {
		return b, false
	}
	return s.blast(t, node), true
}

func (s *Snapshot) blast(t *tenantGraph, node uint32) BlastRadius {
	r := t.graph.Reach(node, reachNodes, reachList)
	b := BlastRadius{
		Agents: r.Agents, Identities: r.Identities, Resources: r.Resources,
		Nearest: s.names(t, r.Nearest), Complete: r.Complete,
	}
	if all := t.graph.Count(models.ResourceNode); all > 0 {
		b.Share = float64(r.Resources) / float64(all)
	}
	return b
}

// Criticality is how much of the tenant hangs on a node.
type Criticality struct {
	PageRank    float64 // share of the tenant's use that comes here
	Below       float64 // share of the tenant's nodes of this kind that have less
	Betweenness float64 // share of the shortest paths between two others that lead through it
	Agents      int     // that use it, or for an agent delegate to it
	Identities  int     // that are used at it
}

// Criticality returns how critical a resource, an identity or an agent is; ok is false where
// it is not known.
func (s *Snapshot) Criticality(kind models.NodeKind, tenant, name []byte) (c Criticality, ok bool) {
	t, node := s.find(kind, tenant, name)
	if t == nil {
		return c, false
	}
	return t.criticality(node), true
}

func (t *tenantGraph) criticality(node uint32) Criticality {
	return Criticality{
		PageRank: t.rank[node], Below: float64(t.below[node]), Betweenness: t.between[node],
		Agents:     t.graph.Users(node, models.AgentNode),
		Identities: t.graph.Users(node, models.IdentityNode),
	}
}

// Peer is an agent near to another.
type Peer struct {
	Agent string
	Share float64 // of what the other uses, rare things counting more; 1 is all of it
	Group bool    // it is of the same group
}

// Explanation is what the graph knows of an agent.
type Explanation struct {
	Taken       time.Time // the time of the snapshot
	Group       uint32    // 0: no peers
	GroupSize   int
	Peers       []Peer // the nearest ones, at most 8
	Children    int
	Parents     int
	Sharing     int // agents of the identity that most share, of those that it uses
	Criticality Criticality
	Blast       BlastRadius
}

// Explain returns what the graph knows of an agent; ok is false where it is not known. It is for
// detections and people, not for every call.
func (s *Snapshot) Explain(tenant, agent []byte) (e Explanation, ok bool) {
	t, node := s.find(models.AgentNode, tenant, agent)
	if t == nil {
		return e, false
	}
	e = Explanation{
		Taken:       s.taken,
		Group:       t.groups[node],
		Children:    t.graph.Used(node, models.AgentNode),
		Parents:     t.graph.Users(node, models.AgentNode),
		Criticality: t.criticality(node),
		Blast:       s.blast(t, node),
		GroupSize:   t.sizes[t.groups[node]],
	}
	for _, identity := range t.graph.Out(node) {
		if t.graph.Kind(identity) == models.IdentityNode {
			e.Sharing = max(e.Sharing, t.graph.Users(identity, models.AgentNode))
		}
	}
	for _, p := range t.graph.Nearest(node, peersList) {
		e.Peers = append(e.Peers, Peer{s.name(t, p.Node), p.Share, e.Group != 0 && t.groups[p.Node] == e.Group})
	}
	return e, true
}

// Excess compares a child with the agent that it acts for: what it used and its parent never
// did. ok is false where one of them is not known.
func (s *Snapshot) Excess(tenant, parent, child []byte) (x models.Excess, ok bool) {
	t, p := s.find(models.AgentNode, tenant, parent)
	u, c := s.find(models.AgentNode, tenant, child)
	if t == nil || u == nil {
		return x, false
	}
	return t.graph.Excess(p, c), true
}
