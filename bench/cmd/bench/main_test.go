package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/report"
)

const output = `goos: linux
cpu: AMD EPYC
BenchmarkCheck/1000000/revoked   	  100	  40.0 ns/check	  20.0 ns/lookup	  2.000 ratio
BenchmarkCheck/1000000/revoked   	  100	  90.0 ns/check	  60.0 ns/lookup	  1.500 ratio
BenchmarkCheck/1000000/revoked   	  100	  44.0 ns/check	  24.0 ns/lookup	  1.830 ratio
BenchmarkCheckAllKinds-2         	  100	  80.0 ns/op	  0 B/op	  0 allocs/op
BenchmarkCheckAllKinds-2         	  100	  82.0 ns/op	  0 B/op	  0 allocs/op
BenchmarkBroken --- FAIL: 3 of 4
PASS
`

func measured() measurements {
	m := measurements{}
	for line := range strings.Lines(output) {
		m.add(line)
	}
	return m
}

func TestAFigureIsTheMedianOfItsRuns(t *testing.T) {
	m := measured()
	f := func(bench, unit string, want float64, there bool) {
		t.Helper()
		got, ok := m.median(bench, unit)
		if got != want || ok != there {
			t.Errorf("%s in %s is %v, %v, want %v, %v", bench, unit, got, ok, want, there)
		}
	}
	f("BenchmarkCheck/1000000/revoked", "ns/check", 44, true)
	f("BenchmarkCheck/1000000/revoked", "ratio", 1.83, true)
	f("BenchmarkCheckAllKinds", "ns/op", 81, true)
	f("BenchmarkCheckAllKinds", "allocs/op", 0, true)
	f("BenchmarkCheck/1000000/innocent", "ratio", 0, false)
	f("BenchmarkBroken", "of", 0, false)
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	var guard suite
	for _, s := range suites {
		if s.name == "guard" {
			guard = s
		}
	}
	r := report.New(".", "", 0, time.Time{})
	guard.report(r, measured())
	values := map[string]float64{}
	for _, f := range r.Figures {
		values[f.Name] = f.Value
	}
	if got := values["guard check beside a map look-up, revoked agent"]; got != 1.83 {
		t.Errorf("the ratio is %v, want 1.83", got)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "innocent") || strings.Contains(r.Notes[0], "revoked agent") {
		t.Errorf("notes on what is missing: %q", r.Notes)
	}
}

func TestEveryFigureNamesABenchmarkOfItsSuite(t *testing.T) {
	names := map[string]bool{}
	for _, s := range suites {
		pattern := regexp.MustCompile(s.bench)
		for _, f := range s.figures {
			if names[f.name] {
				t.Errorf("two figures are named %q", f.name)
			}
			names[f.name] = true
			if top, _, _ := strings.Cut(f.bench, "/"); !pattern.MatchString(top) {
				t.Errorf("%s is measured by %s, the suite runs %s", f.name, f.bench, s.bench)
			}
		}
		if c := s.command(); !strings.HasPrefix(c, "go test -run '^$' -bench '^Benchmark") {
			t.Errorf("nobody can type %q", c)
		}
	}
}
