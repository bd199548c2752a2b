package eval

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/cloudtrail"
	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// cloudTrailSet measures on records of a real account under a simulated attack, and on
// detonation logs of single techniques, each grafted on the work of honest agents.
func cloudTrailSet(m *measurement) error {
	if err := invictus(m); err != nil {
		return err
	}
	return stratus(m)
}

// invictus plays the records of the real account as they came. It has too little honest
// history for a false-kill rate.
func invictus(m *measurement) error {
	if err := m.step("a real account under attack"); err != nil {
		return err
	}
	attacks, err := labels(m.file("invictus.jsonl.gz"))
	if err != nil {
		return err
	}
	calls, err := records(m.file("raw", "invictus.cloudtrail.jsonl.gz"))
	if err != nil {
		return err
	}
	x := newAttacked(m.opt.Plan)
	byAgent := map[string]*attack{} // agents with attack calls
	for _, c := range calls {
		var a *attack
		if attacks[string(c.ID)] != "" {
			name := string(c.Agent)
			if a = byAgent[name]; a == nil {
				a = &attack{name: name, by: map[string]int{}}
				byAgent[name] = a
			}
		}
		x.call(c, a)
	}
	var all []*attack
	for _, name := range slices.Sorted(maps.Keys(byAgent)) {
		all = append(all, byAgent[name])
		delete(x.wrong, name)
	}
	o := outcomeOf(all)
	m.add(float64(o.stopped), "agents", report.Goal{}, "account under attack (real): agents with attack calls that are stopped, of %d", o.all)
	m.add(float64(o.prevented), "calls", report.Goal{}, "account under attack (real): attack calls that kills prevented, of %d", o.bad)
	m.add(float64(len(x.wrong)), "agents", report.AtMost(0), "account under attack (real): agents without attack calls that are stopped")
	return nil
}

// labels returns the technique of each attack call, by id. One that has no name is "attack".
func labels(path string) (map[string]string, error) {
	attacks := map[string]string{}
	err := each(path, func(row *row) error {
		if row.bad() {
			attacks[row.ID] = cmp.Or(row.Attack, "attack")
		}
		return nil
	})
	return attacks, err
}

// records decodes a file of raw CloudTrail records as production does.
func records(path string) ([]*telemetry.Call, error) {
	in, err := unpacked(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return decoded(in, 1)
}

// decoded returns every step-th call of a stream of CloudTrail records.
func decoded(r io.Reader, step int) ([]*telemetry.Call, error) {
	var d telemetry.Decoder
	var c telemetry.Call
	var calls []*telemetry.Call
	n := 0
	for raw, err := range telemetry.Split(r, telemetry.CloudTrail, telemetry.Limits{}) {
		if err != nil {
			return nil, err
		}
		if n++; n%step != 0 {
			continue
		}
		d.Start(raw.Format, raw.Bytes)
		if err := d.Next(&c); err != nil {
			return nil, err
		}
		calls = append(calls, c.Clone())
	}
	return calls, nil
}

// The honest account that techniques are grafted on.
const (
	accountDays = 15   // two weeks of history, and the day of the graft
	accountGap  = 24   // seconds between two calls that are kept, on average
	generated   = 2    // seconds between two that the generator makes
	spare       = 1.02 // records more than the days need on average
	graftHour   = 10   // of the last day
	graftHosts  = 12   // agents that each technique is grafted on, the busiest
)

// account is the honest traffic of a synthetic AWS account in order of time, for whole days.
func account(m *measurement) ([]*telemetry.Call, error) {
	days := m.much(accountDays, 3)
	n := int(spare * float64(days) * day.Seconds() / generated)
	r, w := io.Pipe()
	go func() { w.CloseWithError(cloudtrail.Write(w, FirstSeed, n)) }()
	defer r.Close()
	calls, err := decoded(r, accountGap/generated)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(calls, func(a, b *telemetry.Call) int { return cmp.Compare(a.Time, b.Time) })
	end := (calls[0].Time/int64(day) + int64(days)) * int64(day)
	return slices.DeleteFunc(calls, func(c *telemetry.Call) bool { return c.Time >= end }), nil
}

// stratus grafts every technique on each of the busiest agents of an honest account.
func stratus(m *measurement) error {
	if err := m.step("honest account"); err != nil {
		return err
	}
	honestCalls, err := account(m)
	if err != nil {
		return err
	}
	h := newHonest(m.opt.Plan)
	for _, c := range honestCalls {
		*h.next() = *c
	}
	h.report(m, "honest account (synthetic)")
	techniques, err := techniques(m)
	if err != nil {
		return err
	}
	g := newGrafts(m.opt.Plan, honestCalls, m.much(graftHosts, 2))
	return g.measure(m, techniques)
}

// technique is what was recorded of one, in order of time.
type technique struct {
	name  string
	calls []*telemetry.Call
}

func techniques(m *measurement) ([]technique, error) {
	names, err := labels(m.file("stratus.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	calls, err := records(m.file("raw", "stratus.cloudtrail.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	byName := map[string][]*telemetry.Call{}
	for _, c := range calls {
		if name := names[string(c.ID)]; name != "" {
			byName[name] = append(byName[name], c)
		}
	}
	var all []technique
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		calls := byName[name]
		slices.SortStableFunc(calls, func(a, b *telemetry.Call) int { return cmp.Compare(a.Time, b.Time) })
		all = append(all, technique{name, calls})
	}
	if m.opt.Quick {
		all = all[:min(len(all), 2)]
	}
	return all, nil
}

// grafts are honest calls, and the agents on which techniques are grafted.
type grafts struct {
	plan   *detector.Plan
	honest []*telemetry.Call
	at     int64 // when the technique begins
	hosts  []string
	peaks  []float64 // of honest agent-days of the second half, each run without a graft
}

func newGrafts(plan *detector.Plan, honest []*telemetry.Call, hosts int) *grafts {
	last := honest[len(honest)-1].Time
	g := &grafts{plan: plan, honest: honest, at: last/int64(day)*int64(day) + graftHour*int64(time.Hour)}
	g.hosts = busiest(honest, g.at, hosts)
	scored := suspicion{newPlayer(plan, everySlot)}
	peaks := map[agentDay]float64{}
	middle := honest[0].Time + (last-honest[0].Time)/2
	for _, c := range honest {
		score := scored.Score(c)
		if c.Time < middle {
			continue
		}
		at := agentDay{string(c.Agent), c.Time / int64(day)}
		if peak, ok := peaks[at]; !ok || score > peak {
			peaks[at] = score
		}
	}
	g.peaks = slices.Sorted(maps.Values(peaks))
	return g
}

// busiest returns the n agents with the most calls before a time.
func busiest(calls []*telemetry.Call, before int64, n int) []string {
	count := map[string]int{}
	for _, c := range calls {
		if c.Time < before {
			count[string(c.Agent)]++
		}
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	return names[:min(n, len(names))]
}

// watched is how long after the technique the host is looked at: its evidence is read where its slots end.
const watched = time.Hour

// pace says when the calls of a grafted technique come.
type pace bool

const (
	asRecorded pace = false // one after the other as they were recorded
	ofHost     pace = true  // in place of the host's own calls, one by one
)

// graft plays the honest calls with a technique done by the host, with its identity and in its
// session, and returns what became of it and the host's greatest suspicion.
func (g *grafts) graft(t technique, host string, pace pace) (*attack, float64) {
	x := newAttacked(g.plan)
	x.player = newPlayer(g.plan, everySlot)
	a := &attack{name: t.name, by: map[string]int{}}
	peak := math.Inf(-1)
	play := func(c *telemetry.Call, of *attack) {
		if x.call(c, of) && c.Time >= g.at && string(c.Agent) == host {
			peak = max(peak, suspicion{x.player}.score())
		}
	}
	own := 0 // where the host's latest call stands
	left := t.calls
	due := func() int64 { return g.at + left[0].Time - t.calls[0].Time }
	until := int64(math.MaxInt64)
	for i, c := range g.honest {
		for pace == asRecorded && len(left) > 0 && due() <= c.Time {
			play(disguised(left[0], g.honest[own], due()), a)
			left = left[1:]
		}
		if len(left) == 0 && until == math.MaxInt64 {
			until = c.Time + int64(watched)
		}
		if c.Time > until {
			break
		}
		if string(c.Agent) == host {
			own = i
			if pace == ofHost && len(left) > 0 && c.Time >= g.at {
				play(disguised(left[0], c, c.Time), a)
				left = left[1:]
				continue
			}
		}
		play(c, nil)
	}
	return a, peak
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
	for _, t := range techniques {
		if err := m.step("%s, %s", t.name, what); err != nil {
			return nil, err
		}
		var attacks []*attack
		var ranks []float64
		for _, host := range g.hosts {
			a, peak := g.graft(t, host, pace)
			attacks = append(attacks, a)
			ranks = append(ranks, float64(g.rank(peak)))
			items = append(items, metrics.Scored{Score: peak, Bad: true})
		}
		all = append(all, attacks...)
		o := outcomeOf(attacks)
		m.add(metrics.Quantile(ranks, 0.5), "rank", report.Goal{}, "%s, %s: rank among %d honest agent-days, median of %d hosts", t.name, what, len(g.peaks), len(g.hosts))
		m.add(100*float64(o.stopped)/float64(o.all), "%", report.Goal{}, "%s, %s: recall at the budget as shipped, of %d hosts", t.name, what, len(g.hosts))
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
