package eval

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// fleetSet measures false kills on honest fleets, kills on attacked ones, and both beside the
// references.
func fleetSet(m *measurement) error {
	m.report.Note("Figures of fleet are of synthetic agents. What they model, and what not, is told in bench/fleet.")
	var beside *beside
	var tasks []func() error
	tasks = append(tasks, func() (err error) {
		beside, err = fleetBeside(m)
		return err
	})
	found := make([][]*honest, len(densities))
	for i, d := range slices.Backward(densities) { // the longest first
		if m.opt.Quick && !d.quick {
			continue
		}
		found[i] = make([]*honest, m.much(d.seeds, 1))
		for n := range found[i] {
			tasks = append(tasks, func() (err error) {
				found[i][n], err = d.play(m, n)
				return err
			})
		}
	}
	runs := make([]*run, m.much(attackedSeeds, 1))
	for n := range runs {
		tasks = append(tasks, func() (err error) {
			runs[n], err = fleetAttacked(m, n)
			return err
		})
	}
	if err := parallel(tasks...); err != nil {
		return err
	}
	for i, seeds := range found {
		if len(seeds) > 0 {
			merged(seeds).report(m, densities[i].what)
		}
	}
	reportAttacked(m, runs)
	beside.report(m)
	return nil
}

// world is a fleet with deployments, outages and newcomers, of a seed that reports.
func world(m *measurement, n int, rate float64) *fleet.Fleet {
	opt := fleet.World(m.seed() + uint64(n))
	opt.Rate = rate
	opt.Agents = m.much(fleet.DefaultAgents, 25)
	return fleet.New(opt)
}

// density is a fleet in which nobody goes bad.
type density struct {
	what        string
	rate        float64 // calls of an agent in a day; see fleet.Options
	seeds, days int
	quick       bool // measured also where little is
}

// The densities, the one that takes longest last.
var densities = []density{
	{"honest agents with few calls", 50, 3, 42, true},
	{"honest agents with many calls", 500, 2, 35, false},
}

func (d density) play(m *measurement, n int) (*honest, error) {
	f := world(m, n, d.rate)
	kinds := map[string]string{}
	for _, a := range f.Agents() {
		kinds[a.Name] = string(a.Kind)
	}
	h := newHonest(m.opt.Plan, kinds, false)
	today := time.Time{}
	for c := range f.Calls(fleet.DefaultStart, fleet.DefaultStart.AddDate(0, 0, m.much(d.days, 24))) {
		if c.Time.Sub(today) > day {
			today = c.Time.Truncate(day)
			if err := m.step("%s, seed %d, day %.0f", d.what, m.seed()+uint64(n), today.Sub(fleet.DefaultStart).Hours()/24+1); err != nil {
				return nil, err
			}
		}
		c.Telemetry(h.next())
	}
	h.end()
	return h, nil
}

// The fleet that the references score too is small, because forests in Python are slow.
const (
	besideAgents  = 60
	besideRate    = 50
	besideDays    = 28
	besideAttacks = 15
	besideMost    = 200 // bad calls of one attack
)

// fleetBeside gives the same calls to the detectors and to the references, none of which stops
// anybody, and compares days of agents by the most suspicious call, in the last week. On the last day a quarter of the
// agents goes bad, at middle strength.
func fleetBeside(m *measurement) (*beside, error) {
	if err := m.step("references"); err != nil {
		return nil, err
	}
	opt := fleet.World(m.seed())
	opt.Rate, opt.Agents, opt.Newcomers = besideRate, m.much(besideAgents, 20), 0
	f := fleet.New(opt)
	last := fleet.DefaultStart.AddDate(0, 0, m.much(besideDays, 15))
	at, until := last.Add(8*time.Hour), last.Add(day)
	b, err := newBeside(m.opt.Plan, last.Add(-6*day))
	if err != nil {
		return nil, err
	}
	bad := map[string]int{} // calls, by agent
	var tc telemetry.Call
	for c := range f.Calls(fleet.DefaultStart, until, some(f, at)...) {
		if c.Attack != "" {
			if bad[c.Agent]++; bad[c.Agent] > besideMost {
				continue
			}
		}
		c.Telemetry(&tc)
		b.call(&tc, c.Attack != "")
	}
	return b, b.forests(m)
}

// some makes every fourth agent go bad, by one script after the other.
func some(f *fleet.Fleet, at time.Time) []fleet.Attack {
	scripts := fleet.Scripts()
	agents := f.Agents()
	var made []fleet.Attack
	for i := 0; i < len(agents) && len(made) < min(besideAttacks, len(agents)/4); i++ {
		// An agent that cannot play the script leaves it to the next one.
		fa, err := f.Attack(scripts[len(made)%len(scripts)].Kind, fleet.Middle, agents[i*7%len(agents)].Name, at) // 7 divides no size in use
		if err == nil && !slices.ContainsFunc(made, func(b fleet.Attack) bool { return b.Agent == fa.Agent }) {
			made = append(made, fa)
		}
	}
	slices.SortStableFunc(made, func(a, b fleet.Attack) int { return cmp.Compare(a.Agent, b.Agent) })
	return made
}

// scriptName names a script at a strength.
func scriptName(kind fleet.Kind, strength fleet.Strength) string {
	return fmt.Sprintf("%s, %s", kind, strength)
}
