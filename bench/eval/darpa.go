package eval

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/midas"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// darpaSet measures models of edges, which see the graph only, and the false kills of the
// detectors on the weeks that are nearly clean.
func darpaSet(m *measurement) error {
	if err := m.step("reading"); err != nil {
		return err
	}
	edges, err := readEdges(m.file("edges.csv.gz"))
	if err != nil {
		return err
	}
	minutes, err := readMinutes(m.file("minutes.csv.gz"))
	if err != nil {
		return err
	}
	if m.opt.Quick {
		edges = edges[:min(len(edges), 50_000)]
	}
	if err := darpaEdges(m, edges); err != nil {
		return err
	}
	return darpaHonest(m, edges, minutes)
}

func readEdges(path string) ([]midas.Edge, error) {
	in, err := unpacked(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return midas.ReadEdges(in)
}

// edgeModels are what scores edges; the references are those of the papers, with the parameters of
// their authors.
var edgeModels = []struct {
	name string
	make func() midas.Scorer
	goal report.Goal
}{
	{"EdgeBurst", func() midas.Scorer { return models.NewEdgeBurst(models.EdgeBurstDefaults()) }, report.AtLeast(0.992)},
	{"MIDAS", func() midas.Scorer { return midas.NewPlain(midas.Defaults(1)) }, report.Goal{}},
	{"MIDAS-R", func() midas.Scorer { return midas.NewRelational(midas.Defaults(1)) }, report.Goal{}},
	{"MIDAS-F", func() midas.Scorer { return midas.NewFiltering(midas.Defaults(1)) }, report.Goal{}},
}

// darpaEdges scores the edges by each model. Times are the least of turns that the models
// take, so that a busy machine harms none more than the others.
func darpaEdges(m *measurement, edges []midas.Edge) error {
	turns := m.much(3, 1)
	took := make([]time.Duration, len(edgeModels))
	items := make([][]metrics.Scored, len(edgeModels))
	for turn := range turns {
		for i, model := range edgeModels {
			if err := m.step("%s, turn %d", model.name, turn+1); err != nil {
				return err
			}
			scores, spent := scoreEdges(model.make(), edges)
			if turn == 0 || spent < took[i] {
				took[i] = spent
			}
			items[i] = scores
		}
	}
	curves := report.Plot{Title: "Precision and recall, edges", X: "recall", Y: "precision"}
	table := report.Table{
		Title:   fmt.Sprintf("Models of edges, %d edges", len(edges)),
		Columns: []string{"model", "AUC", "average precision", "recall at 0.1 % false alarms", "recall at 1 %", "ns an edge"},
	}
	ns := make([]float64, len(edgeModels))
	for i, model := range edgeModels {
		auc, ap := metrics.AUC(items[i]), metrics.AveragePrecision(items[i])
		ns[i] = float64(took[i].Nanoseconds()) / float64(len(edges))
		m.add(auc, "AUC", model.goal, "edges: AUC of %s", model.name)
		m.detail(ap, "average precision", report.Goal{}, "edges: average precision of %s", model.name)
		m.add(ns[i], "ns", report.Goal{}, "edges: time of %s for an edge", model.name)
		table.Rows = append(table.Rows, []string{
			model.name, fmt.Sprintf("%.4f", auc), fmt.Sprintf("%.4f", ap),
			short(metrics.RecallAt(items[i], 0.001)), short(metrics.RecallAt(items[i], 0.01)), fmt.Sprintf("%.0f", ns[i]),
		})
		curves.Lines = append(curves.Lines, precisionRecall(model.name, items[i]))
	}
	m.table(table)
	m.plot(curves)
	m.add(ns[0]/ns[2], "times", report.AtMost(2), "edges: time of EdgeBurst over that of MIDAS-R")
	return nil
}

func scoreEdges(model midas.Scorer, edges []midas.Edge) ([]metrics.Scored, time.Duration) {
	items := make([]metrics.Scored, len(edges))
	defer stopwatch.Pin()()
	began := stopwatch.Now()
	for i, e := range edges {
		items[i] = metrics.Scored{Score: model.Score(e.Src, e.Dst, e.Tick), Bad: e.Attack}
	}
	return items, stopwatch.Now() - began
}

// readMinutes returns the time of each minute that has edges, by its number.
func readMinutes(path string) (map[int64]time.Time, error) {
	minutes := map[int64]time.Time{}
	err := eachRecord(path, func(field []string) error {
		tick, err1 := strconv.ParseInt(field[0], 10, 64)
		at, err2 := time.Parse("01/02/2006-15:04", field[1])
		minutes[tick] = at
		return errors.Join(err1, err2)
	}, 2)
	return minutes, err
}

// eachRecord reads a gzipped file of comma-separated values with n fields. A first line that
// cannot be read names the columns.
func eachRecord(path string, f func([]string) error, n int) error {
	in, err := unpacked(path)
	if err != nil {
		return err
	}
	defer in.Close()
	records := csv.NewReader(in)
	records.FieldsPerRecord, records.ReuseRecord = n, true
	for line := 1; ; line++ {
		field, err := records.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(field)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, line, err)
		}
	}
}

// The attack-free parts of June: two weeks that are nearly clean, and the whole month without its attacks.
var darpaParts = []struct {
	what  string
	until time.Time
}{
	{"connections of 1–14 June that are no attack (real)", time.Date(1998, time.June, 15, 0, 0, 0, 0, time.UTC)},
	{"connections of all June that are no attack (real)", time.Date(1998, time.July, 1, 0, 0, 0, 0, time.UTC)},
}

// darpaHonest plays the edges that are no attack: an address is an agent, and what it connects to a
// resource. Inside a minute the edges are spread evenly.
func darpaHonest(m *measurement, edges []midas.Edge, minutes map[int64]time.Time) error {
	found := make([]*honest, len(darpaParts))
	var tasks []func() error
	for i, part := range darpaParts {
		tasks = append(tasks, func() error {
			if err := m.step("%s", part.what); err != nil {
				return err
			}
			found[i] = newHonest(m.opt.Plan, nil, false)
			return darpaPart(found[i], edges, minutes, part.until)
		})
	}
	if err := parallel(tasks...); err != nil {
		return err
	}
	for i, h := range found {
		h.report(m, darpaParts[i].what)
	}
	return nil
}

func darpaPart(h *honest, edges []midas.Edge, minutes map[int64]time.Time, until time.Time) error {
	for first := 0; first < len(edges); {
		last := first
		for last < len(edges) && edges[last].Tick == edges[first].Tick {
			last++
		}
		at, ok := minutes[edges[first].Tick]
		if !ok {
			return fmt.Errorf("the time of minute %d is missing", edges[first].Tick)
		}
		if !at.Before(until) {
			break
		}
		clean := slices.DeleteFunc(slices.Clone(edges[first:last]), func(e midas.Edge) bool { return e.Attack })
		for i, e := range clean {
			*h.next() = connection(e, first+i, at.Add(time.Duration(i)*time.Minute/time.Duration(len(clean))))
		}
		first = last
	}
	h.end()
	return nil
}

// connection is an edge as a call.
func connection(e midas.Edge, n int, at time.Time) telemetry.Call {
	agent := strconv.AppendUint([]byte("address-"), e.Src, 10)
	return telemetry.Call{
		ID: strconv.AppendInt([]byte("edge-"), int64(n), 10), Time: at.UnixNano(), Tenant: []byte("darpa"), Agent: agent, Chain: [][]byte{agent},
		Action: []byte("connect"), Resource: strconv.AppendUint([]byte("address-"), e.Dst, 10),
	}
}
