package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/archive"
)

func TestACanaryIsComparedFromWhenItWasLoadedAndNotAfterItEnded(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	found := []archive.Canary{
		{Detector: "a", Version: "a1", Since: at(-9), Until: at(-8)},
		{Detector: "a", Version: "a2", Since: at(-3), Until: at(-2)},
		{Detector: "b", Version: "b1", Since: at(-9), Until: at(-8)},
		{Detector: "b", Version: "b2", Since: at(-7), Until: at(-6)},
	}
	running := &DetectorStatus{Running: []RunningDetector{
		{ID: "a", Version: "a0", Since: at(-20)}, {ID: "a", Version: "a2", Canary: true, Since: at(-1)}, // restarted since
		{ID: "c", Version: "c1", Canary: true, Since: at(-5)}, // found nothing
	}}
	report := func(id, version string, since, until int, ended bool) CanaryReport {
		c := archive.Canary{Detector: id, Version: version, Since: at(since), Until: at(until)}
		return CanaryReport{archive.Comparison{Canary: c}, ended}
	}
	for _, c := range []struct {
		name    string
		running *DetectorStatus
		id      string
		want    []CanaryReport
	}{
		{"a node", running, "", []CanaryReport{report("a", "a2", -3, 0, false), report("b", "b2", -7, -6, true), report("c", "c1", -5, 0, false)}},
		{"no node", nil, "", []CanaryReport{report("a", "a2", -3, 0, false), report("b", "b2", -7, 0, false)}},
	} {
		if diff := cmp.Diff(c.want, canariesOf(found, c.running, CanaryQuery{ID: c.id}, now)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
	if diff := cmp.Diff([]CanaryReport{report("c", "c1", -5, 0, false)}, canariesOf(nil, running, CanaryQuery{ID: "c"}, now)); diff != "" {
		t.Errorf("one of them: -want +got\n%s", diff)
	}
	asked := CanaryQuery{ID: "a", Version: "a1", Since: at(-30), Until: at(-4)}
	if diff := cmp.Diff([]CanaryReport{report("a", "a1", -30, -4, true)}, canariesOf(found[:2], running, asked, now)); diff != "" {
		t.Errorf("an old version in a time that is chosen: -want +got\n%s", diff)
	}
	if none := canariesOf(nil, running, CanaryQuery{ID: "c", Version: "c0"}, now); len(none) > 0 {
		t.Errorf("another version than the one that runs: %v", none)
	}
}
