package fleet

import (
	"math"
	"strconv"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// How an agent of the eventful fleet comes to its sessions: each is planned as a whole when
// it begins, and its calls wait on an agenda, where those of several sessions mix.

const (
	longestSession = 2000 // calls
	mostWaiting    = 64   // sessions that an outage holds back; more are given up
	followsAtOnce  = 0.35 // share of sessions that come soon after the one before
	soonFactor     = 0.15 // of the mean gap
)

// Job is the state of one agent's work. What it plans is drawn from a source of its own:
// how far ahead it plans depends on where the stream ends, and the calls must not.
type job struct {
	source
	agenda  agenda
	drafts  uint64 // so far
	next    int64  // when the next session begins
	tick    int64  // of those that run by the clock
	waiting int    // sessions that the present outage holds back
	release release
	onCall  bool
	// faster is the factor of the rate at a time; nil: 1.
	faster func(t int64) float64
}

// Draft is a call that is planned.
type draft struct {
	at       int64
	order    uint64
	by       *worker
	action   string
	resource string
	latency  int64
	in, out  int64
	identity uint8
	outcome  telemetry.Outcome
}

// Eventful returns the stream of an agent's work from a time on.
func (f *Fleet) eventful(a *agent, from, until int64) *stream {
	s := &stream{fleet: f, agent: a, order: a.index, until: until, step: (*stream).work}
	s.Seed(mix(f.opts.Seed, 2, uint64(from)), uint64(a.index))
	begin := max(from, a.joined)
	s.job = f.job(a, begin, mix(f.opts.Seed, 9, uint64(from)))
	s.job.onCall = a.role.onCall
	if a.joined >= from && a.joined < until {
		s.setUp()
	}
	s.follow(begin)
	s.ahead()
	return s
}

func (f *Fleet) job(a *agent, t int64, seed uint64) *job {
	j := &job{release: f.releaseAt(a, t), tick: t}
	j.Seed(seed, uint64(a.index))
	return j
}

// Work makes the next call on the agenda.
func (s *stream) work() {
	d := s.job.agenda.take()
	s.write(&d)
	s.ahead()
}

// Ahead plans what begins before the first call on the agenda, and sets now to that call.
func (s *stream) ahead() {
	j := s.job
	for {
		t := min(j.next, j.release.next)
		if t >= s.until || len(j.agenda) > 0 && j.agenda[0].at < t {
			break
		}
		if t < j.next {
			j.release.until(s.fleet, s.agent, t)
			s.restart(t)
			continue
		}
		s.plan(t)
	}
	s.now = math.MaxInt64
	if len(j.agenda) > 0 {
		s.now = j.agenda[0].at
	}
}

// Plan plans the session that is due at t, and sets when the next one is.
func (s *stream) plan(t int64) {
	s.follow(t)
	at := t
	if o, down := s.fleet.outageAt(s.agent, t); down && o.upstream {
		if s.job.waiting++; s.job.waiting > mostWaiting {
			return
		}
		at = o.to + int64(expo.draw(&s.job.source, float64(20*time.Second)))
	} else {
		s.job.waiting = 0
	}
	w := s.hire(s.agent, s.agent.chain, at, s.job.visit())
	s.agent.role.plan(w)
}

// Follow sets when the session after the one at t begins.
func (s *stream) follow(t int64) {
	j, a := s.job, s.agent
	switch {
	case j.onCall:
		j.next = math.MaxInt64
	case a.role.every > 0:
		s.tick()
	default:
		gap := float64(aDay) * float64(a.role.session) / (s.fleet.opts.Rate * a.role.load * a.pace)
		gap /= j.release.rate * a.onboarding(t) * s.speed(t)
		if j.chance(followsAtOnce) {
			gap *= soonFactor
		} else {
			gap *= (1 - followsAtOnce*soonFactor) / (1 - followsAtOnce)
		}
		gap = min(expo.draw(&s.job.source, gap), 400*float64(aDay))
		j.next = max(s.fleet.busy(a, t, gap), t+1)
	}
}

// Tick sets the next run of those that work by the clock, with up to 90 seconds of delay in
// the queue. At another speed they run from the latest run on.
func (s *stream) tick() {
	j, a := s.job, s.agent
	every := a.period()
	if j.faster == nil {
		j.tick = a.before(j.tick) + every
	} else {
		j.tick += max(int64(float64(every)/j.faster(j.tick)), int64(time.Minute))
	}
	j.next = j.tick + min(int64(expo.draw(&j.source, float64(10*time.Second))), int64(90*time.Second))
}

// Before returns the latest time up to t at which the agent runs by the clock: at its own
// minute of its period or, once a day, of the hours 1 and 2 of its own time zone.
func (a *agent) before(t int64) int64 {
	every, share := a.period(), fraction(mix(uint64(a.index), ofStagger))
	offset := int64(share * float64(every))
	if every == aDay {
		offset = hour - a.shift*hour + int64(share*float64(2*hour))
	}
	return t - ((t-offset)%every+every)%every
}

// Period is the time between two runs: for pipelines half an hour to two hours.
func (a *agent) period() int64 {
	every := int64(a.role.every)
	if every == aDay {
		return every
	}
	return []int64{every / 2, every, every, 2 * every}[mix(uint64(a.index), 7)%4]
}

func (s *stream) speed(t int64) float64 {
	if s.job.faster == nil {
		return 1
	}
	return s.job.faster(t)
}

// Restart is what an agent does when it gets a new version.
func (s *stream) restart(t int64) {
	w := s.hire(s.agent, s.agent.chain, t, s.job.visit())
	w.pace = 60 * time.Millisecond
	w.call("config.read", read, w.agent.home+"release/"+version(s.job.release.version))
	w.call("secret.read", read, w.agent.home+"release/secrets")
	for range 3 + s.job.below(10) {
		w.call("health.check", read, w.agent.home+"health")
	}
}

// SetUp is the first thing that a newcomer does: it reads everything that it will work with.
func (s *stream) setUp() {
	a := s.agent
	w := s.hire(a, a.chain, a.joined, s.job.visit())
	w.pace = 300 * time.Millisecond
	w.call("config.read", read, a.home+"release/"+version(s.job.release.version))
	for _, n := range a.pool {
		w.call(a.role.actions[a.role.favouriteRead()].name, read, a.space.names[n])
	}
}

func version(n int) string { return "1." + strconv.Itoa(n) + ".0" }

// Runs returns the agent's context with the version that it runs.
func (f *Fleet) runs(a *agent, r release) []Pair {
	if f.opts.Deployments <= 0 {
		return a.context
	}
	n := len(a.context)
	return append(a.context[:n:n], Pair{"version", version(r.version)})
}

// Write makes the draft the stream's call.
func (s *stream) write(d *draft) {
	w := d.by
	s.session, s.trace = w.visit.session, w.visit.trace
	c := &s.call
	s.name(c)
	c.Tenant, c.Agent, c.Chain, c.Context = w.agent.tenant, w.agent.name, w.chain, w.context
	c.Identity, c.Session = w.agent.identities[d.identity], w.visit.session
	c.Action, c.Resource = d.action, d.resource
	c.Outcome, c.Latency = d.outcome, time.Duration(d.latency)
	c.BytesIn, c.BytesOut = d.in, d.out
	c.Attack, c.Goal = "", false
}

// Agenda is a heap of drafts, the earliest first.
type agenda []draft

func (d *draft) before(e *draft) bool { return d.at < e.at || d.at == e.at && d.order < e.order }

func (q *agenda) add(d draft) {
	h := append(*q, d)
	*q = h
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *agenda) take() draft {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], draft{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if right := child + 1; right < last && h[right].before(&h[child]) {
			child = right
		}
		if !h[child].before(&h[i]) {
			return first
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
