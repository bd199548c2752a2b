package pipeline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// After an outage the backlog is judged. Who broke a detector then is stopped now, marked as late, unless somebody is
// stopped already, or was released since.
func TestAKillForAnOldBreachIsSentMarkedAsLateUnlessSuperseded(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	client, err := revoke.NewClient(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.ClientOptions{Signer: r.Signer, By: "test", Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	plan := rig.Plan(t, loop("loop", "enforce"))
	// The backlog: nobody judges.
	for _, agent := range []string{"stopped", "released", "unseen"} {
		r.Send(loopCalls(agent, time.Now())...)
	}
	for _, agent := range []string{"stopped", "released"} {
		if _, err := client.Kill(t.Context(), revoke.Revocation{
			Tenant: "t1", Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke, Until: time.Now().Add(5 * time.Minute), Reason: "by hand",
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Release(t.Context(), "t1", revoke.Agent, "released", "it was us", 0); err != nil {
		t.Fatal(err)
	}
	// Two minutes later, by the wall clock, the role is back.
	ago := 2 * time.Minute
	role := r.Detect(plan, func(o *pipeline.Options) { o.Now = func() time.Time { return time.Now().Add(ago) } })
	role.Hears()
	d := awaitDenied(t, g, "unseen")
	r.Judged()
	if !strings.Contains(d.Revocation.Reason, "(late: 2m") {
		t.Errorf("the guard is told %q", d.Revocation.Reason)
	}
	if d := g.Check(guardCall("stopped")); d.Verdict != guard.Deny || d.Revocation.Initiator != "admin" {
		t.Errorf("who was stopped already: %+v", d)
	}
	if v := g.Check(guardCall("released")).Verdict; v != guard.Allow {
		t.Errorf("who was released since the breach gets %v", v)
	}
	answered := ids(r.Detections(), func(d detector.Detection) string {
		return fmt.Sprintf("%s revoked=%v late=%v", d.Agent, d.Revocation != "", d.Late >= ago)
	})
	want := map[string]int{"stopped revoked=false late=true": 1, "released revoked=false late=true": 1, "unseen revoked=true late=true": 1}
	if diff := cmp.Diff(want, answered); diff != "" {
		t.Error(diff)
	}
	for _, rev := range r.Revocations() {
		if rev.Initiator == revoke.Policy && rev.Late < ago {
			t.Errorf("the record of %q says it is %v late", rev.Subject, rev.Late)
		}
	}
	if late := value(t, role.Metrics, "estop_detect_revocations_late_total"); late != 1 {
		t.Errorf("%v revocations count as late, want 1", late)
	}
	// What breaks now, by that clock, and is appended now, is two minutes late as well; one that breaks in time is not.
	role.Stop()
	r.Detect(plan)
	r.Send(loopCalls("now", time.Now())...)
	if d := awaitDenied(t, g, "now"); strings.Contains(d.Revocation.Reason, "late") {
		t.Errorf("in time, and the guard is told %q", d.Revocation.Reason)
	}
	r.Judged()
	for _, d := range r.Detections() {
		if d.Agent == "now" && d.Late != 0 {
			t.Errorf("in time, and %v late", d.Late)
		}
	}
}
