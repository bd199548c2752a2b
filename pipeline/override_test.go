package pipeline_test

import (
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/rig"
)

func TestATenantsOverrideDecidesWhetherItsAgentsAreStopped(t *testing.T) {
	r := rig.New(t, rig.Options{})
	g := r.Guard("gate-1")
	always, never := "{days: mon-sun, hours: [\"00:00-12:00\", \"12:01-24:00\"], outside: alert}", "{hours: \"12:00-12:01\", outside: alert}"
	role := r.Detect(rig.Plan(t,
		loop("stops", "observe")+"tenants: {t1: {mode: enforce, response: {action: revoke, scope: agent, for: 1h}}}\n",
		loop("watches", "enforce")+"tenants: {\"t*\": {mode: observe}}\n",
		loop("by-night", "enforce")+"schedule: "+never+"\n",
		loop("by-day", "enforce")+"schedule: "+always+"\ntenants: {t1: {schedule: "+never+"}}\n",
	))
	night := time.Now().UTC().Truncate(24 * time.Hour).Add(-time.Hour) // yesterday, 23:00
	r.Send(loopCalls("bad", night)...)
	awaitDenied(t, g, "bad")
	r.Judged()
	role.Stop()
	got := ids(r.Detections(), func(d detector.Detection) string {
		stopped := map[bool]string{true: "stopped", false: "left alone"}[d.Revocation != ""]
		return d.Detector + " " + d.Mode + " " + stopped
	})
	for _, want := range []string{"stops enforce stopped", "watches observe left alone", "by-night alert left alone", "by-day alert left alone"} {
		if got[want] != 1 {
			t.Errorf("not one detection %s", want)
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("further detections %v", got)
	}
	for _, rev := range r.Revocations() {
		if life := rev.Until.Sub(rev.IssuedAt); rev.Detector != "stops" || life != time.Hour {
			t.Errorf("a revocation of %s for %v, want that of the override", rev.Detector, life)
		}
	}
}
