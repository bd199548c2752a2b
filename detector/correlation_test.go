package detector_test

import (
	"testing"
	"testing/fstest"

	"github.com/estop-project/estop/detector"
)

const together = "id: together\ntitle: Together\ncorrelation: {of: [x, y], within: 10m, condition: temporal}\n"

// An edit that takes away what a correlation in force names is refused, and nobody else suffers by it.
func TestADetectorInUseByACorrelationStays(t *testing.T) {
	x, y := head, "id: y\ntitle: y\nwhen: count(calls, 1m) > 1\n"
	var r detector.Reloader
	reload := func(files map[string]string) (ids string, wrong int) {
		t.Helper()
		fs := fstest.MapFS{}
		for name, text := range files {
			fs[name] = &fstest.MapFile{Data: []byte(text)}
		}
		set, errs, _ := r.Reload(fs)
		for _, d := range set.Plan.Detectors {
			ids += d.ID + " "
		}
		return ids, len(errs)
	}
	for _, c := range []struct {
		files map[string]string
		want  string
		wrong int
	}{
		{map[string]string{"1.yaml": together, "x.yaml": x}, "x ", 1},
		{map[string]string{"1.yaml": together, "x.yaml": x, "y.yaml": y}, "together x y ", 0},
		{map[string]string{"1.yaml": together, "x.yaml": x, "y.yaml": "id: z\ntitle: z\nwhen: count(calls, 1m) > 1\n"}, "together x y ", 1},
		{map[string]string{"1.yaml": together, "x.yaml": x}, "x ", 1},
		{map[string]string{"1.yaml": together, "x.yaml": x, "z.yaml": y}, "together x y ", 0},
	} {
		if ids, wrong := reload(c.files); ids != c.want || wrong != c.wrong {
			t.Errorf("%q with %d errors, want %q with %d", ids, wrong, c.want, c.wrong)
		}
	}
}
