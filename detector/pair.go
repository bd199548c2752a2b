package detector

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// A pair is an agent together with something else: group_by [agent, resource] gives a past of its own to
// what each agent does on each resource. Its state lives in the shard of the agent's own partition.
const (
	ByAgentIdentity = ByParent + 1 + Entity(iota)
	ByAgentSession
	ByAgentChainRoot
	ByAgentResource
	ByAgentParent
)

// Entities is how many sorts of entities there are.
const Entities = int(ByAgentParent) + 1

// partners are what stands beside the agent in the pairs, in their order.
var partners = []Entity{ByIdentity, BySession, ByChainRoot, ByResource, ByParent}

// Partner returns what stands beside the agent in a pair, and whether the entity is one.
func (e Entity) Partner() (Entity, bool) {
	if e < ByAgentIdentity {
		return e, false
	}
	return partners[e-ByAgentIdentity], true
}

// Local reports whether the entity's state lives in the shard of the agent's own partition. The others
// are reached through the exchange.
func (e Entity) Local() bool { return e == ByAgent || e >= ByAgentIdentity }

// fixes says whether a field is the same in all calls of the entity.
func (e Entity) fixes(f Field) bool {
	partner, pair := e.Partner()
	return f == partner.Field() || pair && f == FieldAgent
}

// names says whether all that has the entity in common has the same value of what detections are counted by.
func (e Entity) names(signField string) bool {
	partner, pair := e.Partner()
	return signField == partner.String() || pair && signField == ByAgent.String()
}

// grouping reads what a detector groups by: an entity, or the pair of an agent and another one.
func (r *reader) grouping(n *yaml.Node, d *draft) {
	if n.Kind != yaml.SequenceNode {
		if i, ok := r.choice(n, "group_by", entityWords); ok {
			d.GroupBy = Entity(i)
		}
		return
	}
	if len(n.Content) != 2 {
		r.fail(n, "write [agent, resource]", "group_by takes one entity or a pair, not %d", len(n.Content))
		return
	}
	var pair [2]Entity
	for i, v := range n.Content {
		at, ok := r.choice(v, "group_by", entityWords)
		if !ok {
			return
		}
		pair[i] = Entity(at)
	}
	i := slices.Index(partners, pair[1])
	switch {
	case pair[0] != ByAgent && pair[1] == ByAgent:
		r.fail(n, "write [agent, "+pair[0].String()+"]", "a pair begins with agent")
	case pair[0] != ByAgent:
		r.fail(n, "write [agent, "+pair[1].String()+"]", "a pair needs the agent, whose partition keeps what is known of it")
	case i < 0:
		r.fail(n, "write group_by: agent", "[agent, %s] is the same as agent alone", pair[1])
	default:
		d.GroupBy = ByAgentIdentity + Entity(i)
	}
}
