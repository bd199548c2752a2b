package eval

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
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
var budgets = []float64{1, 10, 100}

// honest plays calls of which none is an attack, at each budget: whatever is stopped is stopped
// for nothing.
type honest struct {
	players []*backtest.Runner // one for each budget; the first one's p-values are kept, the last one is timed
	plans   []*detector.Plan
	kills   []kills
	days    *days
	sorts   map[string]*agentSort // of agents, where they are known
	spent   time.Duration         // of the last player
	p       map[string]*reservoir
	coin    *rand.Rand

	from   int64             // days before it do not count
	sorted map[string]string // by agent

	batch  []telemetry.Call
	filled int
	calls  int
}

// batchSize is how many calls are judged between two looks at the clock.
const batchSize = 256

// kills counts them by detector.
type kills map[string]int

// sort is what was counted of agents of one sort.
type agentSort struct {
	days  *days
	kills []kills // by budget
}

func newHonest(plan *detector.Plan) *honest {
	h := &honest{
		days: newDays(plan), sorts: map[string]*agentSort{}, p: map[string]*reservoir{}, batch: make([]telemetry.Call, batchSize),
		coin: rand.New(rand.NewPCG(FirstSeed, 0)),
	}
	for _, k := range budgets {
		h.plans = append(h.plans, plan.ScaleBudget(k))
	}
	h.kills = h.none()
	h.start()
	return h
}

// none is no kill at any budget.
func (h *honest) none() []kills {
	none := make([]kills, len(h.plans))
	for i := range none {
		none[i] = kills{}
	}
	return none
}

// start makes players that have learned nothing.
func (h *honest) start() {
	h.players = h.players[:0]
	for i, plan := range h.plans {
		opt := shard.Options{}
		if i == 0 && lawful(plan) {
			opt.PValue = h.pValue
		}
		h.players = append(h.players, backtest.NewRunner(plan, opt))
	}
}

// next returns the call that is to be filled in, and played when its turn comes.
func (h *honest) next() *telemetry.Call {
	if h.filled == len(h.batch) {
		h.play()
	}
	h.filled++
	return &h.batch[h.filled-1]
}

// lawful reports whether all evidence of the plan has a law to take p-values from: kinds have none.
func lawful(plan *detector.Plan) bool {
	for _, d := range plan.Detectors {
		for _, ev := range d.Evidence {
			if kind := d.Features[ev.Feature].Kind; kind == detector.KindNew || kind == detector.KindSurprise {
				return false
			}
		}
	}
	return true
}

// fresh forgets what the players learned, but not what was counted: other agents come. Days
// before the time from will not count. Agents are of the sorts that are given, if any.
func (h *honest) fresh(from time.Time, sorted map[string]string) {
	h.play()
	h.start()
	clear(h.days.last)
	for _, s := range h.sorts {
		clear(s.days.last)
	}
	h.from, h.sorted = from.UnixNano(), sorted
}

// sortOf returns the sort of an agent, or nil.
func (h *honest) sortOf(agent string) *agentSort {
	name, ok := h.sorted[agent]
	if !ok {
		return nil
	}
	if h.sorts[name] == nil {
		h.sorts[name] = &agentSort{newDays(h.plans[0]), h.none()}
	}
	return h.sorts[name]
}

// play judges the calls that were filled in.
func (h *honest) play() {
	calls := h.batch[:h.filled]
	h.filled = 0
	defer stopwatch.Pin()()
	for i := range calls {
		h.count(&calls[i])
	}
	for i, p := range h.players {
		began := stopwatch.Now()
		for j := range calls {
			for _, d := range p.Call(&calls[j]) {
				if _, ok := h.plans[i].Enforcer(d.Index); ok {
					h.kill(i, &d.Detection)
				}
			}
		}
		if i == len(h.players)-1 {
			h.spent += stopwatch.Now() - began
		}
	}
}

func (h *honest) count(c *telemetry.Call) {
	h.calls++
	if c.Time < h.from {
		return
	}
	h.days.count(c)
	if s := h.sortOf(string(c.Agent)); s != nil {
		s.days.count(c)
	}
}

func (h *honest) kill(budget int, d *detector.Detection) {
	h.kills[budget][d.Detector]++
	if s := h.sortOf(d.Agent); s != nil {
		s.kills[budget][d.Detector]++
	}
}

// pValue keeps a p-value of a slot that has ended: one that is drawn evenly between the
// probabilities of more and of at least as much, which is uniform where the baseline is right,
// also for counts.
func (h *honest) pValue(detector, feature string, logAtLeast, logBeyond float64) {
	name := detector + ": " + feature
	if h.p[name] == nil {
		h.p[name] = &reservoir{}
	}
	beyond := math.Exp(logBeyond)
	h.p[name].add(beyond + h.coin.Float64()*(math.Exp(logAtLeast)-beyond))
}

// report adds what was found to the set's figures; what says whose calls they are.
func (h *honest) report(m *measurement, what string) {
	h.play()
	agentDays := h.days.agentDays()
	if agentDays == 0 {
		m.report.Note("%s, %s: there was no call.", m.set.Name, what)
		return
	}
	table := report.Table{
		Title:   fmt.Sprintf("False kills, %s: %d calls, %.0f agent-days with a call", what, h.calls, agentDays),
		Columns: []string{"agents", "agent-days", "budget", "false kills", "per 1000 agent-days", "upper 95 % bound", "promised"},
	}
	h.addRates(m, &table, what, "all", h.days, h.kills)
	for _, name := range slices.Sorted(maps.Keys(h.sorts)) {
		s := h.sorts[name]
		h.addRates(m, &table, name+", "+what, name, s.days, s.kills)
	}
	m.table(table)
	h.reportDetectors(m, what)
	if h.calls >= enoughCalls {
		m.add(float64(h.spent.Nanoseconds())/float64(h.calls), "ns", report.Goal{}, "cost of a call, %s", what)
	}
	h.reportCalibration(m, what)
}

// addRates adds the false kills of some agents at each budget.
func (h *honest) addRates(m *measurement, table *report.Table, what, agents string, days *days, kills []kills) {
	if days.agentDays() == 0 {
		return
	}
	per := 1000 / days.agentDays()
	for i, k := range budgets {
		n, promised := 0, 0.0
		for _, d := range enforcing(h.plans[i]) {
			n += kills[i][d.ID]
			promised += days.promised(d)
		}
		rate, bound := float64(n)*per, metrics.PoissonUpper(n, 0.95)*per
		label := "as shipped"
		if k != 1 {
			label = fmt.Sprintf("%g times as many", k)
		}
		m.add(rate, "per 1000 agent-days", report.AtMost(round(promised*per)), "false kills, %s, budget %s", what, label)
		m.add(bound, "per 1000 agent-days", report.Goal{}, "false kills, %s, budget %s: upper 95 %% bound", what, label)
		table.Rows = append(table.Rows, []string{agents, fmt.Sprintf("%.0f", days.agentDays()), label, fmt.Sprint(n), short(rate), short(bound), short(promised * per)})
	}
}

// enforcing returns the detectors that may kill.
func enforcing(plan *detector.Plan) []*detector.Compiled {
	var all []*detector.Compiled
	for i, d := range plan.Detectors {
		if _, ok := plan.Enforcer(i); ok {
			all = append(all, d)
		}
	}
	return all
}

func (h *honest) reportDetectors(m *measurement, what string) {
	table := report.Table{Title: "False kills of each detector, " + what, Columns: []string{"detector", "of"}}
	for _, k := range budgets {
		table.Columns = append(table.Columns, fmt.Sprintf("budget ×%g", k), "promised")
	}
	for i, d := range enforcing(h.plans[0]) {
		row := []string{d.ID, fmt.Sprintf("%d %s-days", h.days.n[d.GroupBy], d.GroupBy)}
		for j, plan := range h.plans {
			row = append(row, fmt.Sprint(h.kills[j][d.ID]), short(h.days.promised(enforcing(plan)[i])))
		}
		table.Rows = append(table.Rows, row)
	}
	m.table(table)
}

// enoughCalls is from how many calls on their cost can be told.
const enoughCalls = 10_000

// bins of the histogram of p-values.
const bins = 20

// enoughSlots is from how many p-values on anything can be said about their law.
const enoughSlots = 500

// reportCalibration holds the p-values of the baselines against the uniform law.
func (h *honest) reportCalibration(m *measurement, what string) {
	table := report.Table{
		Title:   "p-values, " + what,
		Columns: []string{"detector and feature", "slots", "KS distance", "excess of small ones", "p ≤ 0.05", "p ≤ 0.001"},
	}
	worst := math.Inf(-1)
	for _, name := range slices.Sorted(maps.Keys(h.p)) {
		r := h.p[name]
		if r.seen < enoughSlots {
			continue
		}
		ks := metrics.Uniform(r.kept)
		worst = max(worst, ks.Excess)
		table.Rows = append(table.Rows, []string{name, fmt.Sprint(r.seen), short(ks.Distance), short(ks.Excess), short(r.below(0.05)), short(r.below(0.001))})
		m.plot(r.histogram(name, what))
	}
	if len(table.Rows) == 0 {
		return
	}
	m.table(table)
	m.add(worst, "share", report.Goal{}, "p-values, %s: greatest excess of small ones (KS, one-sided)", what)
}

func (r *reservoir) below(p float64) float64 {
	n := 0
	for _, v := range r.kept {
		if v <= p {
			n++
		}
	}
	return float64(n) / float64(len(r.kept))
}

func (r *reservoir) histogram(name, what string) report.Plot {
	level := 1.0 / bins
	line := report.Line{Name: name}
	for i, share := range metrics.Histogram(r.kept, bins) {
		line.Points = append(line.Points, [2]float64{float64(i) / bins, share})
	}
	return report.Plot{Title: fmt.Sprintf("p-values, %s (%d slots)", what, r.seen), X: "p-value", Y: "share", Bars: true, Level: &level, Lines: []report.Line{line}}
}

// reservoir keeps evenly spaced values of a stream of any length.
type reservoir struct {
	kept []float64
	seen int
	step int
}

const reservoirSize = 1 << 16

func (r *reservoir) add(v float64) {
	if r.step == 0 {
		r.step = 1
	}
	if r.seen%r.step == 0 {
		if len(r.kept) == reservoirSize { // keep every second one from now on
			for i := range reservoirSize / 2 {
				r.kept[i] = r.kept[2*i]
			}
			r.kept = r.kept[:reservoirSize/2]
			r.step *= 2
		}
		if r.seen%r.step == 0 {
			r.kept = append(r.kept, v)
		}
	}
	r.seen++
}

// round keeps four digits: a promise is compared as it is printed.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

func short(x float64) string { return fmt.Sprintf("%.3g", x) }
