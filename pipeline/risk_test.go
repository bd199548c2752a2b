package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate/risk"
)

const countsDetector = `id: counts
title: More calls in a minute than the agent makes
mode: alert
group_by: agent
baseline: [{feature: "count(calls, 1m)"}]
slot: 1m
budget: 1 per 1000 agent-days
warmup: {calls: 20, slots: 10}
`

// What a detector thinks of an agent reaches a gate's follower: low once it is known, high after a detection; of one that only another
// detector found high, and of one that is not known nothing.
func TestTheRisksOfAgentsReachTheGates(t *testing.T) {
	r := rig.New(t, rig.Options{})
	f, err := risk.New(risk.Options{Conn: r.Connect(r.NATS.URL()), Verifier: r.Signer.Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	publisher, err := revoke.NewRiskPublisher(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.RiskPublisherOptions{Signer: r.Signer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	r.Detect(rig.Plan(t, countsDetector, loop("loop", "alert"), loop("observed", "observe")), func(o *pipeline.Options) { o.Risks = publisher })
	from := time.Now().Add(-2 * time.Hour)
	n := 0
	send := func(agent string, at time.Time) {
		n++
		r.Send(rig.Call(fmt.Sprint("c", n), agent, "doc-1", at))
	}
	for i := range 120 {
		send("steady", from.Add(time.Duration(i)*30*time.Second))
	}
	send("new", from)
	for _, c := range loopCalls("loops", from) {
		r.Send(c)
	}
	wants := func(agent string, want revoke.Level) {
		t.Helper()
		rig.Await(t, time.Minute, func() error {
			if got := f.Of("t1", agent); got.Level != want {
				return fmt.Errorf("the risk of %s is %v, want %s", agent, got, want)
			}
			return nil
		})
	}
	wants("steady", revoke.RiskLow)
	wants("loops", revoke.RiskHigh)
	wants("new", revoke.RiskUnknown)
	for _, c := range loopCalls("steady", from.Add(90*time.Minute)) {
		r.Send(c)
	}
	wants("steady", revoke.RiskHigh)
}
