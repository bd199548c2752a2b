package fleet

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// Kind names a way to go bad.
type Kind string

// The kinds of attacks.
const (
	Exfiltration     Kind = "exfiltration"
	StolenCredential Kind = "stolen-credential"
	SlowCrawl        Kind = "slow-crawl"
	Loop             Kind = "loop"
	RampUp           Kind = "ramp-up"
)

// Attack is the truth about one bad agent, and the source of its bad calls.
type Attack struct {
	Kind   Kind
	Tenant string
	Agent  string // the bad agent, as its calls name it
	Victim string // for StolenCredential: whose identity it acts with
	// Start is the time of the first bad call, and FirstBad is its id.
	Start    time.Time
	FirstBad string
	// Replaces says that the bad calls stand in for the agent's own work; otherwise its
	// honest work goes on beside them.
	Replaces bool

	open func() *stream
}

// Calls returns the bad calls before the time to, in order of time; a zero to means without end.
func (a Attack) Calls(to time.Time) iter.Seq[Call] {
	return func(yield func(Call) bool) {
		for s := a.stream(0, endOf(to)); s.next() && yield(s.call); {
		}
	}
}

func (a Attack) stream(order int, until int64) *stream {
	s := a.open()
	s.order, s.until = order, until
	return s
}

// Exfiltrate makes the agent read all of its resources, then those of its neighbours in the
// tenant, over and over, at perSecond calls a second, with large answers. A part of what
// belongs to neighbours is denied.
func (f *Fleet) Exfiltrate(agent string, at time.Time, perSecond float64) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make an exfiltration: %w", err)
	}
	loot := a.loot()
	return f.attack(Exfiltration, a, at, false, func(s *stream) {
		n, interval := 0, every(perSecond)
		s.frame().action = a.role.favouriteRead()
		s.step = func(s *stream) {
			s.frame().resource = loot[n%len(loot)]
			s.repeat()
			c := &s.call
			c.BytesIn, c.BytesOut = int64(tight.draw(&s.source, a.role.small)), int64(loose.draw(&s.source, max(8*a.role.large, 256<<10)))
			if n%len(loot) >= len(a.pool) && s.chance(0.15) {
				c.Outcome, c.BytesOut = telemetry.OutcomeDenied, 180
			}
			n++
			s.now += interval(s)
		}
	}), nil
}

// StealCredential makes the thief act with an identity of the victim, on the victim's
// resources, with its own name in the chain, at the victim's pace in sessions. The thief is
// an agent of the victim's tenant, or a name that the fleet does not know.
func (f *Fleet) StealCredential(victim, thief string, at time.Time) (Attack, error) {
	v, err := f.find(victim)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot steal a credential: %w", err)
	}
	context := []Pair{{"env", "production"}}
	if t, ok := f.byName[thief]; ok {
		if t == v || t.tenant != v.tenant {
			return Attack{}, fmt.Errorf("cannot steal a credential: %q is not another agent of the tenant of %q", thief, victim)
		}
		context = t.context
	}
	chain := []string{thief}
	attack := f.attack(StolenCredential, v, at, false, func(s *stream) {
		s.step = func(s *stream) {
			s.honest()
			s.call.Agent, s.call.Chain, s.call.Context, s.call.Identity = thief, chain, context, v.identities[0]
		}
	})
	attack.Agent, attack.Victim = thief, victim
	return attack, nil
}

// Crawl makes the agent work as always, at its own pace, except that each call is about
// another resource that it has never seen.
func (f *Fleet) Crawl(agent string, at time.Time) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make a slow crawl: %w", err)
	}
	return f.attack(SlowCrawl, a, at, true, func(s *stream) {
		unseen, n := a.unseen(), 0
		s.step = func(s *stream) {
			s.honest()
			s.call.Resource = unseen(n)
			n++
		}
	}), nil
}

// Repeat makes the agent repeat one call without end, perSecond times a second: a language
// model that is stuck. Its identities go on changing.
func (f *Fleet) Repeat(agent string, at time.Time, perSecond float64) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make a loop: %w", err)
	}
	return f.attack(Loop, a, at, true, func(s *stream) {
		interval := every(perSecond)
		s.step = func(s *stream) {
			s.repeat()
			s.now += interval(s)
		}
	}), nil
}

// Ramp makes the agent do its usual work ever faster: perHour is the growth of its rate in
// an hour, 0.01 for one per cent. Its gaps and its pauses shrink alike.
func (f *Fleet) Ramp(agent string, at time.Time, perHour float64) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make a ramp: %w", err)
	}
	return f.attack(RampUp, a, at, true, func(s *stream) {
		s.step = func(s *stream) {
			before := s.now
			s.honest()
			hours := float64(before-at.UnixNano()) / float64(time.Hour)
			faster := float32(math.Pow(1+perHour, hours)) // rounded as a spread is
			shrunk := float64(s.now-before) / float64(faster)
			s.now = before + max(int64(shrunk), int64(time.Millisecond))
		}
	}), nil
}

// Attack prepares a stream that begins a session at the given time and does not delegate.
func (f *Fleet) attack(kind Kind, a *agent, at time.Time, replaces bool, bend func(*stream)) Attack {
	attack := Attack{Kind: kind, Tenant: a.tenant, Agent: a.name, Start: at, Replaces: replaces}
	attack.open = func() *stream {
		s := &stream{fleet: f, agent: a, now: at.UnixNano(), alone: true, step: (*stream).honest}
		seed := []uint64{f.opts.Seed, 3, uint64(at.UnixNano())}
		for _, b := range []byte(kind) {
			seed = append(seed, uint64(b))
		}
		s.Seed(mix(seed...), uint64(a.index))
		s.begin()
		s.choose(s.frame())
		bend(s)
		return s
	}
	for c := range attack.Calls(time.Time{}) {
		attack.FirstBad = c.ID
		break
	}
	return attack
}

func (s *stream) frame() *frame { return &s.stack[0] }

// Repeat makes a call of the frame's action and resource, as a retry does.
func (s *stream) repeat() {
	s.frame().retry = true
	s.fill(s.frame())
}

// Every draws intervals whose mean is one perSecond-th of a second.
func every(perSecond float64) func(*stream) int64 {
	median := float64(time.Second) / max(perSecond, 1e-6) / tight.mean
	return func(s *stream) int64 { return int64(tight.draw(&s.source, median)) }
}

// Loot returns the agent's resources, then those of its neighbours in the tenant.
func (a *agent) loot() []string {
	var names []string
	for _, n := range a.pool {
		names = append(names, a.space.names[n])
	}
	own := len(names)
	for _, t := range a.team.peers {
		for _, b := range t.members {
			for _, n := range b.pool {
				if b != a {
					names = append(names, b.space.names[n])
				}
			}
		}
	}
	// Neighbours of one role share resources with the agent and with one another.
	seen := make(map[string]bool, len(names))
	kept := names[:0]
	for i, name := range names {
		if i < own || !seen[name] {
			kept = append(kept, name)
		}
		seen[name] = true
	}
	return kept
}

// Unseen returns a function that names resource n of those that the agent never touches:
// first the rest of what its tenant has, then an archive without end.
func (a *agent) unseen() func(n int) string {
	names := a.loot()[len(a.pool):]
	archive := a.space.prefix + "archive/"
	return func(n int) string {
		if n < len(names) {
			return names[n]
		}
		return archive + strconv.Itoa(n-len(names)+1)
	}
}
