package backtest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "testdata/fleet.golden"

// TestTheFleetGivesTheSameDetectionsAsEver holds what the catalogue, with warm-ups of a week,
// finds in two weeks of a synthetic fleet with attacks, so that nobody changes a detection by
// making the shard faster. Where a change of the detections is meant: go test ./pipeline/backtest -update.
func TestTheFleetGivesTheSameDetectionsAsEver(t *testing.T) {
	got := playFleet(t, NewRunner(catalogue(t, 7*24*time.Hour), shard.Options{}), func(*Runner) {})
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the fleet's detections changed (-golden +now):\n%s", diff)
	}
}

// TestRestChangesNoDetection lets entities rest after a minute, which most sessions wake from.
func TestRestChangesNoDetection(t *testing.T) {
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	got := playFleet(t, NewRunner(catalogue(t, 7*24*time.Hour), shard.Options{RestAfter: time.Minute}), func(r *Runner) {
		if calls++; calls%20 == 0 {
			r.calls.Dirty()
			r.exchange.shards[0].Dirty()
		}
	})
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("rest changed the fleet's detections (-without +with):\n%s", diff)
	}
}

// catalogue is the built-in detectors with warm-ups of at most so long: the tests have no weeks to wait.
func catalogue(t *testing.T, warmup time.Duration) *detector.Plan {
	t.Helper()
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	for _, d := range set.Plan.Detectors {
		d.WarmupTime = min(d.WarmupTime, warmup)
	}
	return set.Plan
}

// playFleet returns a line for each detection, and one that sums the samples up. Numbers
// have ten digits: the last ones differ between processors.
func playFleet(t *testing.T, r *Runner, afterEach func(*Runner)) string {
	f := fleet.New(fleet.Options{Seed: 7, DayShape: true})
	end := fleet.DefaultStart.Add(14 * 24 * time.Hour)
	var out bytes.Buffer
	var c telemetry.Call
	calls, samples := 0, 0
	var observed, evidence float64
	for call := range f.Calls(time.Time{}, end, attacks(t, f, end)...) {
		calls++
		call.Telemetry(&c)
		for _, d := range r.Call(&c) {
			fmt.Fprintf(&out, "%s %s %s %s %s first_bad=%s evidence=%.10g", d.ID, d.Time.Format(time.RFC3339Nano), d.Detector, d.Entity, d.Reason, d.FirstBad, d.LogEvidence)
			for _, s := range d.Features {
				fmt.Fprintf(&out, " %s=%.10g expected=%.10g p=%.10g", s.Feature, s.Observed, s.Expected, s.LogP)
			}
			out.WriteByte('\n')
		}
		afterEach(r)
		samples += len(r.exchange.samples)
		for i := range r.exchange.samples {
			observed += r.exchange.samples[i].Observed
			evidence += r.exchange.samples[i].LogEvidence
		}
	}
	fmt.Fprintf(&out, "%d calls, %d samples, observed %.10g, log evidence %.10g\n", calls, samples, observed, evidence)
	return out.String()
}

// attacks are one of each kind, in the last six hours.
func attacks(t *testing.T, f *fleet.Fleet, end time.Time) []fleet.Attack {
	all := f.Agents()
	at := func(h int) time.Time { return end.Add(time.Duration(h-6) * time.Hour) }
	var made []fleet.Attack
	add := func(a fleet.Attack, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, a)
	}
	add(f.Exfiltrate(all[3].Name, at(1), 5))
	add(f.StealCredential(all[20].Name, "thief", at(2)))
	add(f.Crawl(all[41].Name, at(3)))
	add(f.Repeat(all[60].Name, at(4), 2))
	add(f.Ramp(all[80].Name, at(5), 0.5))
	return made
}
