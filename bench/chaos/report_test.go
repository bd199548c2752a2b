package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/bench/report"
)

// outcome is a campaign of one breach, which two guards deny, one of them after it had lost touch.
func outcome() (*Outcome, map[string]time.Time) {
	noon := time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	const bad = "t/agent/bad"
	out := &Outcome{
		Faults:  []Fault{{Kind: Kill, Target: "kafka-1", For: time.Second}, {Kind: Kill, Target: "kafka-1", For: 2 * time.Second}},
		Endings: map[string]int{"detect-1": 2},
		History: check.History{
			Reference:  []check.Detection{{ID: "d1", Target: bad, Call: "c1"}, {ID: "d2", Target: bad, Call: "c2"}},
			Detections: []check.Detection{{ID: "d1"}, {ID: "d1"}, {ID: "d2"}},
			Guards: []check.Guard{
				{Name: "direct-1", Spans: []check.Span{{Target: bad, Answer: check.Allowed, First: at(0)}, {Target: bad, Answer: check.Denied, First: at(130)}}},
				{Name: "proxied", Spans: []check.Span{
					{Target: bad, Answer: check.Closed, First: at(120)}, {Target: bad, Answer: check.Denied, First: at(2100)},
					{Target: bad, Answer: check.Denied, First: at(9000)},
				}},
			},
		},
		Violations: []check.Violation{{Kind: check.LetGo, Subject: bad, Evidence: "it did"}},
	}
	return out, map[string]time.Time{"c1": at(100), "c2": at(500)}
}

func TestDelaysAreFromTheFirstBreachToTheFirstDenialByARevocation(t *testing.T) {
	out, sent := outcome()
	want := Delays{Direct: []time.Duration{30 * time.Millisecond}, Proxied: []time.Duration{2 * time.Second}}
	if diff := cmp.Diff(want, delays(&out.History, sent)); diff != "" {
		t.Errorf("delays, wanted (-), got (+):\n%s", diff)
	}
}

func TestAReportSaysWhatWentWrong(t *testing.T) {
	out, sent := outcome()
	out.Delays = delays(&out.History, sent)
	r := &report.Report{}
	out.Report(r, "a campaign", "make chaos", report.AtMost(20))
	figures := map[string]report.Figure{}
	for _, f := range r.Figures {
		figures[f.Name] = f
	}
	for name, want := range map[string]struct {
		value float64
		ok    bool
	}{
		"violations": {1, false},
		"records of detections that repeat an id": {1, true},
		"append to denied by a guard, longest":    {30, false},
		"append to denied by a guard, p99":        {30, true},
		"breaches in the reference replay":        {2, true},
	} {
		if got := figures[name]; got.Value != want.value || got.OK != want.ok {
			t.Errorf("%s: %v, ok %v; want %v, ok %v", name, got.Value, got.OK, want.value, want.ok)
		}
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"let go: t/agent/bad: it did", "detect-1 ended by itself 2 times"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	if diff := cmp.Diff([][]string{{"kafka-1", "kill -9", "2", "3.0"}}, r.Tables[0].Rows); diff != "" {
		t.Errorf("the table of faults, wanted (-), got (+):\n%s", diff)
	}
}
