package backtest

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const day = 24 * time.Hour

// exposure counts for how long agents were at work before the detectors, and for each detector
// what its budget is a share of: days of its entities with a call that it judged, sessions, or calls.
// Days without a call count for nothing, so rates are never better for them. It is asked of every
// call by every detector, so it looks an entity up once for all of them.
type exposure struct {
	agents   count
	latest   map[string]*stretch // of agents
	units    []tally             // by detector
	entities map[string]*exposed
	last     string // the entity that was asked for last,
	asked    *exposed
	under    *stretch // of the agent of the call under way
	day      int64
	session  []byte
	sessions map[uint64][]visit // by entity and session, then by detector
	visits   []visit            // of the entity that was asked for last, in the session of the call under way
	key      []byte
}

// tally is what one detector saw.
type tally struct {
	count
	matched, entities, knownEntities int
}

// count is of all, and of those that a detector knew.
type count struct{ all, known int }

func (n *count) add(m count) { n.all, n.known = n.all+m.all, n.known+m.known }

// stretch is the last day of an entity.
type stretch struct {
	day   int64
	known bool
}

// exposed is an entity's last day before each detector, and whether it was ever known to it.
type exposed struct {
	days  []stretch
	known []bool
}

// visit is what a detector that judges sessions thought of one.
type visit uint8

const (
	unseen visit = iota
	seen
	seenKnown
)

func newExposure(detectors int) *exposure {
	return &exposure{
		latest: map[string]*stretch{}, units: make([]tally, detectors),
		entities: map[string]*exposed{}, sessions: map[uint64][]visit{},
	}
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

// call counts the day of the call's agent.
func (x *exposure) call(c *telemetry.Call) {
	x.key = shard.AppendEntityKey(x.key[:0], detector.ByAgent, c)
	x.day, x.session, x.visits = c.Time/int64(day)+1, c.Session, nil
	s := x.latest[string(x.key)]
	if s == nil {
		s = &stretch{}
		x.latest[string(x.key)] = s
	}
	s.turn(x.day, &x.agents)
	x.under = s
}

// judged counts what a detector judged at the last call.
func (x *exposure) judged(j shard.Judgement) {
	n := &x.units[j.Index]
	n.matched++
	e := x.entity(j.Entity)
	s := &e.days[j.Index]
	if s.day == 0 {
		n.entities++
	}
	if j.Known && !e.known[j.Index] {
		e.known[j.Index] = true
		n.knownEntities++
	}
	if j.Known && j.Detector.GroupBy != detector.ByTenant && len(j.Detector.Evidence) > 0 {
		x.under.know(&x.agents)
	}
	switch {
	case j.Detector.BlockCalls > 0:
		s.day = x.day
		n.all++
		if j.Known {
			n.known++
		}
	case j.Detector.Within:
		s.day = x.day
		x.inSession(j, n)
	default:
		s.turn(x.day, &n.count)
		if j.Known {
			s.know(&n.count)
		}
	}
}

func (x *exposure) inSession(j shard.Judgement, n *tally) {
	if x.visits == nil {
		x.visits = x.visitsTo(j.Entity)
	}
	v := &x.visits[j.Index]
	if *v == unseen {
		*v = seen
		n.all++
	}
	if j.Known && *v == seen {
		*v = seenKnown
		n.known++
	}
}

// visitsTo returns what is kept for an entity in the session of the call under way.
func (x *exposure) visitsTo(entity string) []visit {
	x.key = append(append(x.key[:0], entity...), 0)
	key := xxhash.Sum64(append(x.key, x.session...))
	v := x.sessions[key]
	if v == nil {
		v = make([]visit, len(x.units))
		x.sessions[key] = v
	}
	return v
}

// entity returns what is kept for an entity. Its key is the same string as long as the shard lives,
// so mostly no text is compared and none is hashed.
func (x *exposure) entity(key string) *exposed {
	if x.asked != nil && key == x.last {
		return x.asked
	}
	e := x.entities[key]
	if e == nil {
		e = &exposed{days: make([]stretch, len(x.units)), known: make([]bool, len(x.units))}
		x.entities[key] = e
	}
	x.last, x.asked, x.visits = key, e, nil
	return e
}

// add takes in what was counted of other tenants.
func (x *exposure) add(o *exposure) {
	x.agents.add(o.agents)
	for i := range x.units {
		n, m := &x.units[i], &o.units[i]
		n.count.add(m.count)
		n.matched, n.entities, n.knownEntities = n.matched+m.matched, n.entities+m.entities, n.knownEntities+m.knownEntities
	}
}

// unit names what the budget of a detector is a share of. A hard limit alone has none, and is held
// against days.
func unit(d *detector.Compiled) string {
	switch {
	case len(d.Evidence) == 0:
		return d.GroupBy.String() + "-days"
	case d.BlockCalls > 0:
		return "calls"
	case d.Within:
		return "sessions"
	}
	return d.GroupBy.String() + "-days"
}

// allowed returns how many false alarms for each unit the detector's budget allows; 0 without one.
func allowed(d *detector.Compiled) float64 {
	if len(d.Evidence) == 0 {
		return 0
	}
	return 1 / (d.Blocks * float64(max(d.BlockCalls, 1)))
}
