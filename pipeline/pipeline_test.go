package pipeline_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { rig.Main(m) }

// breachAt is the number of the call with which an agent breaks the loop detector.
const breachAt = 4

// loop fires at an agent's fourth call within ten seconds of the calls' own time.
func loop(id, mode string) string {
	return fmt.Sprintf(`id: %s
title: More calls than an agent of these tests ever makes
severity: high
mode: %s
group_by: agent
when: count(calls, 10s) > %d
quiet: 1s
response: {action: revoke, scope: agent, for: 15m}
`, id, mode, breachAt-1)
}

// loopCalls are the calls with which an agent breaks the loop detector, at the last.
func loopCalls(agent string, at time.Time) []*telemetry.Call {
	var calls []*telemetry.Call
	for i := range breachAt {
		calls = append(calls, rig.Call(fmt.Sprintf("%s-%d", agent, i), agent, "doc-1", at.Add(time.Duration(i)*time.Millisecond)))
	}
	return calls
}

func guardCall(agent string) *guard.Call { return &guard.Call{Tenant: "t1", Agent: agent} }

// awaitDenied polls the guard until it denies the agent.
func awaitDenied(t testing.TB, g *guard.Guard, agent string) guard.Decision {
	t.Helper()
	var d guard.Decision
	rig.Await(t, time.Minute, func() error {
		if d = g.Check(guardCall(agent)); d.Verdict != guard.Deny {
			return fmt.Errorf("%s may call: %v", agent, d.Verdict)
		}
		return nil
	})
	return d
}

// latencyOf breaks the loop detector as agent and returns the time from just before the
// append of the breaking call until the guard denies.
func latencyOf(t testing.TB, r *rig.Rig, g *guard.Guard, agent string) time.Duration {
	t.Helper()
	calls := loopCalls(agent, time.Now())
	r.Send(calls[:breachAt-1]...)
	lost := make(chan error, 1)
	c := guardCall(agent)
	start := time.Now()
	r.Produce(rig.Record(calls[breachAt-1]), func(err error) { lost <- err })
	for g.Check(c).Verdict != guard.Deny {
		select {
		case err := <-lost:
			t.Fatal(err)
		case <-time.After(50 * time.Microsecond):
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%s is never denied", agent)
		}
	}
	return time.Since(start)
}

// quantile returns a quantile of durations, which it sorts.
func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(q*float64(len(ds))))]
}

func ids[T any](all []T, id func(T) string) map[string]int {
	counts := map[string]int{}
	for _, v := range all {
		counts[id(v)]++
	}
	return counts
}

func detectionIDs(ds []detector.Detection) map[string]int {
	return ids(ds, func(d detector.Detection) string { return d.ID })
}

func TestABreachIsDeniedAcknowledgedAndKeptOnTheEmbeddedEngines(t *testing.T) {
	r := rig.New(t, rig.Options{ClickHouse: true})
	r.Acks()
	r.Archive()
	r.Detect(rig.Plan(t, loop("loop", "enforce"), `id: shared
title: An identity makes more calls than its agents do
mode: alert
group_by: identity
when: count(calls, 10s) > 3
`, `id: baseline
title: A baseline that writes samples
mode: observe
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 1, slots: 1}
`))
	g := r.Guard("gate-1")
	if v := g.Check(guardCall("agent-0")).Verdict; v != guard.Allow {
		t.Fatalf("an honest agent gets %v", v)
	}
	const agents = 40
	var latencies []time.Duration
	for i := range agents {
		latencies = append(latencies, latencyOf(t, r, g, fmt.Sprintf("agent-%d", i)))
	}
	if v := g.Check(guardCall("somebody-else")).Verdict; v != guard.Allow {
		t.Errorf("an agent that did nothing gets %v", v)
	}
	t.Logf("append to denied, %d kills: p50 %v p99 %v", agents, quantile(latencies, 0.5), quantile(latencies, 0.99))
	if p50 := quantile(latencies, 0.5); p50 > slower*50*time.Millisecond {
		t.Errorf("p50 from append to denied is %v", p50)
	}
	// Slots that have passed are sampled, and a minute of the calls' own time lies between samples.
	past := time.Now().Add(-time.Hour)
	for i := range 4 {
		r.Send(rig.Call(fmt.Sprint("slow-", i), "slow", "doc-2", past.Add(time.Duration(i)*10*time.Minute)))
	}
	r.Judged()

	revocations := r.Revocations()
	if n := len(revocations); n != agents {
		t.Errorf("%d revocations in Kafka, want %d", n, agents)
	}
	for _, rev := range revocations {
		if d := g.Check(guardCall(rev.Subject)); d.Revocation == nil || d.Revocation.ID != rev.ID {
			t.Errorf("the guard denies %q by %v, Kafka has %s", rev.Subject, d.Revocation, rev.ID)
		}
	}
	byDetector := ids(r.Detections(), func(d detector.Detection) string { return d.Detector })
	if byDetector["loop"] != agents || byDetector["shared"] != agents {
		t.Errorf("detections %v, want %d of loop and of shared", byDetector, agents)
	}
	// A guard that reads a revocation from the stream before it hears it acknowledges twice; acks_once shows one.
	rig.Await(t, time.Minute, func() error {
		acks := slices.DeleteFunc(rig.Read[revoke.Ack](t, r, pipeline.TopicAcks), revoke.Ack.Report)
		if n := len(ids(acks, func(a revoke.Ack) string { return a.Revocation })); n != agents {
			return fmt.Errorf("acknowledgements of %d revocations, want %d", n, agents)
		}
		return nil
	})
	rig.Await(t, 2*time.Minute, func() error { return r.Lag(archive.DefaultGroup, archive.Topics()...) })
	for table, want := range map[string]uint64{
		"calls": agents*breachAt + 4, "detections": 2 * agents, "revocations": agents, "acks_once": agents,
	} {
		if n := r.Number("SELECT count() FROM " + table); n != want {
			t.Errorf("%d rows in %s, want %d", n, table, want)
		}
	}
	if n := r.Number("SELECT count() FROM features WHERE detector = 'baseline' AND entity = 'slow'"); n == 0 {
		t.Error("no samples of features")
	}
	if n := r.Number("SELECT sum(calls) FROM access_edges WHERE kind = 'resource'"); n != agents*breachAt+4 {
		t.Errorf("the edges to resources count %d calls, want %d", n, agents*breachAt+4)
	}
	if n := r.Number("SELECT countIf(revocation != '') FROM detections WHERE detector = 'loop'"); n != agents {
		t.Errorf("%d detections name their revocation, want %d", n, agents)
	}
}
