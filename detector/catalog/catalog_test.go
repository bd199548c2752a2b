package catalog_test

import (
	"testing"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func TestEveryDetectorLoadsAndEnforces(t *testing.T) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	if len(set.Plan.Detectors) < 3 {
		t.Fatalf("%d detectors, want three at least", len(set.Plan.Detectors))
	}
	for i, d := range set.Plan.Detectors {
		t.Logf("%s %s level %.3f features %v", d.ID, d.Version, d.Level, d.Features)
		if _, ok := set.Plan.Enforcer(i); !ok {
			t.Errorf("%s does not enforce", d.ID)
		}
	}
}
