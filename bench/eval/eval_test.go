package eval

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func plan(t *testing.T) *detector.Plan {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

func TestTheFalseKillsOfAnHonestFleetKeepTheBudget(t *testing.T) {
	r := report.New(".", "test", 1, time.Unix(0, 0))
	Honest(r, plan(t), []uint64{9}, 10, []float64{100})
	if len(r.Figures) != 1 || !r.Figures[0].OK {
		t.Errorf("%+v", r.Figures)
	}
}

// trigger fires at every call: a detector that is wrong about everybody.
const trigger = `
id: everybody
title: fires at every call
severity: low
mode: enforce
group_by: agent
when: count(calls, 10s) > 0
quiet: 1h
response: {action: revoke, scope: agent, for: 15m}
`

func TestADetectorThatFiresAtEverybodyIsFoundOut(t *testing.T) {
	set, errs := detector.Load(oneFile(trigger))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	r := report.New(".", "test", 1, time.Unix(0, 0))
	Honest(r, set.Plan, []uint64{9}, 2, []float64{50})
	if r.Figures[0].OK || r.Figures[0].Value < 100 {
		t.Errorf("%+v", r.Figures[0])
	}
}

func TestARowNamesItsOutcome(t *testing.T) {
	for outcome, want := range map[string]string{"ok": "ok", "": "ok", "AccessDenied": "denied", "Client.UnauthorizedOperation": "denied", "NoSuchBucket": "error"} {
		if got := (&row{Outcome: outcome}).call().Outcome.String(); got != want {
			t.Errorf("%q is %s, want %s", outcome, got, want)
		}
	}
}

func TestFiguresNameTheirCommand(t *testing.T) {
	r := report.New(".", "test", 1, time.Unix(0, 0))
	Honest(r, plan(t), []uint64{1}, 1, []float64{50})
	for _, f := range r.Figures {
		if f.Command != Command || !strings.Contains(f.Name, "synthetic") {
			t.Errorf("%+v", f)
		}
	}
}

func oneFile(text string) fstest.MapFS {
	return fstest.MapFS{"one.yaml": {Data: []byte(text)}}
}
