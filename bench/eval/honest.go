package eval

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// budgets are how many times the budget as shipped the plan is measured at: a promise has to
// hold at whatever budget the analyst writes.
var budgets = []float64{10, 1, 0.1}

const (
	asShipped = 1 // index of budgets
	timed     = 2 // the player that nothing is asked but detections
)

// A runner settles after each settleAfter of the calls' own time, and who has been quiet for
// restAfter rests: days, where in production it is minutes, for here days pass in a second.
const (
	settleAfter = 6 * time.Hour
	restAfter   = 2 * day
)

// honest plays calls of which none is an attack, at each budget: whatever is stopped is stopped
// for nothing. All calls are played, those too that a kill would have stopped, but what these
// lead to is no further kill: they would not have been made.
type honest struct {
	plans   []*detector.Plan
	players []*backtest.Runner
	guards  []*backtest.Guard
	*exposure
	sorts map[string]*tally // by kind of agent; "" where that is not known
	kinds map[string]string // by agent
	p     *calibration
	spent time.Duration // of the timed player
	calls int

	batch   []telemetry.Call
	filled  int
	current *telemetry.Call
	settled int64
}

// batchSize is how many calls are judged between two looks at the clock.
const batchSize = 256

// kills counts them by detector.
type kills map[string]int

// tally is how long agents were at work, and how often they were stopped, at each budget.
type tally struct {
	counts
	kills []kills
	found []int // detections of detectors that enforce, those too of who was stopped already
}

// newHonest begins with agents of the given kinds, if they are known, whose work is counted by
// days, or by sessions.
func newHonest(plan *detector.Plan, kinds map[string]string, bySession bool) *honest {
	h := &honest{sorts: map[string]*tally{}, kinds: kinds, p: newCalibration(), batch: make([]telemetry.Call, batchSize)}
	for i, k := range budgets {
		scaled := plan.ScaleBudget(k)
		opt := shard.Options{RestAfter: restAfter}
		if i == asShipped {
			opt.Judged, opt.PValue = h.judged, h.p.add
		}
		h.plans = append(h.plans, scaled)
		h.players = append(h.players, backtest.NewRunner(scaled, opt))
		h.guards = append(h.guards, backtest.NewGuard())
	}
	h.exposure = newExposure(h.plans[asShipped], bySession)
	return h
}

func (h *honest) newTally() *tally {
	t := &tally{counts: newCounts(len(h.plans[asShipped].Detectors)), found: make([]int, len(budgets))}
	for range budgets {
		t.kills = append(t.kills, kills{})
	}
	return t
}

// next returns the call that is to be filled in, and played when its turn comes.
func (h *honest) next() *telemetry.Call {
	if h.filled == len(h.batch) {
		h.play()
	}
	h.filled++
	return &h.batch[h.filled-1]
}

// tally is where an agent counts.
func (h *honest) tally(agent string) *tally { return h.sort(h.kinds[agent]) }

func (h *honest) sort(kind string) *tally {
	if h.sorts[kind] == nil {
		h.sorts[kind] = h.newTally()
	}
	return h.sorts[kind]
}

// all is where all agents count.
func (h *honest) all() *tally {
	all := h.newTally()
	for _, t := range h.sorts {
		all.add(t)
	}
	return all
}

func (h *honest) judged(j shard.Judgement) { h.exposure.judged(j, h.current) }

// play judges the calls that were filled in.
func (h *honest) play() {
	calls := h.batch[:h.filled]
	h.filled = 0
	h.calls += len(calls)
	defer stopwatch.Pin()()
	for i, p := range h.players {
		began := stopwatch.Now()
		for j := range calls {
			if i == asShipped {
				h.current = &calls[j]
				h.call(h.current, &h.tally(string(h.current.Agent)).counts)
			}
			for _, d := range p.Call(&calls[j]) {
				h.kill(i, &calls[j], &d.Detection, d.Index)
			}
		}
		if i == timed {
			h.spent += stopwatch.Now() - began
		}
	}
	if len(calls) > 0 && calls[len(calls)-1].Time > h.settled+int64(settleAfter) {
		h.settled = calls[len(calls)-1].Time
		for _, p := range h.players {
			p.Settle(nil)
		}
	}
}

// kill counts what a detector of plan i answers to a call, unless the call was stopped already.
func (h *honest) kill(i int, c *telemetry.Call, d *detector.Detection, index int) {
	r, ok := h.plans[i].SupposedOf(index, d)
	if !ok {
		return
	}
	t := h.tally(d.Agent)
	t.found[i]++
	if !h.guards[i].Denies(c) {
		t.kills[i][d.Detector]++
		h.guards[i].Kill(r, d)
	}
}

// end judges what is left, and lets go of what was learned.
func (h *honest) end() {
	h.play()
	h.players = nil
}

// merged is what was counted of all together.
func merged(all []*honest) *honest {
	for _, h := range all[1:] {
		all[0].merge(h)
	}
	return all[0]
}

// merge adds what was counted of other agents.
func (h *honest) merge(o *honest) {
	for kind, t := range o.sorts {
		h.sort(kind).add(t)
	}
	h.p.merge(o.p)
	h.spent += o.spent
	h.calls += o.calls
}

func (t *tally) add(o *tally) {
	t.counts.add(&o.counts)
	for i := range t.kills {
		t.found[i] += o.found[i]
		for id, n := range o.kills[i] {
			t.kills[i][id] += n
		}
	}
}

// per names what rates are of.
func (h *honest) per() string {
	if h.bySession {
		return "sessions"
	}
	return "agent-days"
}

// report adds what was found to the set's figures; what says whose calls they are.
func (h *honest) report(m *measurement, what string) {
	h.end()
	all := h.all()
	if all.agents.all == 0 {
		m.report.Note("%s, %s: there was no call.", m.set.Name, what)
		return
	}
	per := h.per()
	table := report.Table{
		Title:   fmt.Sprintf("False kills, %s: %d calls, %d %s", what, h.calls, all.agents.all, per),
		Columns: []string{"agents", per + ", known", "all", "budget", "detections", "false kills", "promised at most", "per 1000 known", "upper 95 % bound", "promised", "per 1000 of all"},
	}
	h.addRates(m, &table, what, "", all)
	for _, kind := range slices.Sorted(maps.Keys(h.sorts)) {
		if kind != "" {
			h.addRates(m, &table, kind+", "+what, kind, h.sorts[kind])
		}
	}
	m.table(table)
	h.reportDetectors(m, what, all)
	if h.calls >= enoughCalls {
		m.add(float64(h.spent.Nanoseconds())/float64(h.calls), "ns", report.Goal{}, "cost of a call, %s", what)
	}
	h.p.report(m, what)
}

// addRates adds the false kills of some agents at each budget.
func (h *honest) addRates(m *measurement, table *report.Table, what, kind string, t *tally) {
	base, unit := t.agents.known, "per 1000 known "+h.per()
	if base == 0 {
		base, unit = t.agents.all, "per 1000 "+h.per()+", none known"
	}
	per := 1000 / float64(base)
	for i, k := range budgets {
		n, promised := 0, 0.0
		for j, d := range h.plans[i].Detectors {
			if _, ok := h.plans[i].Enforcer(j); ok {
				n += t.kills[i][d.ID]
				promised += t.promised(j, d)
			}
		}
		rate, bound := float64(n)*per, metrics.PoissonUpper(n, 0.95)*per
		label := "as shipped"
		if i != asShipped {
			label = fmt.Sprintf("× %g", k)
		}
		goal := report.AtMost(round(promised * per))
		if t.agents.known == 0 && n == 0 {
			goal = report.Goal{} // a promise of which nothing was asked is not kept
		}
		if kind == "" {
			m.add(rate, unit, goal, "false kills, %s, budget %s", what, label)
			m.add(bound, unit, report.Goal{}, "false kills, %s, budget %s: upper 95 %% bound", what, label)
		} else {
			m.detail(rate, unit, goal, "false kills, %s, budget %s", what, label)
		}
		table.Rows = append(table.Rows, []string{
			cmp.Or(kind, "all"), fmt.Sprint(t.agents.known), fmt.Sprint(t.agents.all), label, fmt.Sprint(t.found[i]), fmt.Sprint(n), short(promised),
			short(rate), short(bound), short(promised * per), short(float64(n) * 1000 / float64(t.agents.all)),
		})
	}
}

func (h *honest) reportDetectors(m *measurement, what string, all *tally) {
	table := report.Table{Title: "False kills of each detector, " + what, Columns: []string{"detector", "known", "of all", "units of its budget"}}
	for _, k := range budgets {
		table.Columns = append(table.Columns, fmt.Sprintf("budget × %g", k), "promised at most")
	}
	for i, d := range h.plans[asShipped].Detectors {
		if _, ok := h.plans[asShipped].Enforcer(i); !ok {
			continue
		}
		row := []string{d.ID, fmt.Sprint(all.units[i].known), fmt.Sprint(all.units[i].all), unit(d)}
		for j, plan := range h.plans {
			row = append(row, fmt.Sprint(all.kills[j][d.ID]), short(all.promised(i, plan.Detectors[i])))
		}
		table.Rows = append(table.Rows, row)
	}
	m.table(table)
}

// enoughCalls is from how many calls on their cost can be told.
const enoughCalls = 10_000
