package eval

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// budgets are how many times the budget as shipped the plan is measured at: a promise has to
// hold at whatever budget the analyst writes.
var budgets = []float64{1, 10, 100}

// honest plays calls of which none is an attack, at each budget: whatever is stopped is stopped
// for nothing.
type honest struct {
	players []*player // one for each budget; the first samples every slot, the last one is timed
	kills   []map[string]int
	days    *days
	spent   time.Duration // of the last player
	p       map[string]*reservoir

	batch  []telemetry.Call
	filled int
}

// batchSize is how many calls are judged between two looks at the clock.
const batchSize = 256

func newHonest(plan *detector.Plan) *honest {
	h := &honest{days: newDays(plan), p: map[string]*reservoir{}, batch: make([]telemetry.Call, batchSize)}
	for i, k := range budgets {
		opt := shard.Options{}
		if i == 0 {
			opt = everySlot
		}
		h.players = append(h.players, newPlayer(plan.ScaleBudget(k), opt))
		h.kills = append(h.kills, map[string]int{})
	}
	return h
}

// next returns the call that is to be filled in, and played when its turn comes.
func (h *honest) next() *telemetry.Call {
	if h.filled == len(h.batch) {
		h.play()
	}
	h.filled++
	return &h.batch[h.filled-1]
}

// fresh forgets what the players learned, but not what was counted: other agents come.
func (h *honest) fresh() {
	h.play()
	for i, p := range h.players {
		h.players[i] = newPlayer(p.plan, p.opt)
	}
	clear(h.days.last)
}

// play judges the calls that were filled in.
func (h *honest) play() {
	calls := h.batch[:h.filled]
	h.filled = 0
	defer stopwatch.Pin()()
	for i := range calls {
		h.days.count(&calls[i])
	}
	for i, p := range h.players {
		began := stopwatch.Now()
		for j := range calls {
			for _, d := range p.call(&calls[j]) {
				if _, ok := p.plan.Enforcer(d.Index); ok {
					h.kills[i][d.Detector]++
				}
			}
			if i == 0 {
				h.sample(p)
			}
		}
		if i == len(h.players)-1 {
			h.spent += stopwatch.Now() - began
		}
	}
}

// sample keeps the p-values of the slots that have ended.
func (h *honest) sample(p *player) {
	for _, s := range p.samples() {
		d := p.plan.Detectors[p.index[s.Detector]]
		at := slices.IndexFunc(d.Features, func(f detector.Feature) bool { return f.Name == s.Feature })
		if !s.Known || at < 0 || d.Features[at].Kind != detector.KindCount {
			continue
		}
		name := s.Detector + ": " + s.Feature
		if h.p[name] == nil {
			h.p[name] = &reservoir{}
		}
		h.p[name].add(math.Exp(s.LogP))
	}
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
		Title:   fmt.Sprintf("False kills, %s: %d calls, %.0f agent-days with a call", what, h.days.calls, agentDays),
		Columns: []string{"budget", "false kills", "per 1000 agent-days", "upper 95 % bound", "promised"},
	}
	for i, k := range budgets {
		n, promised := 0, 0.0
		for _, d := range h.enforcing(i) {
			n += h.kills[i][d.ID]
			promised += h.days.promised(d)
		}
		per := 1000 / agentDays
		rate, bound := float64(n)*per, metrics.PoissonUpper(n, 0.95)*per
		label := "as shipped"
		if k != 1 {
			label = fmt.Sprintf("%g times as many", k)
		}
		m.add(rate, "per 1000 agent-days", report.AtMost(round(promised*per)), "false kills, %s, budget %s", what, label)
		m.add(bound, "per 1000 agent-days", report.Goal{}, "false kills, %s, budget %s: upper 95 %% bound", what, label)
		table.Rows = append(table.Rows, []string{label, fmt.Sprint(n), short(rate), short(bound), short(promised * per)})
	}
	m.table(table)
	h.reportDetectors(m, what)
	if h.days.calls >= enoughCalls {
		m.add(float64(h.spent.Nanoseconds())/float64(h.days.calls), "ns", report.Goal{}, "cost of a call, %s", what)
	}
	h.reportCalibration(m, what)
}

// enforcing returns the detectors that may kill, at budget i.
func (h *honest) enforcing(i int) []*detector.Compiled {
	var all []*detector.Compiled
	plan := h.players[i].plan
	for j, d := range plan.Detectors {
		if _, ok := plan.Enforcer(j); ok {
			all = append(all, d)
		}
	}
	return all
}

func (h *honest) reportDetectors(m *measurement, what string) {
	table := report.Table{Title: "False kills of each detector as shipped, " + what, Columns: []string{"detector", "false kills", "of", "upper 95 % bound", "promised"}}
	for _, d := range h.enforcing(0) {
		n := h.kills[0][d.ID]
		table.Rows = append(table.Rows, []string{
			d.ID, fmt.Sprint(n), fmt.Sprintf("%d %s-days", h.days.n[d.GroupBy], d.GroupBy),
			short(metrics.PoissonUpper(n, 0.95)), short(h.days.promised(d)),
		})
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
