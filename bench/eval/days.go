package eval

import (
	"math"
	"strings"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const day = 24 * time.Hour

// days counts for how many days entities were at work: for each kind of entity the pairs of an
// entity and a day, in UTC, with a call at least. Days without a call count for nothing, so
// rates are never better for them.
type days struct {
	kinds    []detector.Entity
	last     map[string]int64 // by entity
	n        map[detector.Entity]int
	sessions map[string]bool
	calls    int
	key      []byte
}

func newDays(plan *detector.Plan) *days {
	d := &days{kinds: []detector.Entity{detector.ByAgent}, last: map[string]int64{}, n: map[detector.Entity]int{}, sessions: map[string]bool{}}
	seen := map[detector.Entity]bool{detector.ByAgent: true}
	for _, c := range plan.Detectors {
		if !seen[c.GroupBy] {
			seen[c.GroupBy] = true
			d.kinds = append(d.kinds, c.GroupBy)
		}
	}
	return d
}

func (d *days) count(c *telemetry.Call) {
	d.calls++
	today := c.Time/int64(day) + 1
	for _, by := range d.kinds {
		d.key = shard.AppendEntityKey(d.key[:0], by, c)
		if d.key[len(d.key)-1] == 0 {
			continue // the call has no such entity
		}
		if d.last[string(d.key)] < today {
			d.last[string(d.key)] = today
			d.n[by]++
		}
	}
	if len(c.Session) > 0 {
		d.key = shard.AppendEntityKey(d.key[:0], detector.BySession, c)
		d.sessions[string(d.key)] = true
	}
}

// agentDays is the measure that all false kills are held against.
func (d *days) agentDays() float64 { return float64(d.n[detector.ByAgent]) }

// promised returns how many false alarms a detector allows itself in what was counted.
func (d *days) promised(c *detector.Compiled) float64 {
	if len(c.Evidence) == 0 {
		return 0 // a hard limit alone promises none
	}
	alarm := math.Exp(-c.Level) // in one step
	switch unit := c.Budget[strings.LastIndex(c.Budget, " ")+1:]; {
	case strings.HasPrefix(unit, "call"):
		return alarm * float64(d.calls)
	case c.Within:
		return alarm * float64(len(d.sessions))
	}
	return alarm * float64(day) / float64(c.Slot) * float64(d.n[c.GroupBy])
}
