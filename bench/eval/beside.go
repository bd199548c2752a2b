package eval

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/references"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// ours is what the detectors' own line is called beside the references.
const ours = "estop"

// beside scores the same calls by the detectors and by the references. A day of an agent is as
// suspicious as its most suspicious call, and bad if a call of it is.
type beside struct {
	scorers  []named
	from     int64 // days before it are for learning
	days     map[agentDay]*scoredDay
	features *references.Features
	settler  settler
	rows     [][]float64
	of       []agentDay // by row
	calls    int
	names    []string // of what scored
	notes    []string
}

type named struct {
	name string
	references.Scorer
}

type agentDay struct {
	agent string // with its tenant
	day   int64
}

type scoredDay struct {
	peaks map[string]float64
	bad   bool
}

func newBeside(plan *detector.Plan, from time.Time) (*beside, error) {
	j, err := newJudge(plan, nil)
	if err != nil {
		return nil, err
	}
	b := &beside{
		scorers: []named{
			{ours, j},
			{"fixed thresholds", references.NewThresholds()},
			{"Markov and rarity", references.NewMarkovRarity()},
		},
		from: from.UnixNano(), days: map[agentDay]*scoredDay{}, features: references.NewFeatures(), settler: settler{runner: j.Runner},
	}
	for _, s := range b.scorers {
		b.names = append(b.names, s.name)
	}
	return b, nil
}

// forestsLearn is how long before the days that are scored the forests begin: they forget what is
// older than some hundreds of calls, and are slow.
const forestsLearn = day

func (b *beside) call(c *telemetry.Call, bad bool) {
	b.calls++
	at := agentDay{string(c.Tenant) + "/" + string(c.Agent), c.Time / int64(day)}
	row := b.features.Row(c)
	if c.Time >= b.from-int64(forestsLearn) {
		b.rows, b.of = append(b.rows, row), append(b.of, at)
	}
	if c.Time >= b.from {
		d := b.days[at]
		if d == nil {
			d = &scoredDay{peaks: map[string]float64{}}
			b.days[at] = d
		}
		d.bad = d.bad || bad
	}
	for _, s := range b.scorers {
		b.raise(at, s.name, s.Score(c))
	}
	b.settler.after(c)
}

// raise lets a day be at least as suspicious as a call of it.
func (b *beside) raise(at agentDay, scorer string, score float64) {
	d := b.days[at]
	if d == nil {
		return
	}
	if peak, ok := d.peaks[scorer]; !ok || score > peak {
		d.peaks[scorer] = score
	}
}

// items are the days with what a scorer gave them.
func (b *beside) items(scorer string) []metrics.Scored {
	var all []metrics.Scored
	for _, at := range slices.SortedFunc(maps.Keys(b.days), func(a, b agentDay) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.agent, b.agent))
	}) {
		all = append(all, metrics.Scored{Score: b.days[at].peaks[scorer], Bad: b.days[at].bad})
	}
	return all
}

// forestLimit bounds how long a Python forest may take.
const forestLimit = 5 * time.Minute

// forests lets the Python packages score the rows, where they are at hand.
func (b *beside) forests(m *measurement) error {
	for _, f := range []references.Forest{references.HalfSpaceTrees, references.RandomCut} {
		if m.opt.Python == "" || m.step("%s scores %d calls", f, len(b.rows)) != nil {
			break
		}
		ctx, cancel := context.WithTimeout(m.ctx, forestLimit)
		scores, err := f.Scores(ctx, m.opt.Python, b.rows)
		cancel()
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("The reference %s was left out: %v.", f, err))
			continue
		}
		for i, score := range scores {
			b.raise(b.of[i], string(f), score)
		}
		b.names = append(b.names, string(f))
	}
	return m.ctx.Err()
}

// falseAlarms is the share of honest days at which recall is read.
const falseAlarms = 0.01

func (b *beside) report(m *measurement) {
	for _, note := range b.notes {
		m.report.Note("%s", note)
	}
	table := report.Table{
		Title:   fmt.Sprintf("Days of agents, attacked or not, by the most suspicious call (%d calls)", b.calls),
		Columns: []string{"score", "AUC", "average precision", fmt.Sprintf("recall at %g %% false alarms", 100*falseAlarms)},
	}
	curves := report.Plot{Title: "Precision and recall, days of agents", X: "recall", Y: "precision"}
	for _, name := range b.names {
		items := b.items(name)
		auc, ap, recall := metrics.AUC(items), metrics.AveragePrecision(items), metrics.RecallAt(items, falseAlarms)
		m.add(auc, "AUC", report.Goal{}, "days of agents: AUC of %s", name)
		m.detail(ap, "average precision", report.Goal{}, "days of agents: average precision of %s", name)
		m.detail(recall, "share", report.Goal{}, "days of agents: recall of %s at %g %% false alarms", name, 100*falseAlarms)
		table.Rows = append(table.Rows, []string{name, short(auc), short(ap), short(recall)})
		curves.Lines = append(curves.Lines, precisionRecall(name, items))
	}
	m.table(table)
	m.plot(curves)
}

// precisionRecall is the curve of a scorer as a line.
func precisionRecall(name string, items []metrics.Scored) report.Line {
	line := report.Line{Name: name}
	for _, p := range metrics.Curve(items) {
		if !math.IsNaN(p.Precision) {
			line.Points = append(line.Points, [2]float64{p.Recall, p.Precision})
		}
	}
	return line
}
