package emit_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/freeport"
	"github.com/estop-project/estop/pipeline/embedded/kafka"
	"github.com/estop-project/estop/pipeline/gate/emit"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// broker is a Kafka with the topics of estop.
func broker(t *testing.T) []kgo.Opt {
	t.Helper()
	b, err := kafka.Start(kafka.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop() })
	opts := []kgo.Opt{kgo.SeedBrokers(b.Addrs()...)}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := pipeline.EnsureTopics(t.Context(), cl, 2, 1); err != nil {
		t.Fatal(err)
	}
	return opts
}

func read(t *testing.T, opts []kgo.Opt, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(pipeline.TopicCalls))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Records()...)
	}
	return all
}

func count(t *testing.T, r *prometheus.Registry, name, reason string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (reason == "" || m.Label[0].GetValue() == reason) {
				return m.Counter.GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, reason)
	return 0
}

func closeIn(t *testing.T, e *emit.Emitter, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return e.Close(ctx)
}

func TestACallArrivesAsItWasUnderItsAgentsKey(t *testing.T) {
	kafka := broker(t)
	registry := prometheus.NewRegistry()
	e, err := emit.New(emit.Options{Kafka: kafka, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	want := telemetry.Call{
		ID: []byte("1"), Time: time.Now().UnixNano(), Tenant: []byte("a/b"), Agent: []byte("bot"), Identity: []byte("role"),
		Session: []byte("s"), Chain: [][]byte{[]byte("root"), []byte("bot")}, Action: []byte("GET"), Resource: []byte("/x"),
		Outcome: telemetry.OutcomeDenied, Latency: time.Second, BytesIn: 1, BytesOut: 2, Traceparent: []byte("00-1-2-3"),
	}
	e.Emit(&want)
	if err := closeIn(t, e, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	r := read(t, kafka, 1)[0]
	if string(r.Key) != "a%2Fb/bot" {
		t.Errorf("key %q", r.Key)
	}
	if diff := cmp.Diff(&want, decode(t, r), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if n := count(t, registry, "estop_gate_calls_sent_total", ""); n != 1 {
		t.Errorf("%v calls counted", n)
	}
}

func decode(t *testing.T, r *kgo.Record) *telemetry.Call {
	t.Helper()
	var d telemetry.Decoder
	var c telemetry.Call
	format, _ := telemetry.FormatOf(string(r.Headers[0].Value))
	d.Start(format, r.Value)
	if err := d.Next(&c); err != nil {
		t.Fatalf("%v: %s", err, r.Value)
	}
	return c.Clone()
}

func TestWhatAGateSawIsACall(t *testing.T) {
	kafka := broker(t)
	e, err := emit.New(emit.Options{Kafka: kafka})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	e.Seen(gate.Seen{
		Call: guard.Call{
			Tenant: "acme", Agent: "bot", Identity: "role", Session: "s", Chain: []string{"root", "bot"}, Resource: "/x", Action: "GET",
		},
		Time: now, Outcome: gate.Failed, Latency: time.Second, BytesIn: 1, BytesOut: 2, Traceparent: "00-1", Revocation: "r1", Kind: "http",
	})
	if err := closeIn(t, e, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	got := decode(t, read(t, kafka, 1)[0])
	want := &telemetry.Call{
		ID: got.ID, Time: now.UnixNano(), Tenant: []byte("acme"), Agent: []byte("bot"), Identity: []byte("role"), Session: []byte("s"),
		Chain: [][]byte{[]byte("root"), []byte("bot")}, Action: []byte("GET"), Resource: []byte("/x"), Outcome: telemetry.OutcomeError,
		Latency: time.Second, BytesIn: 1, BytesOut: 2, Traceparent: []byte("00-1"),
		Context: []telemetry.Pair{{Key: []byte("gate"), Value: []byte("http")}, {Key: []byte("revocation"), Value: []byte("r1")}},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.ID) != 36 {
		t.Error(diff, string(got.ID))
	}
}

func TestAnAgentCannotHideACallByNamesThatCannotBeRead(t *testing.T) {
	kafka := broker(t)
	e, err := emit.New(emit.Options{Kafka: kafka})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("é", telemetry.DefaultMaxField)
	resources := []string{"/a\x00b", "/\xff", long, "/" + long, "/\"\\\n"}
	for _, resource := range resources {
		e.Emit(&telemetry.Call{Time: 1, Tenant: []byte("acme"), Agent: []byte("bot"), Resource: []byte(resource)})
	}
	if err := closeIn(t, e, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, r := range read(t, kafka, len(resources)) {
		if c := decode(t, r); len(c.Resource) == 0 {
			t.Errorf("no resource: %s", r.Value)
		}
	}
}

func TestACallThatNobodyCouldStopIsCountedAndNotSent(t *testing.T) {
	kafka := broker(t)
	registry := prometheus.NewRegistry()
	e, err := emit.New(emit.Options{Kafka: kafka, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	long := []byte(strings.Repeat("x", telemetry.MaxName+1))
	e.Emit(&telemetry.Call{Tenant: []byte("acme")})
	e.Emit(&telemetry.Call{Agent: []byte("bot")})
	e.Emit(&telemetry.Call{Tenant: []byte("acme"), Agent: long})
	e.Emit(&telemetry.Call{Tenant: []byte("acme"), Agent: []byte("bot"), Chain: [][]byte{long}})
	if err := closeIn(t, e, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := count(t, registry, "estop_gate_calls_dropped_total", "bad"); n != 4 {
		t.Errorf("%v dropped, want 4", n)
	}
}

func TestWithoutKafkaNothingWaitsAndMemoryIsBounded(t *testing.T) {
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	nobody := []kgo.Opt{kgo.SeedBrokers(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))}
	e, err := emit.New(emit.Options{Kafka: nobody, MaxCalls: 10, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 1000 {
		e.Emit(&telemetry.Call{Time: 1, Tenant: []byte("acme"), Agent: []byte("bot")})
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("1000 calls took %v", took)
	}
	if err := closeIn(t, e, 100*time.Millisecond); err == nil {
		t.Error("the calls got to Kafka, which is not there")
	}
	full, failed := count(t, registry, "estop_gate_calls_dropped_total", "full"), count(t, registry, "estop_gate_calls_dropped_total", "failed")
	if full != 990 || failed != 10 {
		t.Errorf("%v found no room and %v failed, want 990 and 10", full, failed)
	}
}

// FuzzText: whatever an agent calls things, a decoder reads the call.
func FuzzText(f *testing.F) {
	f.Add([]byte("/a\x00b"))
	f.Add([]byte("\xff\xfe"))
	f.Add([]byte(strings.Repeat("é", telemetry.DefaultMaxField)))
	f.Add([]byte(strings.Repeat("\xf0\x9f", telemetry.DefaultMaxField/2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		value := telemetry.AppendJSON(nil, &telemetry.Call{Time: 1, Tenant: []byte("acme"), Agent: []byte("bot"), Resource: emit.Text(b)})
		var d telemetry.Decoder
		var c telemetry.Call
		d.Start(telemetry.JSON, value)
		if err := d.Next(&c); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if len(b) > 0 && len(c.Resource) == 0 {
			t.Fatalf("%q is gone", b)
		}
	})
}
