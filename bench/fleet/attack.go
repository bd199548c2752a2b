package fleet

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// Attack is the truth about one bad agent, and the source of its bad calls.
type Attack struct {
	Kind     Kind
	Strength Strength // empty where the attack was not made by its strength
	Tenant   string
	Agent    string // the bad agent, as its calls name it
	Victim   string // for StolenCredential: whose identity it acts with
	// Start is the time of the first bad call, and FirstBad is its id.
	Start    time.Time
	FirstBad string
	// Goal is the id of the call that completes the attack, GoalAt its time, and ToGoal how
	// many bad calls there are up to and with it. Empty and zero if it does not come within
	// sixty days and a million calls.
	Goal   string
	GoalAt time.Time
	ToGoal int
	// Replaces says that the attack's calls stand in for the agent's own work; otherwise its
	// honest work goes on beside them.
	Replaces bool

	begins int64 // of the first call, which need not be bad
	open   func() *stream
}

// Calls returns the attack's calls before the time to, in order of time; a zero to means
// without end. Where an attack hides in honest work, that work is among them: the bad calls
// are those with Call.Attack set.
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
	return f.attack(Exfiltration, a, at, false, 500, func(s *stream) {
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
			s.strike()
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
		context = f.runs(t, f.releaseAt(t, at.UnixNano()))
	}
	chain := []string{thief}
	attack := f.attack(StolenCredential, v, at, false, 30, func(s *stream) {
		s.takeUp(at, true)
		s.step = func(s *stream) {
			s.ownWork()
			s.call.Agent, s.call.Chain, s.call.Context, s.call.Identity = thief, chain, context, v.identities[0]
			s.strike()
		}
	})
	attack.Agent, attack.Victim = thief, victim
	return attack, nil
}

// Crawl makes the agent work as always, at its own pace, except that each call is about
// another resource that it has never seen.
func (f *Fleet) Crawl(agent string, at time.Time) (Attack, error) { return f.crawl(agent, at, 1) }

// Crawl makes a share of the agent's calls be about what it has never seen.
func (f *Fleet) crawl(agent string, at time.Time, share float64) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make a slow crawl: %w", err)
	}
	return f.attack(SlowCrawl, a, at, true, 50, func(s *stream) {
		unseen, n := a.unseen(), 0
		s.takeUp(at, false)
		s.step = func(s *stream) {
			s.ownWork()
			if s.call.Agent != a.name || strings.HasPrefix(s.call.Resource, "agent://") || share < 1 && !s.chance(share) {
				return
			}
			s.call.Resource = unseen(n)
			n++
			s.strike()
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
	return f.attack(Loop, a, at, true, 1000, func(s *stream) {
		interval := every(perSecond)
		s.step = func(s *stream) {
			s.repeat()
			s.strike()
			s.now += interval(s)
		}
	}), nil
}

// Ramp makes the agent do its usual work ever faster: perHour is the growth of its rate in
// an hour, 0.01 for one per cent. In the plain fleet its gaps and its pauses shrink alike. In
// the eventful one it has ever more sessions, for two weeks, and stays at that. The goal is
// four times its rate.
func (f *Fleet) Ramp(agent string, at time.Time, perHour float64) (Attack, error) {
	a, err := f.find(agent)
	if err != nil {
		return Attack{}, fmt.Errorf("cannot make a ramp: %w", err)
	}
	const goal = 4
	growth := func(t int64) float32 {
		hours := float64(t-at.UnixNano()) / float64(time.Hour)
		return float32(math.Pow(1+perHour, hours)) // rounded as a spread is
	}
	return f.attack(RampUp, a, at, true, 0, func(s *stream) {
		if s.job != nil {
			s.job.faster = func(t int64) float64 { return float64(growth(min(t, at.UnixNano()+14*aDay))) }
		}
		s.takeUp(at, false)
		reached := false
		s.step = func(s *stream) {
			before := s.now
			s.ownWork()
			faster := growth(before)
			if s.job == nil {
				shrunk := float64(s.now-before) / float64(faster)
				s.now = before + max(int64(shrunk), int64(time.Millisecond))
			}
			if s.call.Agent == a.name {
				s.strike()
				s.call.Goal = !reached && faster >= goal
				reached = reached || s.call.Goal
			}
		}
	}), nil
}

// Attack prepares a stream that begins at the given time. The goal-th bad call completes it.
func (f *Fleet) attack(kind Kind, a *agent, at time.Time, replaces bool, goal int, bend func(*stream)) Attack {
	attack := Attack{Kind: kind, Tenant: a.tenant, Agent: a.name, Replaces: replaces, begins: at.UnixNano()}
	attack.open = func() *stream {
		s := &stream{fleet: f, agent: a, now: at.UnixNano(), until: math.MaxInt64, alone: true, step: (*stream).honest}
		s.crime = &crime{kind: kind, goal: goal}
		seed := []uint64{f.opts.Seed, 3, uint64(at.UnixNano())}
		for _, b := range []byte(kind) {
			seed = append(seed, uint64(b))
		}
		s.Seed(mix(seed...), uint64(a.index))
		if a.role.plan != nil {
			s.job = f.job(a, s.now, mix(append(seed, 9)...))
		}
		s.begin() // what the plain fleet works with, and scripts of one call repeated
		s.choose(s.frame())
		bend(s)
		return s
	}
	attack.survey(at)
	return attack
}

// Survey plays the attack up to its goal.
func (a *Attack) survey(at time.Time) {
	const days, most = 60, 1_000_000
	n, bad := 0, 0
	for c := range a.Calls(at.AddDate(0, 0, days)) {
		if c.Attack != "" {
			if bad++; bad == 1 {
				a.Start, a.FirstBad = c.Time, c.ID
			}
		}
		if c.Goal {
			a.Goal, a.GoalAt, a.ToGoal = c.ID, c.Time, bad
			return
		}
		if n++; n == most {
			return
		}
	}
}

// Crime is how far an attack has come.
type crime struct {
	kind Kind
	goal int
	done int
}

// Strike marks the stream's call as bad.
func (s *stream) strike() {
	s.crime.done++
	s.call.Attack, s.call.Goal = s.crime.kind, s.crime.done == s.crime.goal
	if s.job != nil && s.call.Agent == s.agent.name {
		s.call.Context = s.fleet.runs(s.agent, s.job.release)
	}
}

// TakeUp lets an agent of the eventful fleet begin its own work, now or, if it works by the
// clock, when it is time; in the plain one it has begun already.
func (s *stream) takeUp(at time.Time, alone bool) {
	if s.job == nil {
		return
	}
	s.alone = alone
	s.job.next = at.UnixNano()
	if every := s.agent.period(); every > 0 {
		s.job.tick = s.agent.before(s.job.next) + every
		s.job.next = s.job.tick
	}
	if alone {
		s.job.release.next = math.MaxInt64
	}
	s.ahead()
}

// OwnWork makes the next call of the agent's own work.
func (s *stream) ownWork() {
	s.call.Attack, s.call.Goal = "", false
	if s.job != nil {
		s.work()
		return
	}
	s.honest()
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
