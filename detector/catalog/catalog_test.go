package catalog_test

import (
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func load(t *testing.T) *detector.Set {
	t.Helper()
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// Those that enforce were measured by estop eval, and what they promise holds for them together. The others tell people.
func TestSixteenDetectorsEnforceAndSeventeenAlert(t *testing.T) {
	set := load(t)
	enforce, alert := 0, 0
	for i, d := range set.Plan.Detectors {
		t.Logf("%s %s level %.3f features %v", d.ID, d.Version, d.Level, d.Features)
		if _, ok := set.Plan.Enforcer(i); ok {
			enforce++
		} else if d.Mode == detector.Alert {
			alert++
		}
	}
	if n := len(set.Plan.Enforcing().Detectors); n != enforce {
		t.Errorf("%d detectors are in the plan of those that enforce, want %d", n, enforce)
	}
	if enforce != 16 || alert != 17 {
		t.Errorf("%d detectors enforce and %d alert, want 16 and 17", enforce, alert)
	}
}

// What a detector says of itself is shown by its tests: that it fires, when and on whom; that
// it leaves entities alone that it knows; that it says nothing of one that it does not know.
func TestEveryDetectorHasTestsOfBothOutcomes(t *testing.T) {
	set := load(t)
	for i, d := range set.Plan.Detectors {
		fires, silent, unknown := 0, 0, 0
		for _, test := range set.Sources[i].Tests {
			switch e := test.Expect; {
			case e.Count > 0 && e.FirstAt != nil && e.Entity != "":
				fires++
			case e.Bound == detector.Exactly && e.Count == 0 && (len(d.Evidence) == 0 || e.Known != nil && *e.Known):
				silent++
			case e.Bound == detector.Exactly && e.Count == 0 && e.Known != nil:
				unknown++
			}
		}
		if len(d.Evidence) == 0 { // a hard limit knows nobody
			unknown = 1
		}
		if fires < 2 || silent < 2 || unknown < 1 {
			t.Errorf("%s has %d tests that it fires, %d that it is silent about whom it knows, %d about whom it does not; want two, two and one",
				d.ID, fires, silent, unknown)
		}
	}
}

// A detector that judges new entities by their peers shows it on one that is younger than the warm-up.
func TestEveryDetectorThatAsksPeersJudgesANewEntity(t *testing.T) {
	set := load(t)
	for i, d := range set.Plan.Detectors {
		if d.WarmupPeers == 0 {
			continue
		}
		shown := false
		for _, test := range set.Sources[i].Tests {
			e := test.Expect
			known := e.Known != nil && *e.Known
			shown = shown || known && e.FirstAt != nil && e.FirstAt.To-appears(test, e.Entity) < d.WarmupTime
		}
		if !shown {
			t.Errorf("%s has no test in which it fires on an entity that is younger than its warm-up", d.ID)
		}
	}
}

// appears returns when the first call of an agent or identity comes.
func appears(test detector.Test, entity string) time.Duration {
	for c := range test.Expand() {
		if c.Agent == entity || c.Identity == entity {
			return c.Offset
		}
	}
	return 0
}
