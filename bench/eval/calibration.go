package eval

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/models"
)

// calibration keeps p-values of the baselines of known entities, by detector and feature. That of a count
// is randomised: it is uniform where the baseline is right.
type calibration struct {
	of   map[string]*reservoir
	coin *rand.Rand
}

func newCalibration() *calibration {
	return &calibration{map[string]*reservoir{}, rand.New(rand.NewPCG(FirstSeed, 0))}
}

// add takes in the predictive tails of a slot, as shard.Options.PValue gives them.
func (p *calibration) add(detector, feature string, logAtLeast, logBeyond float64) {
	p.reservoir(detector + ": " + feature).add(math.Exp(models.LogRandomP(logAtLeast, logBeyond, p.coin.Float64())))
}

func (p *calibration) reservoir(name string) *reservoir {
	if p.of[name] == nil {
		p.of[name] = &reservoir{step: 1}
	}
	return p.of[name]
}

func (p *calibration) merge(o *calibration) {
	for name, r := range o.of {
		p.reservoir(name).merge(r)
	}
}

// bins of the histogram of p-values.
const bins = 20

// enoughSlots is from how many p-values on anything can be said about their law.
const enoughSlots = 500

// report holds the p-values of the baselines against the uniform law.
func (p *calibration) report(m *measurement, what string) {
	table := report.Table{
		Title:   "p-values of known entities, " + what,
		Columns: []string{"detector and feature", "slots", "KS distance", "excess of small ones", "p ≤ 0.05", "p ≤ 0.001"},
	}
	worst := math.Inf(-1)
	for _, name := range slices.Sorted(maps.Keys(p.of)) {
		r := p.of[name]
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

// reservoir keeps evenly spaced values of a stream of any length.
type reservoir struct {
	kept []float64
	seen int
	step int
}

const reservoirSize = 1 << 16

func (r *reservoir) add(v float64) {
	if r.seen%r.step == 0 {
		if len(r.kept) == reservoirSize {
			r.halve()
		}
		if r.seen%r.step == 0 {
			r.kept = append(r.kept, v)
		}
	}
	r.seen++
}

// halve keeps every second value, from now on too.
func (r *reservoir) halve() {
	for i := range len(r.kept) / 2 {
		r.kept[i] = r.kept[2*i]
	}
	r.kept = r.kept[:len(r.kept)/2]
	r.step *= 2
}

// merge takes in the values of another stream, which is read no further.
func (r *reservoir) merge(o *reservoir) {
	for r.step < o.step {
		r.halve()
	}
	for o.step < r.step {
		o.halve()
	}
	r.kept = append(r.kept, o.kept...)
	for len(r.kept) > reservoirSize {
		r.halve()
	}
	r.seen += o.seen
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

// round keeps four digits: a promise is compared as it is printed.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// short writes three digits, and larger numbers in full.
func short(x float64) string {
	if math.Abs(x) >= 1000 && !math.IsInf(x, 0) {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
