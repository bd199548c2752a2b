package archive

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
)

func TestCoverageSaysWhichGuardsConfirmed(t *testing.T) {
	r := newRig(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	report := func(guard, start string, kind revoke.ReportKind, number uint64, at time.Duration, all bool, tenants ...string) {
		r.send(recordOf(t, TopicGuards, revoke.Report{
			Kind: kind, Guard: guard, Start: start, Number: number, At: noon.Add(at), Seen: noon.Add(at), Every: 10 * time.Second,
			All: all, Tenants: tenants, Synced: true, Fails: revoke.FailsOpen, Counts: revoke.Counts{Denied: 7, Errors: 1},
		}))
	}
	const minute = time.Minute
	report("quick", "1", revoke.Hello, 0, -10*minute, false, "acme")
	report("quick", "1", revoke.Here, 60, -minute, false, "acme")
	report("slow", "1", revoke.Hello, 0, -10*minute, true)
	report("slow", "1", revoke.Here, 60, minute, true)
	report("deaf", "1", revoke.Here, 9, -minute, false, "other", "acme")
	report("elsewhere", "1", revoke.Here, 9, -minute, false, "other")
	report("gone", "1", revoke.Hello, 0, -10*minute, true)
	report("gone", "1", revoke.Bye, 9, -time.Second, true)
	report("dead", "1", revoke.Here, 9, -3*minute, true)
	report("later", "1", revoke.Hello, 0, time.Second, true)
	revocation := func(id, tenant string, at time.Time) {
		r.send(recordOf(t, TopicRevocations, revoke.Record{Revocation: revoke.Revocation{
			ID: id, Tenant: tenant, Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, IssuedAt: at, Until: at.Add(time.Hour),
		}, SET: "jws"}))
	}
	revocation("r1", "acme", noon)
	revocation("r2", "nobody", noon.Add(-time.Hour))
	ack := func(guard string, took time.Duration, denied time.Time) {
		a := revoke.Ack{Revocation: "r1", Guard: guard, Tenant: "acme", AppliedAt: noon.Add(took), Cancelled: 2, Latency: took, FirstDenied: denied}
		if a.Report() {
			a.AppliedAt, a.Cancelled, a.Latency = denied, 0, denied.Sub(noon)
		}
		r.send(recordOf(t, TopicAcks, a))
	}
	ack("quick", time.Millisecond, noon.Add(500*time.Microsecond)) // the report may overtake what it reports about
	ack("quick", time.Millisecond, time.Time{})
	ack("slow", 30*time.Millisecond, time.Time{})
	ack("slow", 40*time.Millisecond, time.Time{}) // again
	ack("later", time.Minute, time.Time{})
	r.start(nil, hooks{})
	r.caughtUp(TopicGuards)
	r.caughtUp(TopicRevocations)
	r.caughtUp(TopicAcks)

	reader := NewReader(r.store)
	got, err := reader.Coverages(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []Coverage{
		{
			Revocation: "r1", Tenant: "acme", Scope: "agent", Subject: "bot", Action: "revoke", IssuedAt: noon,
			Known: 3, Confirmed: 2, Missing: []string{"deaf"}, Slowest: "slow", SlowestBy: 30 * time.Millisecond,
		},
		{Revocation: "r2", Tenant: "nobody", Scope: "agent", Subject: "bot", Action: "revoke", IssuedAt: noon.Add(-time.Hour), Missing: []string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("coverage (-want +got)\n%s", diff)
	}
	if got, err := reader.Coverages(t.Context(), "nobody", 10); err != nil || len(got) != 1 || got[0].Revocation != "r2" {
		t.Errorf("of one tenant: %v, %v", got, err)
	}
	each, err := reader.Confirmations(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	wantEach := []Confirmation{
		{Guard: "deaf", Known: true},
		{Guard: "later", Confirmed: true, AppliedAt: noon.Add(time.Minute), Latency: time.Minute, Cancelled: 2},
		{Guard: "slow", Known: true, Confirmed: true, AppliedAt: noon.Add(30 * time.Millisecond), Latency: 30 * time.Millisecond, Cancelled: 2},
		{
			Guard: "quick", Known: true, Confirmed: true, AppliedAt: noon.Add(time.Millisecond), Latency: time.Millisecond, Cancelled: 2,
			FirstDenied: noon.Add(500 * time.Microsecond),
		},
	}
	if diff := cmp.Diff(wantEach, each); diff != "" {
		t.Errorf("of each guard (-want +got)\n%s", diff)
	}
	var last string
	if err := r.store.QueryRow(t.Context(), "SELECT toString(groupArray((guard, kind, denied, errors))) FROM (SELECT * FROM guards_last WHERE guard IN ('gone', 'slow') ORDER BY guard)").Scan(&last); err != nil {
		t.Fatal(err)
	}
	if last != "[('gone','bye',7,1),('slow','here',7,1)]" {
		t.Errorf("the last word of each: %s", last)
	}
}
