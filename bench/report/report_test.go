package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Report {
	r := New(".", "Speed", 7, time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC))
	r.Add(Figure{Name: "ratio", Value: 2.5, Unit: "times", Goal: AtMost(2), Command: "go test -bench A"})
	r.Add(Figure{Name: "recall", Value: 0.95, Unit: "share", Goal: AtLeast(0.9), Command: "go test -bench B"})
	r.Add(Figure{Name: "speed", Value: 123456.7, Unit: "calls/s", Command: "go test -bench A"})
	r.Note("%d was left out", 1)
	return r
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	want := sample()
	if err := want.Write(dir, "spine"); err != nil {
		t.Fatal(err)
	}
	got, err := Read(filepath.Join(dir, "spine.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Goal{})); diff != "" {
		t.Error(diff)
	}
	if got.Machine.Cores == 0 || got.Versions["go"] == "" || got.Commit == "" {
		t.Errorf("nobody knows where it was measured: %+v", got)
	}
}

func TestWhatFallsShortStaysAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Write(dir, "spine"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "spine.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"goal": "at most 2"`, `"ok": false`, `"goal": ""`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON has no %s", want)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "spine.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| ratio | 2.5 | times | at most 2 | **no** |",
		"| recall | 0.95 | share | at least 0.9 | yes |",
		"| speed | 123457 | calls/s |  |  |",
		"1 was left out",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no line %q:\n%s", want, page)
		}
	}
	if n := strings.Count(string(page), "go test -bench A"); n != 1 {
		t.Errorf("the page names a command %d times", n)
	}
}

func TestAGoalHoldsItsBound(t *testing.T) {
	f := func(g Goal, value float64, want bool) {
		t.Helper()
		if got := g.Met(value); got != want {
			t.Errorf("%g meets %q: %v", value, g, got)
		}
		var back Goal
		text, _ := g.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != g {
			t.Errorf("%q is read as %v, %v", text, back, err)
		}
	}
	f(AtMost(2), 2, true)
	f(AtMost(2), 2.01, false)
	f(AtMost(2), math.NaN(), false)
	f(AtLeast(0.9), 0.9, true)
	f(AtLeast(0.9), 0.89, false)
	f(Goal{}, math.NaN(), true)
	for _, text := range []string{"about 2", "at most", "at most x"} {
		if err := new(Goal).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q passes for a goal", text)
		}
	}
}
