package eval

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	graftHour  = 10 // of the last day
	graftHosts = 12 // agents that each technique is grafted on, the busiest
	rankedDays = 14 // before the graft, whose honest agent-days it is ranked among
)

// grafts are honest calls of a day, what was learned before it, and the agents on which techniques
// are grafted.
type grafts struct {
	plan  *detector.Plan
	past  *backtest.Checkpoint
	calls []*telemetry.Call // from the graft on
	at    int64             // when the technique begins
	hosts []string
	own   map[string]*telemetry.Call // the last call before it of each host
	peaks []float64                  // of honest agent-days before it, in order
}

func newGrafts(plan *detector.Plan, honest []*telemetry.Call, hosts int) (*grafts, error) {
	last := honest[len(honest)-1].Time
	g := &grafts{plan: plan, at: last/int64(day)*int64(day) + graftHour*int64(time.Hour), own: map[string]*telemetry.Call{}}
	split, _ := slices.BinarySearchFunc(honest, g.at, func(c *telemetry.Call, t int64) int { return cmp.Compare(c.Time, t) })
	before := honest[:split]
	g.calls = honest[split:]
	g.hosts = busiest(before, hosts)
	j, err := newJudge(plan, nil)
	if err != nil {
		return nil, err
	}
	peaks := map[agentDay]float64{}
	g.past = &backtest.Checkpoint{}
	s := settler{runner: j.Runner, into: g.past}
	for _, c := range before {
		g.own[string(c.Agent)] = c
		score := j.Score(c)
		s.after(c)
		if c.Time < g.at-rankedDays*int64(day) {
			continue
		}
		at := agentDay{string(c.Agent), (c.Time - g.at) / int64(day)} // days that end at the graft's hour
		if peak, ok := peaks[at]; !ok || score > peak {
			peaks[at] = score
		}
	}
	j.Settle(g.past)
	g.peaks = slices.Sorted(maps.Values(peaks))
	return g, nil
}

// busiest returns the n agents with the most calls.
func busiest(calls []*telemetry.Call, n int) []string {
	count := map[string]int{}
	for _, c := range calls {
		count[string(c.Agent)]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	return names[:min(n, len(names))]
}

// watchedAfter is how long after the technique the host is looked at: its evidence is read where its slots end.
const watchedAfter = time.Hour

// pace says when the calls of a grafted technique come.
type pace bool

const (
	asRecorded pace = false // one after the other as they were recorded
	ofHost     pace = true  // in place of the host's own calls, one by one
)

// graft plays the honest calls with a technique done by the host, with its identity and in its
// session, and returns what became of it and the host's greatest suspicion.
func (g *grafts) graft(t technique, host string, pace pace) (*attack, float64, error) {
	own := g.own[host]
	a := &attack{name: t.name, tenant: string(own.Tenant), agent: host}
	x, err := newAttacked(g.plan, g.past, a)
	if err != nil {
		return nil, 0, err
	}
	peak := math.Inf(-1)
	play := func(c *telemetry.Call, of *attack) {
		if x.call(c, of) && string(c.Agent) == host {
			peak = max(peak, x.judge.score)
		}
	}
	left := t.calls
	due := func() int64 { return g.at + left[0].Time - t.calls[0].Time }
	until := int64(math.MaxInt64)
	for _, c := range g.calls {
		for pace == asRecorded && len(left) > 0 && due() <= c.Time {
			play(disguised(left[0], own, due()), a)
			left = left[1:]
		}
		if len(left) == 0 && until == math.MaxInt64 {
			until = c.Time + int64(watchedAfter)
		}
		if c.Time > until {
			break
		}
		if string(c.Agent) == host {
			own = c
			if pace == ofHost && len(left) > 0 {
				play(disguised(left[0], c, c.Time), a)
				left = left[1:]
				continue
			}
		}
		play(c, nil)
	}
	return a, peak, nil
}

// disguised is a call as the host would make it: who, where from and for whom are the host's,
// what is done and how it ends are the technique's.
func disguised(c, host *telemetry.Call, at int64) *telemetry.Call {
	d := host.Clone()
	d.ID, d.Time = c.ID, at
	d.Action, d.Resource, d.Outcome = c.Action, c.Resource, c.Outcome
	d.BytesIn, d.BytesOut, d.Latency = c.BytesIn, c.BytesOut, c.Latency
	return d
}

// rank is the place that a peak takes among honest agent-days, 1 before all.
func (g *grafts) rank(peak float64) int {
	i, _ := slices.BinarySearch(g.peaks, peak)
	return len(g.peaks) - i + 1
}

// measure grafts every technique on every host, at both paces.
func (g *grafts) measure(m *measurement, techniques []technique) error {
	curves := report.Plot{Title: "Precision and recall, agent-days with a technique", X: "recall", Y: "precision"}
	for _, at := range []struct {
		pace
		what string
	}{{asRecorded, "as recorded"}, {ofHost, "at the host's pace"}} {
		items, err := g.measureAt(m, techniques, at.pace, at.what)
		if err != nil {
			return err
		}
		curves.Lines = append(curves.Lines, precisionRecall(at.what, items))
	}
	m.plot(curves)
	return nil
}

func (g *grafts) measureAt(m *measurement, techniques []technique, pace pace, what string) ([]metrics.Scored, error) {
	table := report.Table{
		Title:   fmt.Sprintf("Techniques grafted on %d honest agents, %s; ranks among %d honest agent-days", len(g.hosts), what, len(g.peaks)),
		Columns: append([]string{"technique", "calls", "rank, median", "rank, worst"}, columns[1:]...),
	}
	var items []metrics.Scored
	for _, peak := range g.peaks {
		items = append(items, metrics.Scored{Score: peak})
	}
	var all []*attack
	results, err := g.all(m, techniques, pace, what)
	if err != nil {
		return nil, err
	}
	for i, t := range techniques {
		attacks := results[i].attacks
		var ranks []float64
		for _, peak := range results[i].peaks {
			ranks = append(ranks, float64(g.rank(peak)))
			items = append(items, metrics.Scored{Score: peak, Bad: true})
		}
		all = append(all, attacks...)
		o := outcomeOf(attacks)
		m.detail(metrics.Quantile(ranks, 0.5), "rank", report.Goal{}, "%s, %s: rank among %d honest agent-days, median of %d hosts", t.name, what, len(g.peaks), len(g.hosts))
		m.detail(100*float64(o.stopped)/float64(o.all), "%", report.Goal{}, "%s, %s: recall at the budget as shipped, of %d hosts", t.name, what, len(g.hosts))
		table.Rows = append(table.Rows, append([]string{
			t.name, fmt.Sprint(len(t.calls)), fmt.Sprintf("%.0f", metrics.Quantile(ranks, 0.5)), fmt.Sprintf("%.0f", slices.Max(ranks)),
		}, o.row("")[1:]...))
	}
	m.table(table)
	o := outcomeOf(all)
	m.add(100*float64(o.stopped)/float64(max(o.all, 1)), "%", report.Goal{}, "all techniques, %s: recall at the budget as shipped, of %d grafts", what, o.all)
	m.add(metrics.AUC(items), "AUC", report.Goal{}, "agent-days with a technique, %s, against honest ones", what)
	return items, nil
}

// grafted is what became of one technique on all hosts.
type grafted struct {
	attacks []*attack
	peaks   []float64
}

// all grafts each technique on each host.
func (g *grafts) all(m *measurement, techniques []technique, pace pace, what string) ([]grafted, error) {
	results := make([]grafted, len(techniques))
	var tasks []func() error
	for i, t := range techniques {
		tasks = append(tasks, func() error {
			for _, host := range g.hosts {
				if err := m.step("%s, %s", t.name, what); err != nil {
					return err
				}
				a, peak, err := g.graft(t, host, pace)
				if err != nil {
					return err
				}
				results[i].attacks, results[i].peaks = append(results[i].attacks, a), append(results[i].peaks, peak)
			}
			return nil
		})
	}
	return results, parallel(tasks...)
}
