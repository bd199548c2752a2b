package changes

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

// Whoever may write to the topic must not stop those who read it.
func FuzzARecordOfAChangeNeverBreaksItsReader(f *testing.F) {
	good, err := json.Marshal(detector.ChangeRecord{
		ID: "1", Number: 7, Detector: "a", Kind: "changed", File: "own/a.yaml", VersionNow: "v", ModeNow: "alert",
		Document: detector.Document{Text: "id: a\nmode: [x, {y: z}]", Lists: []detector.List{{Name: "l.txt", Hash: "0", Text: "x"}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"detector":"a","kind":"removed","number":-1}`))
	f.Add([]byte(`{"detector":"a","canary":true,"text":"a: &a [*a]\n---\n\t"}`))
	is := state{id: "a", file: "own/a.yaml", there: true, version: "now", mode: "alert", doc: detector.Document{Text: text("a", "alert")}}
	f.Fuzz(func(t *testing.T, value []byte) {
		l := &log{warn: slog.New(slog.DiscardHandler), next: map[int32]int64{}, state: map[string]state{}}
		l.read(&kgo.Record{Value: value})
		for key, was := range l.state {
			c := change(was, is)
			if c.Number <= was.number && was.number < 1<<62 || len(c.Keys) > maxKeys || len(c.Diff) > maxText {
				t.Errorf("after %s: number %d, %d keys, difference of %d bytes", key, c.Number, len(c.Keys), len(c.Diff))
			}
			change(was, state{})
		}
	})
}
