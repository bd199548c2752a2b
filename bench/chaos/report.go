package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/bench/report"
)

// Report adds a campaign to a report, in a set of its own. late is the goal of the longest time from an append until a
// guard with a good network denied.
func (out *Outcome) Report(r *report.Report, set, command string, late report.Goal) {
	add := func(name string, value float64, unit string, goal report.Goal) {
		r.Add(report.Figure{Set: set, Name: name, Value: value, Unit: unit, Goal: goal, Command: command})
	}
	count := func(name string, n int, unit string) { add(name, float64(n), unit, report.Goal{}) }
	h := &out.History
	add("violations", float64(len(out.Violations)), "violations", report.AtMost(0))
	count("faults", len(out.Faults), "faults")
	count("calls appended", len(h.Appends), "calls")
	add("breaches in the reference replay", float64(len(h.Reference)), "breaches", report.AtLeast(1))
	count("different detections", len(ids(h.Detections, func(d check.Detection) string { return d.ID })), "detections")
	count("records of detections that repeat an id", len(h.Detections)-len(ids(h.Detections, func(d check.Detection) string { return d.ID })), "records")
	count("different revocations", len(ids(h.Revocations, func(d check.Revocation) string { return d.ID })), "revocations")
	millis := func(name string, d time.Duration, goal report.Goal) { add(name, float64(d.Milliseconds()), "ms", goal) }
	for _, of := range []struct {
		who  string
		all  []time.Duration
		late report.Goal
	}{{"a guard", out.Delays.Direct, late}, {"the guard behind the bad network", out.Delays.Proxied, report.Goal{}}} {
		millis("append to denied by "+of.who+", p50", quantile(of.all, 0.5), report.Goal{})
		millis("append to denied by "+of.who+", p99", quantile(of.all, 0.99), report.Goal{})
		millis("append to denied by "+of.who+", longest", quantile(of.all, 1), of.late)
	}
	add("from the last fault until nothing was behind", out.Recovery.Seconds(), "s", report.Goal{})
	millis("stall of the campaign itself, by which the bound is longer", out.Stall, report.Goal{})
	r.Tables = append(r.Tables, out.faultTable(set))
	for _, name := range slices.Sorted(maps.Keys(out.Endings)) {
		r.Note("%s: %s ended by itself %d times and was started again.", set, name, out.Endings[name])
	}
	for i, v := range out.Violations {
		if i == maxShown {
			r.Note("%s: and %d violations more.", set, len(out.Violations)-maxShown)
			break
		}
		r.Note("%s: %s", set, v)
	}
}

// maxShown is how many violations a page names.
const maxShown = 20

func ids[T any](all []T, id func(T) string) map[string]bool {
	m := map[string]bool{}
	for _, x := range all {
		m[id(x)] = true
	}
	return m
}

// faultTable counts the faults by what was hit and how.
func (out *Outcome) faultTable(set string) report.Table {
	t := report.Table{Set: set, Title: "Faults", Columns: []string{"target", "kind", "times", "seconds in all"}}
	type key struct{ target, kind string }
	times, lasted := map[key]int{}, map[key]time.Duration{}
	for _, f := range out.Faults {
		k := key{f.Target, string(f.Kind)}
		times[k]++
		lasted[k] += f.For
	}
	keys := slices.SortedFunc(maps.Keys(times), func(a, b key) int { return slices.Compare([]string{a.target, a.kind}, []string{b.target, b.kind}) })
	for _, k := range keys {
		t.Rows = append(t.Rows, []string{k.target, k.kind, strconv.Itoa(times[k]), fmt.Sprintf("%.1f", lasted[k].Seconds())})
	}
	return t
}
