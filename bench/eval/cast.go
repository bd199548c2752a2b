package eval

import (
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	attackedSeeds = 4
	attackedRate  = 200
	history       = 35       // days of the agents before anybody goes bad
	known         = 28 * day // from when on an agent may be a victim

	// An attack is played until its goal and on for as long again, for who has what he wanted goes on, and no
	// longer than mostDays; a ramp for mostRampDays.
	mostDays     = 4
	mostRampDays = 14
)

// hours of the day at which attacks begin, by the script in turn.
var hours = []time.Duration{9 * time.Hour, 14 * time.Hour, 20 * time.Hour, 3 * time.Hour}

// victims is how many agents of a fleet play a script, by strength.
var victims = map[fleet.Strength]int{fleet.Low: 1, fleet.Middle: 2, fleet.High: 1}

// part is an attack of a fleet with what becomes of it.
type part struct {
	fleet.Attack
	*attack
	until time.Time // of its calls
}

// branch is a future of the fleet in which at most one agent of each tenant goes bad, so that
// no attack hides behind another.
type branch struct {
	parts []part
	at    time.Time // when they begin
	until time.Time
}

// run is what became of the attacks on one fleet.
type run struct {
	attacks []*attack
	wrong   int // kills that meet no attack
	days    int // of agents at work, beside attacks
}

// fleetAttacked lets agents of five weeks' history go bad in every way, at every strength, with
// kills carried out. The history is played once, and each branch goes on from it.
func fleetAttacked(m *measurement, n int) (*run, error) {
	f := world(m, n, attackedRate)
	at := fleet.DefaultStart.AddDate(0, 0, m.much(history, 24))
	seed := m.seed() + uint64(n)
	if err := m.step("history before attacks, seed %d", seed); err != nil {
		return nil, err
	}
	past := learn(m.opt.Plan, calls(f.Calls(fleet.DefaultStart, at)))
	out := &run{}
	branches := cast(m, f, n, at)
	for i, b := range branches {
		if err := m.step("attacks, seed %d, %d of %d", seed, i+1, len(branches)); err != nil {
			return nil, err
		}
		if err := b.play(m, f, at, past, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// calls turns calls of a fleet into those that shards take, one valid at a time.
func calls(of func(func(fleet.Call) bool)) func(func(*telemetry.Call) bool) {
	return func(yield func(*telemetry.Call) bool) {
		var tc telemetry.Call
		for c := range of {
			if c.Telemetry(&tc); !yield(&tc) {
				return
			}
		}
	}
}

// cast gives each script at each strength its victims, of different kinds, and the attacks their
// branches. Attacks of a like length share one.
func cast(m *measurement, f *fleet.Fleet, seed int, at time.Time) []*branch {
	pool := newPool(f, at)
	var branches []*branch
	for s, script := range fleet.Scripts() {
		for _, strength := range script.Strengths {
			if m.opt.Quick && strength != fleet.Middle {
				continue
			}
			turn := s + victims[strength]*seed // so that the kinds take turns over the seeds
			for range m.much(victims[strength], 1) {
				begin := at.Add(hours[s%len(hours)])
				if p, ok := pool.find(f, script.Kind, strength, turn, begin); ok {
					branches = place(branches, p, begin)
				}
				turn++
			}
		}
	}
	return branches
}

// pool are the agents that can go bad, by kind.
type pool struct {
	of   map[fleet.AgentKind][]fleet.Agent
	next map[fleet.AgentKind]int
}

// newPool takes the agents that are known by a time.
func newPool(f *fleet.Fleet, at time.Time) *pool {
	p := &pool{of: map[fleet.AgentKind][]fleet.Agent{}, next: map[fleet.AgentKind]int{}}
	for _, a := range f.Agents() {
		if a.Since.IsZero() || a.Since.Add(known).Before(at) {
			p.of[a.Kind] = append(p.of[a.Kind], a)
		}
	}
	return p
}

// find returns an attack by the next agent that can do it, of the kind whose turn it is or, where none
// of it can, of the next kind.
func (p *pool) find(f *fleet.Fleet, kind fleet.Kind, strength fleet.Strength, turn int, at time.Time) (part, bool) {
	kinds := fleet.Kinds()
	for k := range kinds {
		of := kinds[(turn+k)%len(kinds)]
		for range p.of[of] {
			agent := p.of[of][p.next[of]%len(p.of[of])]
			p.next[of]++
			fa, err := f.Attack(kind, strength, agent.Name, at)
			if err == nil && !fa.Start.IsZero() {
				return newPart(fa, scriptName(kind, strength), string(of)), true
			}
		}
	}
	return part{}, false
}

func newPart(fa fleet.Attack, name, kind string) part {
	most := mostDays * day
	if fa.Kind == fleet.RampUp {
		most = mostRampDays * day
	}
	p := part{Attack: fa, until: fa.Start.Add(most)}
	goal := ""
	if fa.Goal != "" && fa.GoalAt.Before(p.until) {
		goal = fa.Goal
		if again := fa.GoalAt.Add(fa.GoalAt.Sub(fa.Start) + 1); fa.Kind != fleet.RampUp && again.Before(p.until) {
			p.until = again
		}
	}
	p.attack = &attack{name: name, kind: kind, tenant: fa.Tenant, agent: fa.Agent, goal: goal, until: p.until.UnixNano()}
	return p
}

// lengths part attacks by how long they take.
var lengths = []time.Duration{2 * time.Hour, day, mostDays * day, mostRampDays * day}

func length(p part) int {
	return slices.IndexFunc(lengths, func(d time.Duration) bool { return p.until.Sub(p.Start) <= d+1 })
}

// place adds an attack to the first branch of its length and hour in which its tenant has none.
func place(branches []*branch, p part, at time.Time) []*branch {
	for _, b := range branches {
		taken := slices.ContainsFunc(b.parts, func(o part) bool { return o.Tenant == p.Tenant })
		if !taken && b.at.Equal(at) && length(b.parts[0]) == length(p) {
			b.add(p)
			return branches
		}
	}
	b := &branch{at: at}
	b.add(p)
	return append(branches, b)
}

func (b *branch) add(p part) {
	b.parts = append(b.parts, p)
	if p.until.After(b.until) {
		b.until = p.until
	}
}

// play plays the branch from the time at on.
func (b *branch) play(m *measurement, f *fleet.Fleet, at time.Time, past *backtest.Checkpoint, out *run) error {
	var made []fleet.Attack
	var attacks []*attack
	of := map[string]part{} // by the name of the bad agent: no two are in one tenant
	for _, p := range b.parts {
		made, attacks = append(made, p.Attack), append(attacks, p.attack)
		of[p.Agent] = p
	}
	x, err := newAttacked(m.opt.Plan, past, attacks...)
	if err != nil {
		return err
	}
	observed, seen := newExposure(m.opt.Plan, false), newCounts(0)
	s := settler{runner: x.judge.Runner}
	var tc telemetry.Call
	for c := range f.Calls(at, b.until, made...) {
		c.Telemetry(&tc)
		if c.Attack == "" {
			observed.call(&tc, &seen)
			x.call(&tc, nil)
		} else if p, ok := of[c.Agent]; ok && c.Time.Before(p.until) {
			x.call(&tc, p.attack)
		}
		s.after(&tc)
	}
	out.attacks = append(out.attacks, attacks...)
	out.days += seen.agents.all
	for _, n := range x.wrong {
		out.wrong += n
	}
	return m.ctx.Err()
}

// reportAttacked shows what became of each script at each strength.
func reportAttacked(m *measurement, runs []*run) {
	results := map[string][]*attack{}
	var middle []*attack
	wrong, days := 0, 0
	for _, r := range runs {
		for _, a := range r.attacks {
			results[a.name] = append(results[a.name], a)
		}
		wrong, days = wrong+r.wrong, days+r.days
	}
	table := report.Table{Title: "Attacks on agents with five weeks of history, kills carried out", Columns: columns}
	curves := report.Plot{Title: "Attacks of middle strength that are stopped within so many of their calls", X: "calls until the kill", Y: "share of attacks", LogX: true}
	for _, script := range fleet.Scripts() {
		for _, strength := range script.Strengths {
			name := scriptName(script.Kind, strength)
			o := outcomeOf(results[name])
			if o.all == 0 {
				continue
			}
			o.add(m, name, strength == fleet.Middle)
			table.Rows = append(table.Rows, o.row(name))
			if strength == fleet.Middle {
				middle = append(middle, results[name]...)
				curves.Lines = append(curves.Lines, report.Line{Name: string(script.Kind), Points: o.within()})
			}
		}
	}
	all := outcomeOf(middle)
	all.add(m, "all attacks of middle strength", true)
	table.Rows = append(table.Rows, all.row("all of middle strength"))
	m.table(table)
	m.plot(curves)
	m.add(1000*float64(wrong)/float64(max(days, 1)), "per 1000 agent-days", report.Goal{}, "kills of honest agents beside attacked ones, in %d agent-days, in part the same ones", days)
}
