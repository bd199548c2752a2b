package references

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// The thresholds are round numbers, as an analyst writes them who does not know the agents.
const (
	maxCalls     = 100 // in a minute
	maxDenied    = 10
	maxResources = 50
)

// Thresholds is one rule for all agents, as most monitoring has it: too many calls, denials or
// different resources in a minute. Its score is the greatest of the three over its
// threshold, so that it fires at 1.
type Thresholds struct{ agents map[string]*minute }

type minute struct {
	calls, denied models.Window
	resources     models.Distinct
}

// NewThresholds returns thresholds that have seen nothing.
func NewThresholds() *Thresholds { return &Thresholds{map[string]*minute{}} }

// Score returns how far the call brings its agent, in thresholds.
func (s *Thresholds) Score(c *telemetry.Call) float64 {
	m := entry(s.agents, key(c), func() *minute {
		const slots, exact = 20, 64
		return &minute{models.NewWindow(time.Minute, slots), models.NewWindow(time.Minute, slots), models.NewDistinct(time.Minute, slots, exact)}
	})
	m.calls.Add(c.Time, 1)
	if c.Outcome == telemetry.OutcomeDenied {
		m.denied.Add(c.Time, 1)
	}
	if len(c.Resource) > 0 {
		m.resources.Add(c.Time, xxhash.Sum64(c.Resource))
	}
	return max(m.calls.Sum(c.Time)/maxCalls, m.denied.Sum(c.Time)/maxDenied, m.resources.Count(c.Time)/maxResources)
}

// key names the agent of a call; tenants never share one.
func key(c *telemetry.Call) string { return string(c.Tenant) + "\x00" + string(c.Agent) }

// entry returns the entry of a key, made where it is missing.
func entry[V any](all map[string]*V, key string, made func() *V) *V {
	v := all[key]
	if v == nil {
		v = made()
		all[key] = v
	}
	return v
}
