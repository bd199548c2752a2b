package backtest

import (
	"testing"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func TestEveryTestOfTheCatalogueHolds(t *testing.T) {
	set, errs := detector.Load(catalog.FS)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for i, d := range set.Plan.Detectors {
		if len(set.Sources[i].Tests) < 3 {
			t.Errorf("%s has %d tests, want at least 3", d.ID, len(set.Sources[i].Tests))
		}
		for _, test := range set.Sources[i].Tests {
			t.Run(d.ID+"/"+test.Name, func(t *testing.T) {
				if o := Test(set, i, test); o.Failure != "" {
					t.Errorf("%s:%d: %s", set.Sources[i].File, test.Line, o.Failure)
				}
			})
		}
	}
}
