package references

import (
	"math"
	"time"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Features turns calls into rows of numbers for models that know nothing of agents: what the
// call is like beside the past of its agent. Everything that grows without bound is a
// logarithm.
type Features struct{ agents map[string]*past }

type past struct {
	short, long       models.Window
	actions, resource map[string]bool
	identities        map[string]bool
	last              int64
}

// NewFeatures returns features of agents that have no past.
func NewFeatures() *Features { return &Features{map[string]*past{}} }

// Row returns the features of a call: calls of its agent in ten seconds and in ten minutes,
// seconds since the one before, whether action, resource and identity are new to the agent,
// whether it was denied or failed, bytes and latency.
func (f *Features) Row(c *telemetry.Call) []float64 {
	p := entry(f.agents, key(c), func() *past {
		const slots = 20
		return &past{
			short: models.NewWindow(10*time.Second, slots), long: models.NewWindow(10*time.Minute, slots),
			actions: map[string]bool{}, resource: map[string]bool{}, identities: map[string]bool{}, last: c.Time,
		}
	})
	p.short.Add(c.Time, 1)
	p.long.Add(c.Time, 1)
	gap := time.Duration(max(c.Time-p.last, 0)).Seconds()
	p.last = c.Time
	return []float64{
		math.Log1p(p.short.Sum(c.Time)), math.Log1p(p.long.Sum(c.Time)), math.Log1p(gap),
		fresh(p.actions, c.Action), fresh(p.resource, c.Resource), fresh(p.identities, c.Identity),
		is(c.Outcome == telemetry.OutcomeDenied), is(c.Outcome == telemetry.OutcomeError),
		math.Log1p(float64(max(c.BytesIn, 0))), math.Log1p(float64(max(c.BytesOut, 0))), math.Log1p(c.Latency.Seconds()),
	}
}

// fresh reports, as 1 or 0, whether a value was never seen, and remembers it.
func fresh(seen map[string]bool, value []byte) float64 {
	if seen[string(value)] {
		return 0
	}
	seen[string(value)] = true
	return 1
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
