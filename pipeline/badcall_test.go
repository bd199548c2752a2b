package pipeline_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func gzipOf(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// badCall is bytes that are no call, and why.
type badCall struct {
	name, contentType string
	value             []byte
	reason            string
}

func badCalls(t testing.TB) []badCall {
	const head = `{"ts":"2026-03-02T09:00:00Z","tenant":"t1",`
	deep := head + `"agent":"a","chain":["` + strings.Repeat(`x","`, 1000) + `a"]}`
	bomb := gzipOf(t, bytes.Repeat([]byte(" "), 64<<20))
	return []badCall{
		{"truncated JSON", telemetry.ContentTypeJSON, []byte(head + `"agent":"a","action":"re`), telemetry.ReasonTruncatedJSON},
		{"a number for a text", telemetry.ContentTypeJSON, []byte(head + `"agent":7}`), telemetry.ReasonWrongType},
		{"invalid UTF-8", telemetry.ContentTypeJSON, []byte(head + "\"agent\":\"a\xff\"}"), telemetry.ReasonInvalidUTF8},
		{"a time before 1970", telemetry.ContentTypeJSON, []byte(`{"ts":-5,"tenant":"t1","agent":"a"}`), telemetry.ReasonNegativeTime},
		{"no agent", telemetry.ContentTypeJSON, []byte(head + `"agent":""}`), telemetry.ReasonEmptyAgent},
		{"a chain 1,000 deep", telemetry.ContentTypeJSON, []byte(deep), telemetry.ReasonChainTooDeep},
		{"a gzip bomb", telemetry.ContentTypeJSON, bomb, telemetry.ReasonGzipBomb},
		{"bad protobuf", telemetry.ContentTypeProtobuf, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, telemetry.ReasonBadProtobuf},
		{"null bytes", telemetry.ContentTypeJSON, []byte(head + `"agent":"a\u0000b"}`), telemetry.ReasonNullByte},
		{"noise", "", []byte("\x00\x01\x02 what is this"), telemetry.ReasonUnknownFormat},
		{"no bytes", "", nil, telemetry.ReasonEmpty},
		{"nearly as large as Kafka takes", telemetry.ContentTypeJSON, bytes.Repeat([]byte("x"), 900_000), telemetry.ReasonBadJSON},
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestEveryKindOfBadCallIsKeptWithItsReasonAndStopsNothing(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	role := r.Detect(rig.Plan(t, loop("loop", "enforce")))
	bad := badCalls(t)
	for i, b := range bad {
		record := &kgo.Record{Topic: pipeline.TopicCalls, Key: []byte("t1/a"), Value: b.value}
		if b.contentType != "" {
			record.Headers = []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(b.contentType)}}
		}
		r.SendRecords(record)
		// A good call behind each bad one is still judged.
		agent := fmt.Sprint("after-", i)
		r.Send(loopCalls(agent, time.Now())...)
		awaitDenied(t, g, agent)
	}
	r.Judged()
	dead := r.Records(pipeline.TopicDLQ)
	if len(dead) != len(bad) {
		t.Fatalf("%d dead letters of %d bad calls", len(dead), len(bad))
	}
	for i, b := range bad {
		d := dead[i]
		if got := header(d, "reason"); got != b.reason {
			t.Errorf("%s: reason %q, want %q", b.name, got, b.reason)
		}
		if !bytes.Equal(d.Value, b.value) {
			t.Errorf("%s: %d bytes are kept, which are not the %d that came", b.name, len(d.Value), len(b.value))
		}
		place := header(d, "source-topic") + "/" + header(d, "source-partition") + "@" + header(d, "source-offset")
		if want := fmt.Sprintf("%s/0@%d", pipeline.TopicCalls, i*(breachAt+1)); place != want {
			t.Errorf("%s: from %s, want %s", b.name, place, want)
		}
	}
	if n := role.Metric("estop_detect_dead_letters_total"); n != float64(len(bad)) {
		t.Errorf("%v bad calls are counted, want %d", n, len(bad))
	}
	if len(r.Revocations()) != len(bad) {
		t.Errorf("%d revocations, want %d", len(r.Revocations()), len(bad))
	}
}

// Kafka bounds a batch as it is compressed, so a record can be far larger than any topic
// takes uncompressed. It must not stop the shard.
func TestABadCallLargerThanATopicTakesStopsNothing(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	r.Detect(rig.Plan(t, loop("loop", "enforce")))
	big, err := kgo.NewClient(append(r.Seeds(), kgo.ProducerBatchMaxBytes(64<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	zeros := &kgo.Record{Topic: pipeline.TopicCalls, Key: []byte("t1/a"), Value: bytes.Repeat([]byte("0"), 20<<20)}
	headers := &kgo.Record{Topic: pipeline.TopicCalls, Key: []byte("t1/a"), Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: "h", Value: bytes.Repeat([]byte("0"), 20<<20)}}}
	for _, record := range []*kgo.Record{zeros, headers} {
		if err := big.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.Send(loopCalls("after", time.Now())...)
	awaitDenied(t, g, "after")
	r.Judged()
	dead := r.Records(pipeline.TopicDLQ)
	if len(dead) != 2 {
		t.Fatalf("%d dead letters, want 2", len(dead))
	}
	if n := header(dead[0], "source-size"); n != fmt.Sprint(20<<20) || len(dead[0].Value) == 0 || !bytes.HasPrefix(zeros.Value, dead[0].Value) {
		t.Errorf("kept %d bytes, source-size %q; want a beginning, and the size of all", len(dead[0].Value), n)
	}
}

func TestUnknownFieldsPassAndAreCounted(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	role := r.Detect(rig.Plan(t, loop("loop", "enforce")))
	for _, c := range loopCalls("new-field", time.Now()) {
		record := rig.Record(c)
		record.Value = append([]byte(`{"mood":{"is":["good"]},`), record.Value[1:]...)
		r.SendRecords(record)
	}
	awaitDenied(t, g, "new-field")
	r.Judged()
	if n := role.Metric("estop_detect_unknown_fields_total"); n != breachAt {
		t.Errorf("%v unknown fields are counted, want %d", n, breachAt)
	}
	if n := len(r.Records(pipeline.TopicDLQ)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestCallsFromTheFutureAreHeldAndCounted(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	role := r.Detect(rig.Plan(t, loop("loop", "enforce")))
	// A year apart, were they believed: held to the bound they stand together.
	for i, c := range loopCalls("traveller", time.Now()) {
		c.Time += int64(time.Duration(i+1) * 365 * 24 * time.Hour)
		r.Send(c)
	}
	awaitDenied(t, g, "traveller")
	r.Judged()
	if n := role.Metric("estop_detect_calls_ahead_total"); n != breachAt {
		t.Errorf("%v calls are counted as ahead, want %d", n, breachAt)
	}
	for _, d := range r.Detections() {
		if d.Time.After(time.Now().Add(2 * time.Minute)) {
			t.Errorf("the detection is of %v", d.Time)
		}
	}
}

// A history that is replayed closes very many slots at once: their samples must fit into
// records that Kafka takes.
func TestManySamplesAtOnceFitIntoRecords(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	role := r.Detect(rig.Plan(t, `id: baseline
title: Writes samples
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 1, slots: 1}
`), func(o *pipeline.Options) { o.CheckpointEvery = time.Minute })
	past := time.Now().Add(-40 * 24 * time.Hour)
	const agents, slots = 100, 600
	var calls []*telemetry.Call
	for i := range slots {
		for a := range agents {
			calls = append(calls, rig.Call("c", fmt.Sprint("agent-", a), "doc", past.Add(time.Duration(i)*2*time.Minute)))
		}
	}
	r.Send(calls...)
	rig.Await(t, time.Minute, func() error {
		if n := role.Metric("estop_detect_records_total"); n < agents*slots {
			return fmt.Errorf("%v records of %d", n, agents*slots)
		}
		return nil
	})
	role.Stop()
	samples := samplesIn(t, r)
	if want := agents * (slots - 1); samples != want {
		t.Errorf("%d samples, want %d", samples, want)
	}
}
