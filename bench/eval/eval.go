// Package eval measures how well detectors judge, through the same shards as production: on
// synthetic agents, which have real clocks and a known truth, and on labelled sets from the
// world. docs/eval.md says what each figure means.
package eval

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
)

// Seeds of the synthetic agents. Nothing may be tuned on a seed that reports: 1 to 19 are for
// development, FirstSeed and those after it for reporting. 101 to 104 and 201 to 204 reported once, and were then
// looked at.
const (
	FirstSeed = 301
	testSeed  = 1
)

// Options say what Run measures, and on what.
type Options struct {
	Plan *detector.Plan
	// Sets names the sets. Empty means all, and those whose data is not at hand are noted and
	// left out; a set that was named must be there.
	Sets []string
	// Data is the folder of the labelled sets.
	Data string
	// Python is the interpreter that is asked for river and rrcf; empty: none.
	Python string
	// Quick measures little of each set, in seconds. It shows that all works; its figures claim
	// nothing.
	Quick bool
	// Develop measures on a seed for development, which claims nothing either.
	Develop bool
	// Progress is told what goes on, from several goroutines; nil: nobody is.
	Progress func(set, step string)
}

// Seed is the first seed of what is made. What claims nothing leaves those that report alone.
func (o Options) Seed() uint64 {
	if o.Quick || o.Develop {
		return testSeed
	}
	return FirstSeed
}

// ErrAbsent says that the data of a set is not at hand.
var ErrAbsent = errors.New("not at hand")

// Set is something to measure on.
type Set struct {
	Name  string
	Title string
	path  string // in the folder of labelled sets; empty for what is made
	run   func(*measurement) error
}

// Sets are all sets, in the order in which they are measured.
func Sets() []Set {
	return []Set{
		{"fleet", "fleet: synthetic agents", "", fleetSet},
		{"cloudtrail", "cloudtrail: attack techniques of a real AWS account", "cloudtrail", cloudTrailSet},
		{"darpa", "darpa: connections of June 1998", "darpa", darpaSet},
		{"agentdojo", "agentdojo: LLM agents under prompt injection", "agentdojo", dojoSet},
		{"benign_agents", "benign_agents: LLM agents at honest work", "benign_agents", benignSet},
		{"nab", "nab: series of counts", "nab", nabSet},
	}
}

// Names are the names of all sets.
func Names() []string {
	var names []string
	for _, s := range Sets() {
		names = append(names, s.Name)
	}
	return names
}

// Run measures and adds all figures, tables and plots to the report.
func Run(ctx context.Context, r *report.Report, opt Options) error {
	r.Manual = "docs/eval.md"
	sets, err := chosen(opt.Sets)
	if err != nil {
		return err
	}
	if opt.Quick {
		r.Note("All sets were measured only in part: the figures show that it works, and claim nothing.")
	}
	if opt.Develop {
		r.Note("Measured on a seed for development: the figures claim nothing.")
	}
	for _, s := range sets {
		m := &measurement{ctx: ctx, opt: opt, set: s, report: r}
		err := m.run()
		switch {
		case errors.Is(err, ErrAbsent) && len(opt.Sets) == 0:
			r.Note("%s was left out: %v.", s.Name, err)
		case err != nil:
			return fmt.Errorf("cannot evaluate %s: %w", s.Name, err)
		}
	}
	return nil
}

// chosen returns the sets of those names, or all.
func chosen(names []string) ([]Set, error) {
	all := Sets()
	if len(names) == 0 {
		return all, nil
	}
	var sets []Set
	for _, name := range names {
		found := false
		for _, s := range all {
			if s.Name == name {
				sets, found = append(sets, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no set %q", name)
		}
	}
	return sets, nil
}

// measurement is one set under way.
type measurement struct {
	ctx    context.Context
	opt    Options
	set    Set
	report *report.Report
}

func (m *measurement) run() error {
	if m.set.path != "" {
		if _, err := os.Stat(m.file()); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("its data is %w in %q", ErrAbsent, m.file())
		}
	}
	return m.set.run(m)
}

// file returns the path of a file of the set.
func (m *measurement) file(name ...string) string {
	return filepath.Join(append([]string{m.opt.Data, m.set.path}, name...)...)
}

// step tells what is done now, and reports whether to stop.
func (m *measurement) step(format string, args ...any) error {
	if m.opt.Progress != nil {
		m.opt.Progress(m.set.Name, fmt.Sprintf(format, args...))
	}
	return m.ctx.Err()
}

func (m *measurement) seed() uint64 { return m.opt.Seed() }

// add adds a figure of the set.
func (m *measurement) add(value float64, unit string, goal report.Goal, name string, args ...any) {
	m.report.Add(report.Figure{
		Set: m.set.Title, Name: fmt.Sprintf(name, args...), Value: value, Unit: unit, Goal: goal,
		Command: "estop eval " + m.set.Name,
	})
}

// detail adds a figure that stands in a table too.
func (m *measurement) detail(value float64, unit string, goal report.Goal, name string, args ...any) {
	m.report.Add(report.Figure{
		Set: m.set.Title, Name: fmt.Sprintf(name, args...), Value: value, Unit: unit, Goal: goal,
		Command: "estop eval " + m.set.Name, Detail: true,
	})
}

func (m *measurement) table(t report.Table) {
	t.Set = m.set.Title
	m.report.AddTable(t)
}

func (m *measurement) plot(p report.Plot) {
	p.Set = m.set.Title
	m.report.AddPlot(p)
}

// much returns the first number, or the second one where little is to be measured.
func (m *measurement) much(full, quick int) int {
	if m.opt.Quick {
		return quick
	}
	return full
}
