package fleet

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

var errAlone = errors.New("its tenant has no agent of another team")

// Blow is one bad call. What is empty is as usual for the agent.
type blow struct {
	action   string
	effect   effect
	resource string
	identity string
	chain    []string
	denied   float64 // probability
	scale    float64 // of bytes; 0 is 1
}

// Blows makes an attack of so many bad calls beside the agent's own work or in place of it.
func (f *Fleet) blows(kind Kind, a *agent, at time.Time, replaces bool, goal, total int, gap func(s *stream, n int) float64, next func(s *stream, n int) blow) Attack {
	return f.attack(kind, a, at, replaces, goal, func(s *stream) {
		n := 0
		s.step = func(s *stream) {
			s.hit(next(s, n))
			s.strike()
			if n++; n == total {
				s.now = math.MaxInt64
				return
			}
			pause := gap(s, n)
			if pause > float64(10*time.Minute) {
				s.anew()
			}
			s.now += int64(pause)
		}
	})
}

// About draws gaps of the given mean.
func about(mean time.Duration) func(*stream, int) float64 {
	return func(s *stream, _ int) float64 { return loose.draw(&s.source, float64(mean)/loose.mean) }
}

// Anew gives the calls that follow another session.
func (s *stream) anew() {
	v := s.visit()
	s.session, s.trace = v.session, v.trace
}

// Hit makes a bad call.
func (s *stream) hit(b blow) {
	a, r, c := s.agent, s.agent.role, &s.call
	if s.job != nil {
		s.job.release.until(s.fleet, a, s.now)
	}
	s.name(c)
	c.Tenant, c.Agent, c.Chain, c.Context, c.Session = a.tenant, a.name, a.chain, a.context, s.session
	if b.chain != nil {
		c.Chain = b.chain
	}
	c.Identity = a.identities[s.below(len(a.identities))]
	if s.job != nil {
		c.Identity = a.identities[a.usual(&s.source, b.effect)]
	}
	if b.identity != "" {
		c.Identity = b.identity
	}
	c.Action, c.Resource, c.Outcome = b.action, b.resource, s.outcome(r)
	if s.chance(b.denied) {
		c.Outcome = telemetry.OutcomeDenied
	}
	c.Latency = time.Duration(loose.draw(&s.source, float64(r.latency)))
	c.BytesIn, c.BytesOut = s.bytes(r, b.effect, c.Outcome)
	if c.Outcome == telemetry.OutcomeOK && b.scale > 0 {
		c.BytesOut = int64(float64(c.BytesOut) * b.scale)
	}
}

// Usually returns the agent's favourite action of the effect, or of any.
func (r *role) usually(e effect) action {
	best := r.actions[r.favouriteRead()]
	for _, a := range r.actions {
		if a.effect == e && (best.effect != e || a.weight > best.weight) {
			best = a
		}
	}
	return best
}

// Habit draws a usual call of the agent at t.
func (a *agent) habit(src *source, t, start int64) blow {
	act := a.role.actions[a.role.mix.rank(src)]
	if act.effect == delegate {
		act = a.role.usually(read)
	}
	return blow{action: act.name, effect: act.effect, resource: a.resource(src, t, start)}
}

func (s *stream) habit() blow { return s.agent.habit(&s.source, s.now, s.fleet.start) }

// Outsiders returns the agents of the tenant's other teams, each team's first, then each
// team's second, and so on, of at most so many teams. All of them work at t.
func (a *agent) outsiders(teams int, t int64) []*agent {
	var others []*team
	for _, peer := range a.team.peers {
		if peer != a.team {
			others = append(others, peer)
		}
	}
	// Begin with a team that depends on the agent.
	if n := len(others); n > 0 {
		k := a.index % n
		others = append(others[k:len(others):len(others)], others[:k]...)
	}
	var agents []*agent
	for member := range teamSize {
		for _, of := range others[:min(teams, len(others))] {
			if member < len(of.members) && of.members[member].joined <= t {
				agents = append(agents, of.members[member])
			}
		}
	}
	return agents
}

func exfiltrate(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	return f.Exfiltrate(a.name, at, []float64{5, 20, 100}[level])
}

func exfiltrateSlowly(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const reads = 50
	unseen, act := a.unseen(), a.role.usually(read)
	mean := []time.Duration{30 * time.Minute, 5 * time.Minute, 30 * time.Second}[level]
	return f.blows(SlowExfiltration, a, at, false, reads, 2*reads, about(mean), func(_ *stream, n int) blow {
		return blow{action: act.name, effect: read, resource: unseen(n), denied: 0.05, scale: 8}
	}), nil
}

func stealCredential(f *Fleet, v *agent, at time.Time, level int) (Attack, error) {
	stranger := "guest-" + strconv.FormatUint(mix(f.opts.Seed, 4, uint64(v.index))%1e6, 10)
	switch level {
	case 0:
		others := v.outsiders(math.MaxInt, at.UnixNano())
		if len(others) == 0 {
			return Attack{}, errAlone
		}
		return f.StealCredential(v.name, others[0].name, at)
	case 1:
		return f.StealCredential(v.name, stranger, at)
	}
	act := v.role.usually(read)
	attack := f.attack(StolenCredential, v, at, false, 30, func(s *stream) {
		context, chain, interval := []Pair{{"env", "production"}}, []string{stranger}, about(500*time.Millisecond)
		s.step = func(s *stream) {
			s.hit(blow{action: act.name, effect: read, resource: v.resource(&s.source, s.now, f.start), chain: chain, identity: v.identities[0]})
			s.call.Agent, s.call.Context = stranger, context
			s.strike()
			s.now += int64(interval(s, 0))
		}
	})
	attack.Agent, attack.Victim = stranger, v.name
	return attack, nil
}

func moveLaterally(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const reads = 20
	others := a.outsiders([]int{1, 3, math.MaxInt}[level], at.UnixNano())
	if len(others) == 0 {
		return Attack{}, errAlone
	}
	mean := []time.Duration{10 * time.Minute, time.Minute, 2 * time.Second}[level]
	return f.blows(LateralMovement, a, at, false, reads, 2*reads, about(mean), func(s *stream, n int) blow {
		b := others[n%len(others)]
		hit := blow{action: a.role.usually(read).name, resource: b.space.names[b.pool[n/len(others)%len(b.pool)]], denied: 0.2}
		if level > 0 {
			hit.identity = b.identities[0]
		}
		if level > 1 {
			hit.action = b.role.usually(read).name
		}
		return hit
	}), nil
}

// Serves reports whether the agent can stand in a chain below root.
func (a *agent) serves(root *agent) bool {
	if root == a {
		return true
	}
	return slices.ContainsFunc(root.delegates, a.serves)
}

// Stranger returns a known agent of the tenant that the agent never works for.
func (a *agent) stranger(t int64) (*agent, error) {
	for _, b := range a.outsiders(math.MaxInt, t) {
		if !a.serves(b) {
			return b, nil
		}
	}
	return nil, errAlone
}

func confuseDeputy(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const calls = 20
	root := "visitor-" + strconv.FormatUint(mix(f.opts.Seed, 5, uint64(a.index))%1e6, 10)
	if level < 2 {
		known, err := a.stranger(at.UnixNano())
		if err != nil {
			return Attack{}, err
		}
		root = known.name
	}
	chain := []string{root, a.name}
	mean := []time.Duration{2 * time.Minute, 20 * time.Second, 500 * time.Millisecond}[level]
	return f.blows(ConfusedDeputy, a, at, false, calls, 2*calls, about(mean), underChain(chain)), nil
}

// underChain is the agent's usual work, done under another chain.
func underChain(chain []string) func(*stream, int) blow {
	return func(s *stream, _ int) blow {
		b := s.habit()
		b.chain = chain
		return b
	}
}

func hijackChain(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const calls = 20
	forged := "root-" + strconv.FormatUint(mix(f.opts.Seed, 6, uint64(a.index))%1e6, 10)
	var chain []string
	switch level {
	case 0:
		parent, err := a.stranger(at.UnixNano())
		if err != nil {
			return Attack{}, err
		}
		chain = []string{parent.name, a.name}
		for _, root := range a.team.members {
			if slices.Contains(root.delegates, a) {
				chain = []string{root.name, parent.name, a.name}
				break
			}
		}
	case 1:
		chain = append([]string{forged}, a.chain...)
	default:
		chain = []string{forged}
		for i := range 6 {
			chain = append(chain, forged+"-"+strconv.Itoa(i+1))
		}
		chain = append(chain, a.name)
	}
	mean := []time.Duration{2 * time.Minute, 20 * time.Second, time.Second}[level]
	return f.blows(ChainHijack, a, at, false, calls, 2*calls, about(mean), underChain(chain)), nil
}

func inject(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	bad := []int{2, 5, 12}[level]
	others := a.outsiders(math.MaxInt, at.UnixNano())
	if len(others) == 0 && level > 0 {
		return Attack{}, errAlone
	}
	unseen := a.unseen()
	next := func(n int) blow {
		e := read
		resource := unseen(n)
		if n == bad-1 {
			e, resource = write, "mail://outside/"+strconv.FormatUint(mix(f.opts.Seed, 7, uint64(a.index))%1e6, 10)
		}
		r := a.role
		if level > 0 { // of one other role, or of several
			r = others[(level-1)*n%len(others)].role
		}
		return blow{action: r.usually(e).name, effect: e, resource: resource}
	}
	return f.attack(PromptInjection, a, at, true, bad, func(s *stream) {
		s.takeUp(at, false)
		if a.role.onCall {
			s.job.next = math.MaxInt64
		}
		in := injection{own: s.now, due: math.MaxInt64, honest: 3 + s.below(4)}
		s.step = func(s *stream) {
			if in.due <= in.own {
				in.strike(s, next(in.n), in.n+1 == bad)
			} else {
				in.work(s)
			}
			s.now = min(in.own, in.due)
		}
	}), nil
}

// Injection is the state of a session that turns bad, beside the agent's other work.
type injection struct {
	session string // the first one
	trace   [32]byte
	honest  int   // calls of it until it turns
	last    int64 // time of the latest of them
	own     int64 // when the next call of the agent's own work is
	due     int64 // when the next bad call is
	n       int   // bad calls so far
}

// Work makes a call of the agent's own work. The session turns bad after some of its calls,
// or when it has none for ten minutes.
func (in *injection) work(s *stream) {
	const over = int64(10 * time.Minute)
	now := s.now
	s.ownWork()
	in.own = s.now
	if in.session == "" {
		in.session, in.trace = s.call.Session, s.trace
	}
	if s.call.Session == in.session {
		in.honest--
		in.last = now
	}
	if in.n == 0 && in.due == math.MaxInt64 && (in.honest <= 0 || in.own-in.last > over) {
		in.due = now + s.think()
	}
}

// Strike makes a bad call in the session.
func (in *injection) strike(s *stream, b blow, last bool) {
	session, trace := s.session, s.trace
	s.session, s.trace = in.session, in.trace
	s.hit(b)
	s.strike()
	s.session, s.trace = session, trace
	in.n++
	if in.due += s.think(); last {
		in.due = math.MaxInt64
	}
}

func (s *stream) think() int64 {
	return int64(loose.draw(&s.source, float64(s.agent.role.think)))
}

func creep(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const goal, steps = 8, 12
	others := a.outsiders(math.MaxInt, at.UnixNano())
	if len(others) == 0 {
		return Attack{}, errAlone
	}
	// Step k takes three calls with what is new, and one with each that came before.
	type turn struct{ step, uses int }
	var turns []turn
	toGoal := 0
	for k := range steps {
		turns = append(turns, turn{k, k}, turn{k, k}, turn{k, k})
		for before := range k {
			turns = append(turns, turn{k, before})
		}
		if k == goal-1 {
			toGoal = len(turns) - k
		}
	}
	every := float64([]time.Duration{12 * time.Hour, 6 * time.Hour, 2 * time.Hour}[level])
	gap := func(s *stream, n int) float64 {
		if turns[n].step == turns[n-1].step {
			return loose.draw(&s.source, float64(20*time.Second))
		}
		return tight.draw(&s.source, every/tight.mean)
	}
	return f.blows(PrivilegeCreep, a, at, false, toGoal, len(turns), gap, func(s *stream, n int) blow {
		b, k := s.habit(), turns[n].uses
		other := others[k%len(others)]
		if k%2 == 0 {
			b.identity = other.identities[0]
		} else {
			act := other.role.actions[k%len(other.role.actions)]
			b.action, b.effect = act.name+".as-"+strconv.Itoa(k), act.effect
		}
		return b
	}), nil
}

var loopGaps = []time.Duration{5 * time.Second, 500 * time.Millisecond, 50 * time.Millisecond}

const loopGoal = 1000

func loop(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	return f.Repeat(a.name, at, float64(time.Second)/float64(loopGaps[level]))
}

func loopInCycle(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	src := &source{}
	src.Seed(mix(f.opts.Seed, 8, uint64(a.index)), uint64(at.UnixNano()))
	var cycle [3]blow
	for i := range cycle {
		cycle[i] = a.habit(src, at.UnixNano(), f.start)
		for i > 0 && cycle[i].resource == cycle[i-1].resource {
			cycle[i] = a.habit(src, at.UnixNano(), f.start)
		}
	}
	return f.blows(LoopCycle, a, at, true, loopGoal, math.MaxInt, about(loopGaps[level]), func(_ *stream, n int) blow {
		return cycle[n%len(cycle)]
	}), nil
}

func loopFuzzily(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	act := a.role.usually(read)
	return f.blows(LoopFuzzy, a, at, true, loopGoal, math.MaxInt, about(loopGaps[level]), func(_ *stream, n int) blow {
		return blow{action: act.name, effect: act.effect, resource: a.space.prefix + strconv.Itoa(100_000+n)}
	}), nil
}

func destroy(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	const most = 60
	known := a.assets(at.UnixNano(), most)
	name := a.role.destroys
	if name == "" {
		noun, _, _ := strings.Cut(a.role.actions[0].name, ".")
		name = noun + ".delete"
	}
	mean := []time.Duration{time.Minute, time.Second, 50 * time.Millisecond}[level]
	return f.blows(MassDeletion, a, at, false, len(known)/2, len(known), about(mean), func(_ *stream, n int) blow {
		return blow{action: name, effect: write, resource: known[n]}
	}), nil
}

// Assets names resources that the agent has probably used before t, if it has worked for some
// weeks: its pool or, where its work is inside of those, what it most used of it.
func (a *agent) assets(t int64, most int) []string {
	var names []string
	day := time.Unix(0, t).UTC().Truncate(24 * time.Hour)
	for _, n := range a.pool {
		names = append(names, a.space.names[n])
	}
	pool := names
	switch {
	case a.role.plan == nil:
	case a.role.kind == CodingAgent: // the most used directories of its most used repositories
		names = nil
		for _, directory := range []string{pool[0] + "/dir-0", pool[1] + "/dir-0", pool[0] + "/dir-1", pool[0] + "/dir-2"} {
			for file := range 12 {
				names = append(names, directory+"/file-"+strconv.Itoa(file))
			}
		}
	case a.role.kind == DataPipeline: // the partitions of its latest runs
		names = nil
		for n := range most {
			at := time.Unix(0, a.before(t)-int64(n+1)*max(a.period(), hour)).UTC().Truncate(time.Hour)
			for _, table := range pool[:a.tables()] {
				names = append(names, table+partition(at))
			}
		}
	case a.role.kind == BackupJob: // its snapshots, the latest first
		names = nil
		for n := range 7 {
			for _, volume := range pool {
				names = append(names, volume+"@"+day.AddDate(0, 0, -1-n).Format(time.DateOnly))
			}
		}
	}
	return names[:min(most, len(names))]
}

func crawl(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	return f.crawl(a.name, at, []float64{0.1, 0.3, 1}[level])
}

func rampUp(f *Fleet, a *agent, at time.Time, level int) (Attack, error) {
	return f.Ramp(a.name, at, []float64{0.005, 0.01, 0.03}[level])
}
