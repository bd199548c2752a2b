package pipeline_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// spree knows an agent after an hour of the calls' own time, and fires when it turns to
// resources that it never used.
const spree = `id: spree
title: New resources
severity: high
mode: enforce
group_by: agent
baseline: [{feature: new(resource)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 20}
response: {action: revoke, scope: agent, for: 15m}
`

// habits are two hours of an agent that uses two resources.
func habits(agent string, until time.Time) []*telemetry.Call {
	var calls []*telemetry.Call
	for i := range 720 {
		calls = append(calls, rig.Call(fmt.Sprintf("%s-habit-%d", agent, i), agent, fmt.Sprint("doc-", i%2), until.Add(-2*time.Hour+time.Duration(i)*10*time.Second)))
	}
	return calls
}

// crawl is an agent that reads one new resource after another.
func crawl(agent string, n int, at time.Time) []*telemetry.Call {
	var calls []*telemetry.Call
	for i := range n {
		calls = append(calls, rig.Call(fmt.Sprintf("%s-crawl-%d", agent, i), agent, fmt.Sprintf("secret-%s-%d", agent, i), at.Add(time.Duration(i)*time.Second)))
	}
	return calls
}

func TestARestartGoesOnWithTheLearnedBaselines(t *testing.T) {
	r := rig.New(t, rig.Options{})
	g := r.Guard("gate-1")
	plan := rig.Plan(t, spree)
	now := time.Now().Add(-time.Minute)
	first := r.Detect(plan)
	for i := range 8 {
		r.Send(habits(fmt.Sprint("agent-", i), now)...)
	}
	r.Judged()
	first.Stop()
	if n := len(r.Detections()); n != 0 {
		t.Fatalf("%d detections of habits", n)
	}
	// Twice, for what was restored must be written so that it can be restored again.
	again := r.Detect(plan)
	for i := range 8 {
		r.Send(rig.Call("one-more", fmt.Sprint("agent-", i), "doc-0", now))
	}
	r.Judged()
	again.Stop()

	r.Detect(plan)
	for i := range 8 {
		agent := fmt.Sprint("agent-", i)
		r.Send(crawl(agent, 30, now.Add(time.Second))...)
		awaitDenied(t, g, agent)
	}
	// One that nobody knows does the same and is not judged: what fired was what was learned.
	r.Send(crawl("stranger", 30, now)...)
	r.Judged()
	if v := g.Check(guardCall("stranger")).Verdict; v != guard.Allow {
		t.Errorf("an agent that is not known gets %v", v)
	}
}

func TestACrashBetweenOutputsAndCommitRepeatsTheSameIDs(t *testing.T) {
	r := rig.New(t, rig.Options{})
	g := r.Guard("gate-1")
	plan := rig.Plan(t, loop("loop", "enforce"), spree, `id: shared
title: An identity makes more calls than its agents do
mode: alert
group_by: identity
when: count(calls, 10s) > 3
`)
	never := func(o *pipeline.Options) { o.CheckpointEvery = time.Hour }
	crashing := r.Detect(plan, never)
	const agents = 20
	for i := range agents {
		agent := fmt.Sprint("agent-", i)
		r.Send(loopCalls(agent, time.Now())...)
		awaitDenied(t, g, agent)
	}
	count := func() error {
		if n := len(detectionIDs(r.Detections())); n != 2*agents {
			return fmt.Errorf("%d detections of %d", n, 2*agents)
		}
		return nil
	}
	rig.Await(t, time.Minute, count)
	before := detectionIDs(r.Detections())
	crash := errors.New("crash")
	crashing.Crash(crash)
	if err := crashing.Wait(); !errors.Is(err, crash) {
		t.Fatalf("the role ended with %v", err)
	}
	if err := r.Lag(pipeline.Group, pipeline.TopicCalls); err == nil {
		t.Fatal("all was committed before the crash: the test shows nothing")
	}

	r.Detect(plan)
	r.Judged()
	after := detectionIDs(r.Detections())
	if diff := cmp.Diff(keys(before), keys(after)); diff != "" {
		t.Errorf("ids differ after the crash:\n%s", diff)
	}
	for id, n := range after {
		if n != 2 {
			t.Errorf("detection %s is there %d times, want 2: once before the crash and once after", id, n)
		}
	}
	revocations := ids(r.Revocations(), func(rec revoke.Record) string { return rec.ID })
	if len(revocations) != agents {
		t.Errorf("%d different revocations, want %d", len(revocations), agents)
	}
	client, err := revoke.NewClient(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.ClientOptions{Signer: r.Signer, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	active, err := client.Active(t.Context())
	if err != nil || len(active) != agents {
		t.Errorf("%d revocations in force (%v), want %d", len(active), err, agents)
	}
}

func keys(m map[string]int) map[string]bool {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}

// What a person released stays released, and the shard that the shield refuses goes on.
func TestAShieldedAgentIsNotKilledAgainAndStopsNoShard(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	role := r.Detect(rig.Plan(t, loop("loop", "enforce")))
	r.Send(loopCalls("pardoned", time.Now())...)
	awaitDenied(t, g, "pardoned")
	client, err := revoke.NewClient(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.ClientOptions{Signer: r.Signer, By: "test", Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Release(t.Context(), "t1", revoke.Agent, "pardoned", "a false alarm", time.Hour); err != nil {
		t.Fatal(err)
	}
	r.Send(loopCalls("pardoned", time.Now().Add(20*time.Second))...) // another breach
	r.Send(loopCalls("other", time.Now())...)
	awaitDenied(t, g, "other")
	r.Judged()
	if v := g.Check(guardCall("pardoned")).Verdict; v != guard.Allow {
		t.Errorf("the released agent gets %v", v)
	}
	answered := ids(r.Detections(), func(d detector.Detection) string { return fmt.Sprint(d.Agent, " ", d.Revocation != "") })
	if diff := cmp.Diff(map[string]int{"pardoned true": 1, "pardoned false": 1, "other true": 1}, answered); diff != "" {
		t.Errorf("which detections a revocation answers:\n%s", diff)
	}
	// A weaker or shorter order than what a person decided changes nothing either.
	if _, err := client.Kill(t.Context(), revoke.Revocation{
		Tenant: "t1", Scope: revoke.Agent, Subject: "banned", Action: revoke.Revoke, Until: time.Now().Add(24 * time.Hour), Reason: "test",
	}); err != nil {
		t.Fatal(err)
	}
	role.Hears() // the order is refused by whoever knows of the stronger one
	r.Send(loopCalls("banned", time.Now())...)
	r.Send(loopCalls("last", time.Now())...)
	awaitDenied(t, g, "last")
	r.Judged()
	if d := g.Check(guardCall("banned")); d.Revocation == nil || d.Revocation.Initiator != "admin" {
		t.Errorf("what holds of the banned agent is %+v", d.Revocation)
	}
}

func TestAReloadChangesWhatFiresWithoutARestart(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	observing := rig.Plan(t, loop("loop", "observe"))
	role := r.Detect(observing)
	r.Send(loopCalls("early", time.Now())...)
	r.Judged()
	role.Reload(rig.Plan(t, loop("another", "alert"), loop("loop", "enforce")))
	r.Send(loopCalls("later", time.Now())...)
	awaitDenied(t, g, "later")
	r.Judged()
	if v := g.Check(guardCall("early")).Verdict; v != guard.Allow {
		t.Errorf("what was only observed is stopped: %v", v)
	}
	byMode := ids(r.Detections(), func(d detector.Detection) string { return d.Detector + "/" + d.Mode })
	if diff := cmp.Diff(map[string]int{"loop/observe": 1, "loop/enforce": 1, "another/alert": 1}, byMode); diff != "" {
		t.Error(diff)
	}
}
