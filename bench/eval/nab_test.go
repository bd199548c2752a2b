package eval

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/estop-project/estop/bench/labelled"
)

// nabDir returns the folder of the set, and skips the test where it is not at hand.
func nabDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(labelled.Folder(t), "nab")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%v; set ESTOP_DATA to the folder of labelled data", err)
	}
	return dir
}

func TestTheSeasonHelpsOnNAB(t *testing.T) {
	got, err := NAB(nabDir(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.Series != 10 || got.Windows < 25 || got.Days < 300 || len(got.Rows) != 4 {
		t.Fatalf("%d series, %d windows, %.0f days, %d rows", got.Series, got.Windows, got.Days, len(got.Rows))
	}
	for _, row := range got.Rows {
		t.Logf("%s, slots of %v: %d of %d windows, %d false alarms in %.0f days, mean log score %.3f", row.Model, row.Slot, row.Hit, got.Windows, row.False, got.Days, row.LogScore)
		if len(row.Series) != 10 || row.Hit > got.Windows {
			t.Errorf("%+v", row)
		}
	}
	for i := 0; i < len(got.Rows); i += 2 {
		flat, seasonal := got.Rows[i], got.Rows[i+1]
		if seasonal.LogScore < flat.LogScore+0.02 || seasonal.False >= flat.False {
			t.Errorf("slots of %v: with the season the log score is %.3f and %d alarms are false, without it %.3f and %d",
				flat.Slot, seasonal.LogScore, seasonal.False, flat.LogScore, flat.False)
		}
	}
}

func TestNABWithoutDataIsAnError(t *testing.T) {
	if got, err := NAB(t.TempDir()); err == nil {
		t.Errorf("no error, but %+v", got)
	}
}
