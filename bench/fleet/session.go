package fleet

import (
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	identityKept = 0.15 // share of calls with the identity of the call before
	inOrder      = 0.6  // share of actions that follow in the usual order
	retried      = 0.7  // share of errors that are retried
	delegated    = 4    // median of the calls that a delegation takes
	shortestGap  = 15 * time.Second
)

// Frame is one agent at work in a session; a delegation puts another one on top.
type frame struct {
	agent    *agent
	chain    []string
	left     int // calls
	action   int
	identity int
	resource string
	retry    bool // the call failed, and comes again
}

// Honest returns the stream of an agent's own work from a time on.
func (f *Fleet) honest(a *agent, from, until int64) *stream {
	s := &stream{fleet: f, agent: a, order: a.index, until: until, step: (*stream).honest}
	s.Seed(mix(f.opts.Seed, 2, uint64(from)), uint64(a.index))
	busy := a.busy().Seconds()
	gap := f.gap(a).Seconds()
	if s.chance(busy / (busy + gap)) {
		s.now = from + int64(s.unit()*float64(min(busy, 10))*float64(time.Second))
	} else {
		s.now = f.rest(a, from, s.unit()*gap*float64(time.Second))
	}
	return s
}

// Honest makes the next call of a session, or the first one of the next session.
func (s *stream) honest() {
	if s.depth == 0 {
		s.begin()
	}
	fr := &s.stack[s.depth-1]
	s.fill(fr)
	pause := s.pause(fr)
	fr.left--
	s.delegate(fr)
	for s.depth > 0 && s.stack[s.depth-1].left <= 0 {
		s.depth--
	}
	s.now += pause
	if s.depth == 0 {
		s.now = s.fleet.rest(s.agent, s.now, tight.draw(&s.source, float64(s.fleet.gap(s.agent))/tight.mean))
	}
}

// Begin opens a session with nobody but the agent in it.
func (s *stream) begin() {
	calls := tight.draw(&s.source, float64(s.agent.role.session)/tight.mean)
	s.stack[0] = s.enter(s.agent, s.agent.chain, int(calls+0.5))
	s.depth = 1
	s.session = string(s.hex([]byte("s-")))
	s.hex(s.hex(s.trace[:0]))
}

// Enter makes the frame of an agent that begins to work with the usual first action.
func (s *stream) enter(a *agent, chain []string, calls int) frame {
	return frame{agent: a, chain: chain, left: max(calls, 1), action: len(a.role.actions) - 1, identity: s.below(len(a.identities))}
}

// Fill makes the call of the frame.
func (s *stream) fill(fr *frame) {
	a, r := fr.agent, fr.agent.role
	if !fr.retry {
		s.choose(fr)
	}
	if n := len(a.identities); !s.chance(identityKept) {
		fr.identity = (fr.identity + 1 + s.below(n-1)) % n
	}
	act := &r.actions[fr.action]
	c := &s.call
	s.name(c)
	c.Tenant, c.Agent, c.Chain, c.Context = a.tenant, a.name, fr.chain, a.context
	c.Identity, c.Session = a.identities[fr.identity], s.session
	c.Action, c.Resource = act.name, fr.resource
	c.Outcome = s.outcome(r)
	c.Latency = time.Duration(loose.draw(&s.source, float64(r.latency)))
	c.BytesIn, c.BytesOut = s.bytes(r, act.effect, c.Outcome)
	fr.retry = c.Outcome == telemetry.OutcomeError && act.effect != delegate && s.chance(retried)
}

// Choose draws the next action, and what it is about.
func (s *stream) choose(fr *frame) {
	r := fr.agent.role
	if s.chance(inOrder) {
		fr.action = (fr.action + 1) % len(r.actions)
	} else {
		fr.action = r.mix.rank(&s.source)
	}
	if r.actions[fr.action].effect == delegate && (s.alone || len(fr.agent.delegates) == 0) {
		fr.action = 0
	}
	if r.actions[fr.action].effect == delegate {
		fr.resource = "agent://" + fr.agent.delegates[s.below(len(fr.agent.delegates))].name
		return
	}
	fr.resource = fr.agent.resource(&s.source, s.now, s.fleet.start)
}

// Delegate puts the agent that the call asked to work on top of the stack.
func (s *stream) delegate(fr *frame) {
	if fr.agent.role.actions[fr.action].effect != delegate || s.call.Outcome != telemetry.OutcomeOK || s.depth == len(s.stack) {
		return
	}
	to := s.fleet.byName[fr.resource[len("agent://"):]]
	chain := append(fr.chain[:len(fr.chain):len(fr.chain)], to.name)
	s.stack[s.depth] = s.enter(to, chain, int(tight.draw(&s.source, delegated)+0.5))
	s.depth++
}

func (s *stream) outcome(r *role) telemetry.Outcome {
	switch u := s.unit(); {
	case u < r.errors:
		return telemetry.OutcomeError
	case u < r.errors+r.denied:
		return telemetry.OutcomeDenied
	}
	return telemetry.OutcomeOK
}

// Bytes draws how much the call takes in and gives out. What fails gives out little.
func (s *stream) bytes(r *role, e effect, o telemetry.Outcome) (in, out int64) {
	small, large := tight.draw(&s.source, r.small), broad.draw(&s.source, r.large)
	if e != read {
		small, large = large, small
	}
	if o != telemetry.OutcomeOK {
		large = 180
	}
	return int64(small), int64(large)
}

// Pause draws how long after this call the next one comes: the call's latency, and time to think.
func (s *stream) pause(fr *frame) int64 {
	think := float64(fr.agent.role.think)
	if fr.retry {
		think /= 4
	}
	return int64(s.call.Latency) + int64(loose.draw(&s.source, think))
}

// Name gives the call its id, which is also its span in the session's trace.
func (s *stream) name(c *Call) {
	buf := make([]byte, 0, 55)
	buf = append(buf, "00-"...)
	buf = append(buf, s.trace[:]...)
	buf = append(buf, '-')
	buf = append(s.hex(buf), "-01"...)
	c.Traceparent = string(buf)
	c.ID = c.Traceparent[36:52]
}

// Hex appends 64 random bits in 16 digits.
func (s *source) hex(b []byte) []byte {
	const digits = "0123456789abcdef"
	u := s.Uint64()
	for range 16 {
		b = append(b, digits[u>>60])
		u <<= 4
	}
	return b
}

// Rest returns when work that waits for d at a mean hour begins.
func (f *Fleet) rest(a *agent, t int64, d float64) int64 {
	if !f.opts.DayShape {
		return t + int64(d)
	}
	return a.role.week.after(t, d, a.shift)
}

// Gap returns the mean time between two sessions at a mean hour, for the fleet's rate.
func (f *Fleet) gap(a *agent) time.Duration {
	sessions := f.opts.Rate * a.role.load * a.pace / float64(a.role.session) // in a day
	const longest = 400 * 24 * time.Hour
	day := float64(24 * time.Hour)
	return min(max(time.Duration(min(day/sessions, float64(longest)))-a.busy(), shortestGap), longest)
}

// Busy returns about how long a session takes.
func (a *agent) busy() time.Duration {
	r := a.role
	calls := float64(r.session)
	if len(a.delegates) > 0 {
		calls *= 1 + delegated/float64(len(r.actions))
	}
	return time.Duration(calls * (float64(r.think) + float64(r.latency)) * loose.mean)
}
