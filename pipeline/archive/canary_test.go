package archive

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

func TestACanaryIsComparedWithTheLiveDetectorOfItsID(t *testing.T) {
	r := newRig(t)
	start := time.Now().UTC().Truncate(time.Millisecond).Add(-24 * time.Hour) // of the canary, by Kafka's clock
	ids := 0
	fired := func(canary bool, version, entity string, after time.Duration) *kgo.Record {
		ids++
		value, err := json.Marshal(detector.Detection{
			ID: string(rune('a' + ids)), Time: start.Add(after), Detector: "pace", Version: version, Canary: canary,
			Tenant: "t", EntityBy: "agent", Entity: entity, Agent: entity,
		})
		if err != nil {
			t.Fatal(err)
		}
		return &kgo.Record{Topic: TopicDetections, Value: value, Timestamp: start.Add(after)}
	}
	const live, tried = false, true
	first := fired(tried, "new", "both", 0)
	r.send(
		fired(live, "old", "early", -time.Hour),
		fired(live, "old", "early", -time.Minute), // before the canary was there
		fired(live, "old", "both", -time.Second),  // the same breach, a call before
		first, first,                              // said again after a restart
		fired(live, "old", "far", time.Minute),
		fired(tried, "new", "far", time.Minute+Together+time.Second), // too late to be the same breach
		fired(tried, "new", "twice", time.Hour),
		fired(live, "old", "twice", time.Hour+Together),
		fired(live, "old", "twice", time.Hour+Together+time.Second), // its pair has another half already
		fired(tried, "older", "far", time.Minute),                   // of another version
		fired(live, "old", "late", 5*time.Hour),
	)
	r.start(nil, hooks{})
	r.caughtUp(TopicDetections)

	reader := NewReader(r.store)
	all, err := reader.Canaries(t.Context(), "pace")
	if err != nil {
		t.Fatal(err)
	}
	at := func(after time.Duration) time.Time { return start.Add(after) }
	want := []Canary{{"pace", "older", at(time.Minute), at(time.Minute)}, {"pace", "new", start, at(time.Hour)}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Fatalf("Canaries: -want +got\n%s", diff)
	}
	if none, err := reader.Canaries(t.Context(), "other"); err != nil || len(none) > 0 {
		t.Errorf("Canaries of another id: %v, %v", none, err)
	}
	for _, c := range []struct {
		until time.Time
		want  Comparison
	}{
		{at(2 * time.Hour), Comparison{OnlyLive: 2, OnlyCanary: 1, Both: 2, LiveAgents: 3, CanaryAgents: 3}},
		{at(6 * time.Hour), Comparison{OnlyLive: 3, OnlyCanary: 1, Both: 2, LiveAgents: 4, CanaryAgents: 3}},
	} {
		asked := Canary{"pace", "new", start, c.until}
		c.want.Canary = asked
		got, err := reader.Compare(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("until %v: -want +got\n%s", c.until.Sub(start), diff)
		}
	}
}
