package eval

import (
	"fmt"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// The synthetic fleet: agents at work for two weeks before anybody goes bad.
const (
	fleetRate = 500 // calls that an agent begins in a day
	history   = 14 * day
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

// fleetHonest plays weeks in which nobody goes bad, sparse ones and dense ones.
func fleetHonest(m *measurement) error {
	for _, rate := range []float64{50, fleetRate} {
		h := newHonest(m.opt.Plan)
		for seed := range uint64(m.much(3, 1)) {
			if err := m.step("honest agents, %.0f calls a day, seed %d", rate, FirstSeed+seed); err != nil {
				return err
			}
			f := fleet.New(fleet.Options{Seed: FirstSeed + seed, DayShape: true, Rate: rate, Agents: m.much(0, 40)})
			h.fresh()
			for c := range f.Calls(fleet.DefaultStart, fleet.DefaultStart.AddDate(0, 0, m.much(21, 4))) {
				c.Telemetry(h.next())
			}
		}
		h.report(m, fmt.Sprintf("honest agents of %.0f calls a day", rate))
	}
	return nil
}

// script is one way to go bad that the fleet is measured with.
type script struct {
	name string
	make func(f *fleet.Fleet, agent string, at time.Time) (fleet.Attack, error)
}

var scripts = []script{
	{"exfiltration", func(f *fleet.Fleet, agent string, at time.Time) (fleet.Attack, error) {
		return f.Exfiltrate(agent, at, 10)
	}},
	{"stolen credential", func(f *fleet.Fleet, agent string, at time.Time) (fleet.Attack, error) {
		return f.StealCredential(agent, "thief-of-"+agent, at)
	}},
	{"slow crawl", func(f *fleet.Fleet, agent string, at time.Time) (fleet.Attack, error) {
		return f.Crawl(agent, at)
	}},
	{"loop", func(f *fleet.Fleet, agent string, at time.Time) (fleet.Attack, error) {
		return f.Repeat(agent, at, 2)
	}},
}

// fleetAttacked lets every fourth agent go bad after two weeks, with kills carried out.
func fleetAttacked(m *measurement) error {
	byScript := map[string][]*attack{}
	wrong, agents := 0, 0
	for seed := range uint64(m.much(3, 1)) {
		if err := m.step("attacked agents, seed %d", FirstSeed+seed); err != nil {
			return err
		}
		f := fleet.New(fleet.Options{Seed: FirstSeed + seed, DayShape: true, Rate: fleetRate, Agents: m.much(0, 40)})
		at := fleet.DefaultStart.Add(history + 10*time.Hour)
		until := at.Add(time.Hour)
		x := newAttacked(m.opt.Plan)
		evil := map[string]*attack{} // by call
		var made []fleet.Attack
		for i, a := range f.Agents() {
			if i%4 != 0 {
				continue
			}
			s := scripts[i/4%len(scripts)]
			fa, err := s.make(f, a.Name, at)
			if err != nil {
				return err
			}
			made = append(made, fa)
			one := &attack{name: s.name, by: map[string]int{}}
			byScript[s.name] = append(byScript[s.name], one)
			for c := range fa.Calls(until) {
				evil[c.ID] = one
			}
		}
		var tc telemetry.Call
		for c := range f.Calls(fleet.DefaultStart, until, made...) {
			c.Telemetry(&tc)
			x.call(&tc, evil[c.ID])
		}
		wrong += len(x.wrong)
		agents += len(f.Agents()) - len(made)
	}
	table := report.Table{Title: "Attacks on agents of two weeks' history, within an hour, kills carried out", Columns: columns}
	for _, s := range scripts {
		o := outcomeOf(byScript[s.name])
		o.add(m, s.name, true)
		table.Rows = append(table.Rows, o.row(s.name))
	}
	m.table(table)
	m.add(float64(wrong), "agents", report.AtMost(0), "honest agents stopped beside the attacked ones, of %d", agents)
	return nil
}

// fleetBeside gives the same calls to the detectors and to the references, none of which stops
// anybody, and compares days of agents by the most suspicious call.
func fleetBeside(m *measurement) error {
	if err := m.step("references"); err != nil {
		return err
	}
	f := fleet.New(fleet.Options{Seed: FirstSeed, DayShape: true, Rate: 100, Agents: m.much(40, 40)})
	last := fleet.DefaultStart.Add(history)
	at := last.Add(10 * time.Hour)
	until := at.Add(time.Hour)
	var made []fleet.Attack
	evil := map[string]bool{}
	for i, a := range f.Agents() {
		if i%3 != 0 {
			continue
		}
		fa, err := scripts[i/3%len(scripts)].make(f, a.Name, at)
		if err != nil {
			return err
		}
		made = append(made, fa)
		for c := range fa.Calls(at.Add(5 * time.Minute)) {
			evil[c.ID] = true
		}
	}
	b := newBeside(m.opt.Plan, fleet.DefaultStart.Add(history/2))
	var tc telemetry.Call
	honest := func(c fleet.Call) bool {
		return !slices.ContainsFunc(made, func(a fleet.Attack) bool { return a.Agent == c.Agent })
	}
	for c := range f.Calls(fleet.DefaultStart, until, made...) {
		if !evil[c.ID] && !c.Time.Before(at) && !honest(c) {
			continue // what an attacker does after its first five minutes
		}
		c.Telemetry(&tc)
		b.call(&tc, evil[c.ID])
	}
	return b.report(m)
}
