package pipeline_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// longest is a text as long as it may be, of characters that JSON makes six times as long.
func longest(text string, most int) []byte {
	return []byte(text + strings.Repeat("<", most-len(text)))
}

// What does not compress, as state hardly does, must not wait in a batch until that is
// larger than a topic takes.
func TestABatchThatDoesNotCompressFitsIntoAMessage(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	opts := append(pipeline.ProducerOptions(), kgo.ProducerLinger(200*time.Millisecond)) // all of them may share a batch
	cl, err := kgo.NewClient(append(opts, r.Seeds()...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	noise := rand.NewChaCha8([32]byte{1})
	records := make([]*kgo.Record, 10)
	for i := range records {
		value := make([]byte, 700<<10)
		noise.Read(value)
		records[i] = &kgo.Record{Topic: pipeline.TopicState, Key: []byte{byte(i)}, Value: value}
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestADetectionWithTheLongestNamesStopsTheAgentAndNothingElse(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	r.Detect(rig.Plan(t, loop("loop", "enforce")))
	calls := loopCalls("hostile", time.Now())
	for _, c := range calls {
		c.Resource, c.Action = longest("r", telemetry.DefaultMaxField), longest("a", telemetry.DefaultMaxField)
		c.Session = longest("s", telemetry.MaxName)
		for i := range telemetry.DefaultMaxChain {
			c.Chain = append(c.Chain, longest(fmt.Sprint("member-", i), telemetry.MaxName))
		}
	}
	r.Send(calls...)
	awaitDenied(t, g, "hostile")
	r.Send(loopCalls("after", time.Now())...)
	awaitDenied(t, g, "after")
	r.Judged()
	var agents []string
	for _, d := range r.Detections() {
		agents = append(agents, d.Agent)
	}
	if want := []string{"hostile", "after"}; !slices.Equal(agents, want) {
		t.Errorf("detections of %q, want %q", agents, want)
	}
}

// samplesIn counts the samples in the topic of features.
func samplesIn(t *testing.T, r *rig.Rig) int {
	t.Helper()
	samples := 0
	for _, record := range r.Records(pipeline.TopicFeatures) {
		var some []detector.Sample
		if err := json.Unmarshal(record.Value, &some); err != nil {
			t.Fatal(err)
		}
		samples += len(some)
	}
	return samples
}

func TestSamplesOfTheLongestNamesFitIntoRecords(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	role := r.Detect(rig.Plan(t, `id: baseline
title: Writes samples
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 1, slots: 1}
`))
	past := time.Now().Add(-24 * time.Hour)
	const agents, slots = 10, 60
	var calls []*telemetry.Call
	for i := range slots {
		for a := range agents {
			c := rig.Call("c", string(longest(fmt.Sprint("agent-", a), telemetry.MaxName)), "doc", past.Add(time.Duration(i)*2*time.Minute))
			c.Identity, c.Session = nil, nil
			calls = append(calls, c)
		}
	}
	r.Send(calls...)
	r.Judged()
	role.Stop()
	samples := samplesIn(t, r)
	if want := agents * (slots - 1); samples != want {
		t.Errorf("%d samples, want %d", samples, want)
	}
}

// A revocation bounds its reason, and a hard limit may be longer.
func TestAHardLimitLongerThanAReasonStopsAnAgent(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	text := strings.Replace(loop("long", "enforce"), "when: ", "when: >\n  ", 1)
	never := strings.Repeat("  or sum(bytes_out, 10s) > 1000000000000."+strings.Repeat("0", 250)+"\n", 10)
	r.Detect(rig.Plan(t, strings.Replace(text, "quiet:", never+"quiet:", 1)))
	r.Send(loopCalls("agent", time.Now())...)
	awaitDenied(t, g, "agent")
	r.Judged()
	for _, x := range r.Revocations() {
		if len(x.Reason) > revoke.MaxReason {
			t.Errorf("a reason of %d bytes", len(x.Reason))
		}
	}
}

// The options of clients are shared by all shards, which restore at the same time.
func TestAShardLeavesTheSharedOptionsAlone(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 4})
	shared := append(make([]kgo.Opt, 0, 8), r.Seeds()...)
	role := r.Detect(rig.Plan(t, loop("loop", "enforce")), func(o *pipeline.Options) { o.Kafka = shared })
	r.Send(loopCalls("agent", time.Now())...)
	r.Judged()
	role.Stop()
	for _, o := range shared[len(shared):cap(shared)] {
		if o != nil {
			t.Fatal("a shard wrote behind the options of all")
		}
	}
}
