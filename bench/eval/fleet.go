package eval

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	history = 21      // days of the agents before anybody goes bad
	burnIn  = 7 * day // of honest fleets: its days do not count, its kills do
)

// fleetSet measures false kills on honest fleets, kills on attacked ones, and both beside the
// references.
func fleetSet(m *measurement) error {
	m.report.Note("Figures of fleet are of synthetic agents. What they model, and what not, is told in bench/fleet.")
	if err := fleetHonest(m); err != nil {
		return err
	}
	if err := fleetAttacked(m); err != nil {
		return err
	}
	return fleetBeside(m)
}

// world is a fleet with deployments, outages and newcomers, of a seed that reports.
func world(m *measurement, n int, rate float64) *fleet.Fleet {
	opt := fleet.World(FirstSeed + uint64(n))
	opt.Rate = rate
	opt.Agents = m.much(fleet.DefaultAgents, 40)
	return fleet.New(opt)
}

// fleetHonest plays weeks in which nobody goes bad, with few calls and with many.
func fleetHonest(m *measurement) error {
	for i, density := range []struct {
		what        string
		rate        float64
		seeds, days int
	}{{"honest agents with few calls", 50, 3, 35}, {"honest agents with many calls", 500, 2, 28}} {
		if i > 0 && m.opt.Quick {
			break
		}
		what := density.what
		h := newHonest(m.opt.Plan)
		for n := range m.much(density.seeds, 1) {
			if err := m.step("%s, seed %d", what, FirstSeed+n); err != nil {
				return err
			}
			f := world(m, n, density.rate)
			kinds := map[string]string{}
			for _, a := range f.Agents() {
				kinds[a.Name] = string(a.Kind)
			}
			h.fresh(fleet.DefaultStart.Add(burnIn), kinds)
			for c := range f.Calls(fleet.DefaultStart, fleet.DefaultStart.AddDate(0, 0, m.much(density.days, 9))) {
				c.Telemetry(h.next())
			}
		}
		h.report(m, what)
	}
	return nil
}

// phase is a time in which attacks of about one length are played: the fast ones need not be
// generated for as long as the slow ones.
type phase struct {
	name string
	most time.Duration // from the first bad call to the goal
	last time.Duration // how long it is played
	each int           // victims of each script and strength in each fleet
}

var phases = []phase{
	{"fast", time.Hour, 2 * time.Hour, 2},
	{"medium", day, 2 * day, 1},
	{"slow", 13 * day, 14 * day, 1},
}

// attackedRate is the rate of the fleets that are attacked.
const attackedRate = 200

// staged is an attack of a fleet with what becomes of it.
type staged struct {
	fleet.Attack
	*attack
}

// scriptName names a script at a strength.
func scriptName(kind fleet.Kind, strength fleet.Strength) string {
	return fmt.Sprintf("%s, %s", kind, strength)
}

// fleetAttacked lets agents of three weeks' history go bad in every way, at every strength, with
// kills carried out.
func fleetAttacked(m *measurement) error {
	results := map[string][]*attack{}
	var bystanders struct{ kills, days int }
	for n := range m.much(4, 1) {
		f := world(m, n, attackedRate)
		at := fleet.DefaultStart.AddDate(0, 0, m.much(history, 10)).Add(10 * time.Hour)
		for p, attacks := range cast(m, f, at) {
			if p > 0 && m.opt.Quick {
				break
			}
			if err := m.step("%s attacks, seed %d", phases[p].name, FirstSeed+n); err != nil {
				return err
			}
			x := newAttacked(m.opt.Plan)
			observed := stage(x, f, at, at.Add(phases[p].last), attacks)
			for _, s := range attacks {
				results[s.name] = append(results[s.name], s.attack)
				delete(x.wrong, s.Attack.Agent)
				delete(x.wrong, s.Victim)
			}
			for _, kills := range x.wrong {
				bystanders.kills += kills
			}
			bystanders.days += observed
		}
	}
	reportAttacked(m, results)
	per := 1000 / float64(max(bystanders.days, 1))
	m.add(float64(bystanders.kills)*per, "per 1000 agent-days", report.Goal{}, "kills of honest agents beside attacked ones, in %d agent-days", bystanders.days)
	m.add(metrics.PoissonUpper(bystanders.kills, 0.95)*per, "per 1000 agent-days", report.Goal{}, "kills of honest agents beside attacked ones: upper 95 %% bound")
	return nil
}

// cast gives each script at each strength its victims, by phase. No agent plays two parts in
// a phase.
func cast(m *measurement, f *fleet.Fleet, at time.Time) [][]staged {
	agents := f.Agents()
	parts := make([][]staged, len(phases))
	taken := make([]map[string]bool, len(phases))
	for p := range phases {
		taken[p] = map[string]bool{}
	}
	next := 0 // agents take turns, in an order that mixes kinds and tenants
	turn := func() fleet.Agent {
		next++
		return agents[next*71%len(agents)] // 71 is a prime that divides no size in use
	}
	for _, script := range fleet.Scripts() {
		for _, strength := range script.Strengths {
			if m.opt.Quick && strength != fleet.Middle {
				continue
			}
			filled := 0
			for range agents {
				a := turn()
				fa, err := f.Attack(script.Kind, strength, a.Name, at)
				if err != nil {
					continue // not every agent can do everything
				}
				p := phaseOf(fa)
				if taken[p][a.Name] || taken[p][fa.Agent] {
					continue
				}
				taken[p][a.Name], taken[p][fa.Agent] = true, true
				one := &attack{name: scriptName(script.Kind, strength), by: map[string]int{}, goal: fa.Goal}
				parts[p] = append(parts[p], staged{fa, one})
				if filled++; filled >= phases[p].each {
					break
				}
			}
		}
	}
	return parts
}

// phaseOf returns the phase that an attack reaches its goal in.
func phaseOf(a fleet.Attack) int {
	for p, phase := range phases {
		if a.Goal != "" && a.GoalAt.Sub(a.Start) <= phase.most {
			return p
		}
	}
	return len(phases) - 1
}

// stage plays a fleet with attacks, and returns for how many days its agents were at work from the time
// at on.
func stage(x *attacked, f *fleet.Fleet, at, until time.Time, attacks []staged) int {
	of := map[string]*attack{} // by the attack's kind and the agent
	key := func(kind fleet.Kind, agent string) string { return string(kind) + "/" + agent }
	made := make([]fleet.Attack, len(attacks))
	for i, s := range attacks {
		made[i] = s.Attack
		of[key(s.Attack.Kind, s.Attack.Agent)] = s.attack
	}
	var tc telemetry.Call
	observed := newDays(x.player.plan)
	for c := range f.Calls(fleet.DefaultStart, until, made...) {
		c.Telemetry(&tc)
		var a *attack
		if c.Attack != "" {
			a = of[key(c.Attack, c.Agent)]
		} else if !c.Time.Before(at) {
			observed.count(&tc)
		}
		x.call(&tc, a)
	}
	return int(observed.agentDays())
}

// reportAttacked shows what became of each script at each strength.
func reportAttacked(m *measurement, results map[string][]*attack) {
	table := report.Table{Title: "Attacks on agents with three weeks of history, kills carried out", Columns: columns}
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
				curves.Lines = append(curves.Lines, report.Line{Name: string(script.Kind), Points: o.within()})
			}
		}
	}
	m.table(table)
	m.plot(curves)
}

// The fleet that the references score too is small, because forests in Python are slow.
const (
	besideAgents = 30
	besideRate   = 50
	besideDays   = 14
	besideMost   = 200 // bad calls of one attack
)

// fleetBeside gives the same calls to the detectors and to the references, none of which stops
// anybody, and compares days of agents by the most suspicious call. On the last day half of the
// agents go bad, at middle strength.
func fleetBeside(m *measurement) error {
	if err := m.step("references"); err != nil {
		return err
	}
	opt := fleet.World(FirstSeed)
	opt.Rate, opt.Agents, opt.Tenants, opt.Newcomers = besideRate, besideAgents, 1, 0
	f := fleet.New(opt)
	last := fleet.DefaultStart.AddDate(0, 0, m.much(besideDays, 8))
	at, until := last.Add(8*time.Hour), last.Add(day)
	b := newBeside(m.opt.Plan, fleet.DefaultStart.Add(last.Sub(fleet.DefaultStart)/2))
	bad := map[string]int{} // calls, by agent
	var tc telemetry.Call
	for c := range f.Calls(fleet.DefaultStart, until, half(f, at)...) {
		if c.Attack != "" {
			if bad[c.Agent]++; bad[c.Agent] > besideMost {
				continue
			}
		}
		c.Telemetry(&tc)
		b.call(&tc, c.Attack != "")
	}
	return b.report(m)
}

// half makes every second agent go bad, by one script after the other.
func half(f *fleet.Fleet, at time.Time) []fleet.Attack {
	scripts := fleet.Scripts()
	var made []fleet.Attack
	for _, a := range f.Agents() {
		if len(made) == besideAgents/2 {
			break
		}
		// An agent that cannot play the script leaves it to the next one.
		fa, err := f.Attack(scripts[len(made)%len(scripts)].Kind, fleet.Middle, a.Name, at)
		if err == nil && !slices.ContainsFunc(made, func(b fleet.Attack) bool { return b.Agent == fa.Agent }) {
			made = append(made, fa)
		}
	}
	slices.SortStableFunc(made, func(a, b fleet.Attack) int { return cmp.Compare(a.Agent, b.Agent) })
	return made
}
