package eval

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/bench/labelled"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func builtIn(t *testing.T) *detector.Plan {
	t.Helper()
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

func load(t *testing.T, text string) *detector.Plan {
	t.Helper()
	set, errs := detector.Load(fstest.MapFS{"one.yaml": {Data: []byte(text)}})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

func newReport() *report.Report { return report.New("", "test", FirstSeed, time.Unix(0, 0)) }

// quick measures little of a set.
func quick(t *testing.T, plan *detector.Plan, set string) *report.Report {
	t.Helper()
	r := newReport()
	err := Run(t.Context(), r, Options{Plan: plan, Sets: []string{set}, Data: labelled.Folder(t), Quick: true})
	if errors.Is(err, ErrAbsent) {
		t.Skipf("%v; set ESTOP_DATA to the folder of labelled data", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var fleetReport *report.Report

// onFleet measures the built-in detectors on a little of the fleet, once for all tests.
func onFleet(t *testing.T) *report.Report {
	t.Helper()
	if fleetReport == nil {
		fleetReport = quick(t, builtIn(t), "fleet")
	}
	return fleetReport
}

// figure returns the first figure whose name contains the text.
func figure(t *testing.T, r *report.Report, text string) report.Figure {
	t.Helper()
	for _, f := range r.Figures {
		if strings.Contains(f.Name, text) {
			return f
		}
	}
	t.Fatalf("no figure is named %q", text)
	return report.Figure{}
}

// everybody fires at every call: a detector that is wrong about all.
const everybody = `
id: everybody
title: fires at every call
severity: low
mode: enforce
group_by: agent
when: count(calls, 10s) > 0
quiet: 1h
response: {action: revoke, scope: agent, for: 15m}
`

func TestEverySetThatIsAtHandIsMeasured(t *testing.T) {
	for _, s := range Sets() {
		t.Run(s.Name, func(t *testing.T) {
			r := onFleet(t)
			if s.Name != "fleet" {
				r = quick(t, builtIn(t), s.Name)
			}
			if len(r.Figures) == 0 || len(r.Tables) == 0 {
				t.Fatalf("%d figures, %d tables", len(r.Figures), len(r.Tables))
			}
			for _, f := range r.Figures {
				if f.Set != s.Title || f.Command != "estop eval "+s.Name || f.Unit == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestADetectorThatFiresAtEverybodyIsFoundOut(t *testing.T) {
	r := quick(t, load(t, everybody), "fleet")
	for _, name := range []string{"honest agents with few calls, budget as shipped", "honest agents with few calls, budget × 10"} {
		if f := figure(t, r, name); f.OK || f.Value < 5 {
			t.Errorf("%+v", f)
		}
	}
}

func TestWhatIsNotAtHandIsNotedUnlessItWasNamed(t *testing.T) {
	empty := t.TempDir()
	if err := Run(t.Context(), newReport(), Options{Plan: builtIn(t), Sets: []string{"darpa"}, Data: empty}); !errors.Is(err, ErrAbsent) {
		t.Errorf("error %v", err)
	}
	r := newReport()
	if err := Run(t.Context(), r, Options{Plan: load(t, everybody), Data: empty, Quick: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range Sets() {
		noted := slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, s.Name+" was left out") })
		if noted != (s.path != "") {
			t.Errorf("%s: noted is %v", s.Name, noted)
		}
	}
	if err := Run(t.Context(), r, Options{Plan: builtIn(t), Sets: []string{"nothing"}}); err == nil {
		t.Error("an unknown set is no error")
	}
}

func TestTheHonestAccountIsNoPoissonProcess(t *testing.T) {
	m := &measurement{ctx: t.Context(), opt: Options{Quick: true}, report: newReport()}
	calls, err := account(m)
	if err != nil {
		t.Fatal(err)
	}
	if d := dispersion(calls); d < 3 {
		t.Errorf("the variance of hourly counts is %g times their mean, want far more than 1", d)
	}
	if !slices.IsSortedFunc(calls, byTime) {
		t.Error("calls are out of order")
	}
}

func TestWhatClaimsNothingLeavesTheSeedsThatReportAlone(t *testing.T) {
	for _, tc := range []struct {
		opt  Options
		want uint64
	}{{Options{}, FirstSeed}, {Options{Quick: true}, 1}, {Options{Develop: true}, 1}} {
		if got := tc.opt.Seed(); got != tc.want {
			t.Errorf("%+v begins with seed %d, want %d", tc.opt, got, tc.want)
		}
	}
}

func TestARowNamesItsOutcome(t *testing.T) {
	for outcome, want := range map[string]string{"ok": "ok", "": "ok", "AccessDenied": "denied", "Client.UnauthorizedOperation": "denied", "NoSuchBucket": "error"} {
		if got := (&row{Outcome: outcome}).call().Outcome.String(); got != want {
			t.Errorf("%q is %s, want %s", outcome, got, want)
		}
	}
}

func TestAReservoirKeepsEvenlySpacedValues(t *testing.T) {
	r := reservoir{step: 1}
	const n = 5*reservoirSize + 17
	for i := range n {
		r.add(float64(i))
	}
	if r.seen != n || len(r.kept) > reservoirSize || len(r.kept) < reservoirSize/2 {
		t.Fatalf("%d of %d kept", len(r.kept), r.seen)
	}
	for i, v := range r.kept {
		if v != float64(i*r.step) {
			t.Fatalf("value %d is %g, want %d", i, v, i*r.step)
		}
	}
	// Merged with a short one, both are thinned alike.
	short := reservoir{step: 1}
	for range r.step * 10 {
		short.add(-1)
	}
	r.merge(&short)
	ten := 0
	for _, v := range r.kept {
		if v == -1 {
			ten++
		}
	}
	if ten != 10 || r.seen != n+short.seen {
		t.Errorf("%d values of a stream of %d steps, %d seen", ten, 10, r.seen)
	}
}

func TestRound(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 3.00004: 3, 477.52: 477.5, 0.0123456: 0.01235, 12345.6: 12350} {
		if got := round(x); math.Abs(got-want) > 1e-9 {
			t.Errorf("%g is rounded to %g, want %g", x, got, want)
		}
	}
}
