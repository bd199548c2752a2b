package pipeline_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// shared fires for an identity at the call at which loop fires for its agent.
const shared = `id: shared
title: An identity makes more calls than its agents do
group_by: identity
when: count(calls, 10s) > 3
`

// together is a correlation by tenant of loop and shared.
func together(id, mode, condition string) string {
	return fmt.Sprintf(`id: %s
title: Many go bad together
mode: %s
group_by: tenant
correlation: {of: [loop, shared], within: 6h, condition: %s}
response: {action: revoke, scope: agent, for: 15m}
quiet: 12h
`, id, mode, condition)
}

// made returns the detections of a detector, one of each id.
func made(found []detector.Detection, by string) []detector.Detection {
	var all []detector.Detection
	for _, d := range found {
		if d.Detector == by && !slices.ContainsFunc(all, func(o detector.Detection) bool { return o.ID == d.ID }) {
			all = append(all, d)
		}
	}
	return all
}

// All signs of all agents make one detection, which would be missing if one were lost; one more than
// there are make another, which would be there if one counted twice.
func TestCorrelationsAcrossPartitionsLoseAndDoubleNothingOverCrashes(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 4})
	const agents = 48
	plan := rig.Plan(t, loop("loop", "observe"), shared,
		together("all", "enforce", fmt.Sprintf(`{count: ">= %d"}`, 2*agents)),
		together("one-more", "alert", fmt.Sprintf(`{count: ">= %d"}`, 2*agents+1)))
	random := rand.New(rand.NewPCG(1, 2))
	start := func() *rig.Detect {
		every := []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, time.Hour}[random.IntN(3)]
		return r.Detect(plan, func(o *pipeline.Options) { o.CheckpointEvery = every })
	}
	crash := errors.New("crash")
	role := start()
	begin := time.Now()
	for i := range agents {
		for _, c := range loopCalls(fmt.Sprint("agent-", i), begin) {
			r.Produce(rig.Record(c), func(err error) { t.Errorf("a call is lost: %v", err) })
		}
		if i%6 == 5 {
			r.Flush()
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			role.Crash(crash)
			if err := role.Wait(); !errors.Is(err, crash) {
				t.Fatalf("the role ended with %v", err)
			}
			role = start()
		}
	}
	r.Flush()
	role.Stop()
	r.Detect(plan)
	r.Judged()
	r.Judged() // what the exchange sends to itself
	found := r.Detections()
	all := made(found, "all")
	if len(all) != 1 || len(made(found, "one-more")) != 0 {
		t.Fatalf("%d detections of all signs, want 1, and %d of one more, want 0", len(all), len(made(found, "one-more")))
	}
	if n := len(ids(all[0].Signs, func(s detector.Sign) string { return s.ID })); n != 2*agents {
		t.Errorf("it is made of %d different signs, want %d", n, 2*agents)
	}
	known := detectionIDs(found)
	for _, s := range all[0].Signs {
		if known[s.ID] == 0 {
			t.Errorf("sign %s is no detection", s.ID)
		}
	}
	// Whom it stops is the agent of the last call alone, although the entity is the tenant.
	revoked := ids(r.Revocations(), func(x revoke.Record) string { return string(x.Scope) + " " + x.Subject })
	if len(revoked) != 1 || revoked["agent "+all[0].Agent] == 0 {
		t.Errorf("revoked are %v, want agent %s alone", revoked, all[0].Agent)
	}
	repeated := 0
	for _, n := range known {
		repeated += n - 1
	}
	t.Logf("%d different detections, %d repeated over the crashes, %d records of the exchange", len(known), repeated, len(r.Records(pipeline.TopicExchange)))
	if repeated == 0 {
		t.Error("no crash came between an output and its commit: the test shows nothing")
	}
}

func TestABacktestCorrelatesAsTheNodeDoes(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	plan := rig.Plan(t, loop("loop", "observe"), shared,
		together("three", "alert", `{distinct: {field: agent, count: ">= 3"}}`),
		together("in-order", "alert", `ordered`), `id: root
title: An agent of a chain after its identity
group_by: chain_root
correlation: {of: [shared, loop], within: 1h, condition: temporal}
quiet: 1s
`, `id: own
title: Back to the agent
group_by: agent
correlation: {of: [shared, loop], within: 1h, condition: temporal}
quiet: 1s
`)
	r.Detect(plan)
	begin := time.Now().Add(-time.Hour)
	for i := range 6 {
		calls := loopCalls(fmt.Sprint("agent-", i), begin.Add(time.Duration(i)*time.Minute))
		for _, c := range calls {
			c.Tenant = fmt.Append(nil, "t", i%2)
			c.Chain = [][]byte{[]byte("root"), c.Agent}
		}
		r.Send(calls...)
		r.Judged() // else calls of the next agent may overtake what the exchange sends to itself
		r.Judged()
	}
	var want []detector.Detection
	runner := backtest.NewRunner(plan, shard.Options{})
	var decoder telemetry.Decoder
	var call telemetry.Call
	for _, record := range r.Records(pipeline.TopicCalls) {
		decoder.Start(telemetry.JSON, record.Value)
		if err := decoder.Next(&call); err != nil {
			t.Fatal(err)
		}
		for _, d := range runner.Call(&call) {
			want = append(want, d.Detection)
		}
	}
	got := r.Detections()
	byDetector := ids(want, func(d detector.Detection) string { return d.Detector })
	if diff := cmp.Diff(map[string]int{"loop": 6, "shared": 6, "three": 2, "in-order": 2, "root": 6, "own": 6}, byDetector); diff != "" {
		t.Errorf("detections of the backtest:\n%s", diff)
	}
	sorted := cmpopts.SortSlices(func(a, b detector.Detection) bool { return a.ID < b.ID })
	if diff := cmp.Diff(want, got, sorted, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the node differs from the backtest:\n%s", diff)
	}
}

// A call can lead to more detections than one record is to hold.
func TestAllSignsOfOneCallComeAcross(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	const detectors = 70
	var text strings.Builder
	for i := range detectors {
		fmt.Fprintf(&text, "id: sign-%d\ntitle: A sign\ntags: [weak.sign]\nwhen: count(calls, 1s) >= 1\nquiet: 1h\n---\n", i)
	}
	fmt.Fprintf(&text, `id: all
title: All signs
group_by: tenant
correlation: {of: weak.sign, within: 1h, condition: {distinct: {field: detector, count: ">= %d"}}}
`, detectors)
	r.Detect(rig.Plan(t, text.String()))
	r.Send(rig.Call("call-1", "a", "doc", time.Now()))
	r.Judged()
	all := made(r.Detections(), "all")
	if len(all) != 1 || len(all[0].Signs) != detectors {
		t.Fatalf("found %+v", all)
	}
	if n := len(r.Records(pipeline.TopicExchange)); n != 3 {
		t.Errorf("%d records of the exchange, want 3 parts", n)
	}
}
