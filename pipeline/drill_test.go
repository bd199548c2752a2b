package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// everything is a detector that finds every call of every tenant.
const everything = `id: everything
title: Any call
mode: enforce
group_by: agent
when: count(calls, 10s) > 0
response: {action: revoke, scope: agent, for: 15m}
`

// drillOf signs a drill of a tenant's guards.
func drillOf(t *testing.T, r *rig.Rig, tenant string) revoke.Record {
	t.Helper()
	rec, err := killer(t, r, r.Connect(r.NATS.DetectorURL())).DrillRecord(tenant, "")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestTheMarkedCallOfADrillIsAnsweredAndNothingIsLearnedOfIt(t *testing.T) {
	r := rig.New(t, rig.Options{})
	g := r.Guard("gate-1")
	var interlock *revoke.Interlock
	var census *pipeline.Census
	role := r.Detect(rig.Plan(t, everything), withInterlock(t, revoke.InterlockOptions{Targets: 1}), func(o *pipeline.Options) {
		interlock, census = o.Interlock, o.Census
	})
	var ids []string
	for range 5 {
		rec := drillOf(t, r, "t1")
		ids = append(ids, rec.ID)
		r.SendRecords(pipeline.DrillCall(rec, time.Now()))
	}
	rig.Await(t, time.Minute, func() error {
		if n := role.Metric("estop_detect_drills_total"); n != 5 {
			return fmt.Errorf("%v drills are answered", n)
		}
		return nil
	})
	r.Judged()
	// A repetition is the same revocation again.
	for _, stop := range r.Revocations() {
		if !slices.Contains(ids, stop.ID) || !revoke.IsDrill(stop.Revocation) || stop.Tenant != "t1" || stop.Initiator != revoke.Policy || stop.Detection == "" {
			t.Errorf("a drill is answered by %+v", stop)
		}
	}
	if n := len(r.Detections()); n != 0 {
		t.Errorf("%d detections of a drill", n)
	}
	if n := interlock.Stopped(time.Now()); n != 0 {
		t.Errorf("the interlock counts %d of a drill", n)
	}
	if n := role.Metric("estop_detect_revocations_total"); n != 0 {
		t.Errorf("%v are counted as revocations of detectors", n)
	}
	// Real agents are still met for the first time, and still stopped.
	r.Send(rig.Call("c1", "bot", "doc", time.Now()))
	rig.Await(t, time.Minute, func() error {
		if v := g.Check(guardCall("bot")).Verdict; v != guard.Deny {
			return fmt.Errorf("a real agent gets %v", v)
		}
		return nil
	})
	if n := census.Known(pipeline.DrillTenant); n != 0 {
		t.Errorf("%d agents of drills are known", n)
	}
	if v := g.Check(guardCall("honest")).Verdict; v != guard.Allow {
		t.Errorf("an agent that did nothing gets %v", v)
	}
}

func TestACallThatIsMarkedWithoutRightIsJudgedAsAnyOther(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Detect(rig.Plan(t, everything))
	client := killer(t, r, r.Connect(r.NATS.DetectorURL()))
	sign := func(change func(*revoke.Revocation)) revoke.Record {
		t.Helper()
		now := time.Now()
		order := revoke.Revocation{
			Tenant: "t1", Scope: revoke.Session, Subject: revoke.DrillPrefix + "X", Action: revoke.Revoke, Until: now.Add(time.Minute), Reason: "test", IssuedAt: now,
		}
		change(&order)
		rec, err := client.Record(order)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	forged := sign(func(*revoke.Revocation) {})
	forged.SET = strings.ToUpper(forged.SET)
	real := sign(func(o *revoke.Revocation) { o.Scope, o.Subject = revoke.Agent, "honest" })
	named := sign(func(o *revoke.Revocation) { o.Subject = "s-honest" })
	weak := sign(func(o *revoke.Revocation) { o.Action = revoke.Throttle })
	one := pipeline.DrillCall(sign(func(*revoke.Revocation) {}), time.Now())
	other := pipeline.DrillCall(sign(func(o *revoke.Revocation) { o.Subject += "Y" }), time.Now())
	one.Value = other.Value // the mark of one on the call of another
	broken := pipeline.DrillCall(sign(func(*revoke.Revocation) {}), time.Now())
	broken.Value = []byte("{")
	marked := rig.Record(rig.Call("c1", "honest", "doc", time.Now())) // a real call that is marked to pass unseen
	marked.Headers = append(marked.Headers, kgo.RecordHeader{Key: "estop-drill", Value: []byte(sign(func(*revoke.Revocation) {}).SET)})
	records := []*kgo.Record{one, broken, marked}
	for _, rec := range []revoke.Record{forged, real, named, weak} {
		records = append(records, pipeline.DrillCall(rec, time.Now()))
	}
	r.SendRecords(records...)
	rig.Await(t, time.Minute, func() error {
		if n := role.Metric("estop_detect_drills_refused_total"); n != float64(len(records)) {
			return fmt.Errorf("%v of %d are refused", n, len(records))
		}
		return nil
	})
	r.Judged()
	role.Stop()
	honest := false
	for _, d := range r.Detections() {
		honest = honest || d.Agent == "honest" && d.Tenant == "t1"
	}
	if !honest {
		t.Error("a real call hides behind a mark")
	}
	for _, stop := range r.Revocations() {
		if stop.Detector != "everything" || stop.Scope != revoke.Agent {
			t.Errorf("a mark leads to %+v", stop)
		}
	}
}

func TestADrillThatHasEndedIsPassedOver(t *testing.T) {
	r := rig.New(t, rig.Options{})
	rec := drillOf(t, r, "t1")
	role := r.Detect(rig.Plan(t, everything), func(o *pipeline.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Hour) } // as after a long outage
	})
	r.SendRecords(pipeline.DrillCall(rec, time.Now()))
	r.Judged()
	if n := role.Metric("estop_detect_drills_total") + role.Metric("estop_detect_drills_refused_total"); n != 0 {
		t.Errorf("%v are answered or refused", n)
	}
	role.Stop()
	if n := len(r.Detections()) + len(r.Revocations()); n != 0 {
		t.Errorf("%d detections and revocations", n)
	}
}

func TestAFloodOfForgedMarksIsNoFloodOfLines(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Detect(rig.Plan(t, everything))
	forged := drillOf(t, r, "t1")
	forged.SET = "forged"
	const n = 64
	for range n {
		r.SendRecords(pipeline.DrillCall(forged, time.Now())) // all of one partition
	}
	rig.Await(t, time.Minute, func() error {
		if got := role.Metric("estop_detect_drills_refused_total"); got < n {
			return fmt.Errorf("%v of %d are refused", got, n)
		}
		return nil
	})
	role.Stop()
	if lines := r.Journal.Count("a call is marked as that of a drill"); lines == 0 || lines > 16 {
		t.Errorf("%d lines of %d forged marks", lines, n)
	}
}
