package node_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// oneByte repeats a byte without end.
type oneByte byte

func (b oneByte) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestReplayPutsEachBadLineAsideAndSendsTheOthers(t *testing.T) {
	r := rig.New(t, rig.Options{})
	c := node.Default()
	c.Kafka.Brokers = r.Brokers
	good := func(n int) string {
		return string(telemetry.AppendJSON(nil, rig.Call(fmt.Sprint("good-", n), fmt.Sprint("agent-", n%7), "doc", time.Unix(1_770_000_000, int64(n))))) + "\n"
	}
	const huge = 50 << 20
	bad := []struct{ line, reason string }{
		{`{"ts":"2026-03-02T09:00:00Z","tenant":"t1","agent":7}` + "\n", telemetry.ReasonWrongType},
		{"no call at all\n", telemetry.ReasonBadJSON},
		{"", telemetry.ReasonTooLarge}, // the huge one
		{`{"ts":"2026-03-02T09:00:00Z","tenant":"t1","agent":""}` + "\n", telemetry.ReasonEmptyAgent},
		{"{\"ts\":\"2026-03-02T09:00:00Z\",\"tenant\":\"t1\",\"agent\":\"\xff\"}\n", telemetry.ReasonInvalidUTF8},
	}
	var parts []io.Reader
	lines := 1
	at := map[string]bool{} // the lines of the bad calls
	const between = 100
	for i, b := range bad {
		for n := range between {
			parts = append(parts, strings.NewReader(good(i*between+n)))
		}
		lines += between
		at[fmt.Sprint(lines)] = true
		if b.line == "" {
			parts = append(parts, strings.NewReader(`{"ts":"2026-03-02T09:00:00Z","tenant":"t1","agent":"`), io.LimitReader(oneByte('x'), huge), strings.NewReader("\"}\n"))
		}
		parts = append(parts, strings.NewReader(b.line))
		lines++
	}
	parts = append(parts, strings.NewReader(good(len(bad)*between)))
	done, err := node.Replay(t.Context(), c, io.MultiReader(parts...), node.ReplayOptions{Name: "calls.jsonl"}, r.Journal.Logger())
	if err != nil {
		t.Fatal(err)
	}
	if done.Calls != int64(len(bad)*between+1) || done.Bad != int64(len(bad)) {
		t.Errorf("%d calls and %d bad ones, want %d and %d", done.Calls, done.Bad, len(bad)*between+1, len(bad))
	}
	if n := len(r.Records(pipeline.TopicCalls)); n != len(bad)*between+1 {
		t.Errorf("%d calls in Kafka, want %d", n, len(bad)*between+1)
	}
	for _, rec := range r.Records(pipeline.TopicCalls) {
		if !bytes.HasPrefix(rec.Key, []byte("t1/agent-")) {
			t.Fatalf("a call under the key %q", rec.Key)
		}
	}
	dead := r.Records(pipeline.TopicDLQ)
	if len(dead) != len(bad) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(bad))
	}
	for i, d := range dead {
		if got := header(d, "reason"); got != bad[i].reason {
			t.Errorf("bad line %d: reason %q, want %q", i, got, bad[i].reason)
		}
		if header(d, "source-topic") != "calls.jsonl" || !at[header(d, "source-offset")] {
			t.Errorf("bad line %d: from %s line %s, want calls.jsonl and one of %v", i, header(d, "source-topic"), header(d, "source-offset"), at)
		}
		if line := strings.TrimSuffix(bad[i].line, "\n"); line != "" && string(d.Value) != line {
			t.Errorf("bad line %d: kept %q", i, d.Value)
		}
		if len(d.Value) == 0 {
			t.Errorf("bad line %d: nothing of it is kept", i)
		}
	}
}
