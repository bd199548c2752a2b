package archive

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

func recordOf(t *testing.T, topic string, v any) *kgo.Record {
	t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Value: value}
}

func TestChangesAreReadNewestFirstAndEachOnce(t *testing.T) {
	r := newRig(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	added := detector.ChangeRecord{
		ID: "1", Number: 1, Time: start, Node: "host", Detector: "a", Kind: "added", File: "own/a.yaml", VersionNow: "v1", ModeNow: "alert",
		Author:   detector.Author{By: "Ada <ada@example.org>", From: detector.FromGit, Commit: "c0ffee"},
		Keys:     []detector.KeyChange{},
		Document: detector.Document{Text: "id: a\n", Lists: []detector.List{{Name: "l.txt", File: "own/l.txt", Hash: "00", Text: "x\n"}}},
	}
	changed := added
	changed.ID, changed.Number, changed.Time, changed.Kind, changed.Cut = "2", 2, start.Add(time.Hour), "changed", true
	changed.VersionBefore, changed.VersionNow, changed.ModeBefore, changed.ModeNow = "v1", "v2", "alert", "enforce"
	changed.Keys = []detector.KeyChange{{Key: "mode", Kind: "changed", Before: "alert", Now: "enforce"}}
	changed.Diff = "-mode: alert\n+mode: enforce\n"
	other := detector.ChangeRecord{ID: "3", Number: 1, Time: start.Add(time.Minute), Detector: "b", Canary: true, Kind: "removed", Keys: []detector.KeyChange{}}
	again := changed // seen by another process, a little later
	again.Node, again.Time = "other", changed.Time.Add(time.Second)
	for _, c := range []detector.ChangeRecord{added, other, changed, again} {
		r.send(recordOf(t, TopicChanges, c))
	}
	r.start(nil, hooks{})
	r.caughtUp(TopicChanges)

	for _, c := range []struct {
		name string
		q    ChangesQuery
		want []detector.ChangeRecord
	}{
		{"all", ChangesQuery{}, []detector.ChangeRecord{changed, other, added}},
		{"of one detector", ChangesQuery{Detector: "a"}, []detector.ChangeRecord{changed, added}},
		{"since", ChangesQuery{Since: start.Add(time.Minute)}, []detector.ChangeRecord{changed, other}},
		{"since ever", ChangesQuery{Since: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)}, []detector.ChangeRecord{changed, other, added}},
		{"the last", ChangesQuery{Most: 1}, []detector.ChangeRecord{changed}},
		{"of none", ChangesQuery{Detector: "c"}, []detector.ChangeRecord{}},
	} {
		got, err := NewReader(r.store).Changes(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

func TestADetectionIsReadAsItWasWritten(t *testing.T) {
	r := newRig(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	want := detector.Detection{
		ID: "x", Time: at, Detector: "d", Version: "v", Canary: true, Mode: "observe", Severity: "high", Tags: []string{"a"}, Tenant: "t",
		EntityBy: "agent", Entity: "e", Agent: "e", Identity: "i", Session: "s", Action: "get", Resource: "r", Chain: []string{"e"},
		CallID: "c", Topic: TopicCalls, Partition: 1, Offset: 2, Reason: "evidence", LogEvidence: 5, LogLevel: 4, Budget: "b", FirstBad: "f",
		Features: []detector.Sample{{Time: at, Feature: "count(calls, 10s)", Observed: 9}},
		Signs:    []detector.Sign{{ID: "y", Detector: "e", Time: at}, {ID: "z", Detector: "f", Time: at}},
		Graph:    &detector.Graph{Depth: 2}, Step: 3, Revocation: "rev",
	}
	plain := detector.Detection{ID: "plain", Time: at, Tags: []string{}, Chain: []string{}}
	r.send(recordOf(t, TopicDetections, want), recordOf(t, TopicDetections, plain))
	r.start(nil, hooks{})
	r.caughtUp(TopicDetections)
	for _, want := range []detector.Detection{want, plain} {
		got, ok, err := NewReader(r.store).Detection(t.Context(), want.ID)
		if err != nil || !ok {
			t.Fatalf("detection %q: found %v, %v", want.ID, ok, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("detection %q: -want +got\n%s", want.ID, diff)
		}
	}
}
