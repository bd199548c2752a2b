package eval

import (
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const day = 24 * time.Hour

// exposure counts for how long agents were at work before the detectors: days, in UTC, with a call
// at least, or sessions. Days without a call count for nothing, so rates are never better for
// them. It also counts for each detector what its budget is a share of: days of its
// entities with a call that it judged, sessions, or calls.
type exposure struct {
	index     map[*detector.Compiled]int
	bySession bool
	latest    map[string]*stretch
	entities  map[watched]*stretch
	key       []byte
	now       *counts  // where the call under way counts
	under     *stretch // of its agent
}

// counts are those of agents of one kind.
type counts struct {
	agents count
	units  []count // by detector
}

func newCounts(detectors int) counts { return counts{units: make([]count, detectors)} }

func (n *counts) add(m *counts) {
	n.agents.add(m.agents)
	for i := range n.units {
		n.units[i].add(m.units[i])
	}
}

// count is of all, and of those that a detector knew.
type count struct{ all, known int }

func (n *count) add(m count) { n.all, n.known = n.all+m.all, n.known+m.known }

// stretch is the last day, or the session, of an entity.
type stretch struct {
	day   int64
	known bool
}

// turn counts a day that is new.
func (s *stretch) turn(day int64, n *count) {
	if day > s.day {
		s.day, s.known = day, false
		n.all++
	}
}

// know counts a day on which the entity is known, once.
func (s *stretch) know(n *count) {
	if !s.known {
		s.known = true
		n.known++
	}
}

// watched is an entity of a detector, or one of its sessions.
type watched struct {
	detector        int
	entity, session string
}

func newExposure(plan *detector.Plan, bySession bool) *exposure {
	x := &exposure{
		index: map[*detector.Compiled]int{}, bySession: bySession,
		latest: map[string]*stretch{}, entities: map[watched]*stretch{},
	}
	for i, d := range plan.Detectors {
		x.index[d] = i
	}
	return x
}

// call counts the day, or session, of the agent where its kind counts.
func (x *exposure) call(c *telemetry.Call, n *counts) {
	x.now = n
	x.key = shard.AppendEntityKey(x.key[:0], detector.ByAgent, c)
	today := c.Time/int64(day) + 1
	if x.bySession {
		x.key, today = append(append(x.key, 0), c.Session...), 1
	}
	s := x.latest[string(x.key)]
	if s == nil {
		s = &stretch{}
		x.latest[string(x.key)] = s
	}
	s.turn(today, &n.agents)
	x.under = s
}

// judged counts what a detector judged at the last call.
func (x *exposure) judged(j shard.Judgement, c *telemetry.Call) {
	i := x.index[j.Detector]
	n := &x.now.units[i]
	if j.Known && j.Detector.GroupBy != detector.ByTenant && len(j.Detector.Evidence) > 0 {
		x.under.know(&x.now.agents)
	}
	if j.Detector.BlockCalls > 0 {
		n.all++
		if j.Known {
			n.known++
		}
		return
	}
	key, today := watched{i, j.Entity, ""}, c.Time/int64(day)+1
	if j.Detector.Within {
		key.session, today = string(c.Session), 1
	}
	s := x.entities[key]
	if s == nil {
		s = &stretch{}
		x.entities[key] = s
	}
	s.turn(today, n)
	if j.Known {
		s.know(n)
	}
}

// promised returns how many false alarms detector i, of a plan with the same detectors, allows itself in
// what was counted. It cannot be wrong about whom it does not know.
func (n *counts) promised(i int, d *detector.Compiled) float64 {
	if len(d.Evidence) == 0 {
		return 0 // a hard limit alone promises none
	}
	return float64(n.units[i].known) / (d.Blocks * float64(max(d.BlockCalls, 1)))
}

// unit names what the budget of a detector is a share of.
func unit(d *detector.Compiled) string {
	switch {
	case len(d.Evidence) == 0:
		return "none"
	case d.BlockCalls > 0:
		return "calls"
	case d.Within:
		return "sessions"
	}
	return d.GroupBy.String() + "-days"
}
