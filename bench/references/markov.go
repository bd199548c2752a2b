package references

import (
	"math"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// MarkovRarity scores a call by how rare, for its agent, the step from the action before it
// in the session to its own is, and how rare its resource is:
//
//	-ln P(action | action before) - ln P(resource),   P(x) = (n(x) + 1)/(n + K + 1)
//
// with counts n over all of the agent's past, K kinds of which were seen (Laplace's rule with
// one place kept for what was never seen).
type MarkovRarity struct{ agents map[string]*habits }

type habits struct {
	steps     map[string]*counts // by the action before; "" begins a session
	actions   map[string]bool
	resources counts
	session   string
	before    string
}

// NewMarkovRarity returns a scorer that has seen nothing.
func NewMarkovRarity() *MarkovRarity { return &MarkovRarity{map[string]*habits{}} }

// Score returns the surprise of the call, in nats.
func (s *MarkovRarity) Score(c *telemetry.Call) float64 {
	h := s.habits(c)
	if session := string(c.Session); session != h.session {
		h.session, h.before = session, ""
	}
	step, rarity := s.Surprise(c, h.before)
	action, resource := string(c.Action), string(c.Resource)
	entry(h.steps, h.before, func() *counts { n := newCounts(); return &n }).add(action)
	h.resources.add(resource)
	h.actions[action] = true
	h.before = action
	return step + rarity
}

// Surprise returns both parts of the surprise of a call that comes after an action, "" at the begin
// of a session, and learns nothing.
func (s *MarkovRarity) Surprise(c *telemetry.Call, before string) (step, rarity float64) {
	h := s.habits(c)
	steps := h.steps[before]
	if steps == nil {
		steps = &counts{}
	}
	return steps.surprise(string(c.Action), len(h.actions)), h.resources.surprise(string(c.Resource), len(h.resources.of))
}

func (s *MarkovRarity) habits(c *telemetry.Call) *habits {
	return entry(s.agents, key(c), func() *habits {
		return &habits{steps: map[string]*counts{}, actions: map[string]bool{}, resources: newCounts()}
	})
}

// counts is how often each of several kinds was seen.
type counts struct {
	of  map[string]float64
	all float64
}

func newCounts() counts { return counts{of: map[string]float64{}} }

func (n *counts) add(kind string) { n.of[kind]++; n.all++ }

func (n *counts) surprise(kind string, kinds int) float64 {
	return -math.Log((n.of[kind] + 1) / (n.all + float64(kinds) + 1))
}
