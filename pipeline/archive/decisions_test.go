package archive

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
)

func TestTheQueueHoldsWhatWaitsForAPerson(t *testing.T) {
	r := newRig(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	held := func(id, subject string, at time.Time) revoke.Decision {
		return revoke.Decision{Verdict: revoke.Held, At: at, Why: "too many", Order: revoke.Revocation{
			ID: id, Tenant: "acme", Scope: revoke.Agent, Subject: subject, Action: revoke.Revoke, IssuedAt: at, Until: at.Add(time.Hour),
			Detector: "burst", Detection: id, Reason: "burst: evidence", Initiator: "policy",
		}}
	}
	decided := func(d revoke.Decision, verdict revoke.Verdict, at time.Time) revoke.Decision {
		d.Verdict, d.At, d.By, d.Why = verdict, at, "ada", "looked into"
		return d
	}
	first, second := held("1", "bot", noon), held("2", "bot", noon.Add(time.Minute))
	approved := held("3", "other", noon)
	dismissed := held("4", "third", noon)
	again := held("5", "third", noon.Add(10*time.Minute)) // after it was dismissed
	ended := held("6", "fourth", noon.Add(-2*time.Hour))
	for _, d := range []revoke.Decision{
		first, first, second, approved, decided(approved, revoke.Approved, noon.Add(time.Second)),
		decided(second, revoke.Unconfirmed, noon.Add(2*time.Minute)), // what guards did not confirm decides nothing
		dismissed, decided(dismissed, revoke.Dismissed, noon.Add(time.Second)), again, ended, held("7", "by hand", noon),
	} {
		r.send(recordOf(t, TopicDecisions, d))
	}
	// One was killed by hand since, one before it was held back, one by a detector: only the first is answered.
	for i, hand := range []struct {
		subject, initiator string
		at                 time.Time
	}{{"by hand", revoke.Admin, noon.Add(time.Second)}, {"bot", revoke.Admin, noon.Add(-time.Second)}, {"third", revoke.Policy, noon.Add(15 * time.Minute)}} {
		r.send(recordOf(t, TopicRevocations, revoke.Record{SET: "t", Revocation: revoke.Revocation{
			ID: fmt.Sprint("hand", i), Tenant: "acme", Scope: revoke.Agent, Subject: hand.subject, Action: revoke.Revoke, IssuedAt: hand.at,
			Until: hand.at.Add(time.Hour), Reason: "seen", Initiator: hand.initiator,
		}}))
	}
	r.start(nil, hooks{})
	r.caughtUp(TopicDecisions)
	r.caughtUp(TopicRevocations)

	waits := []Waiting{{second, 2}, {again, 2}}
	for _, c := range []struct {
		name, id string
		now      time.Time
		want     []Waiting
	}{
		{"all", "", noon.Add(20 * time.Minute), waits},
		{"one", "5", noon.Add(20 * time.Minute), waits[1:]},
		{"one that another took the place of", "1", noon.Add(20 * time.Minute), []Waiting{}},
		{"one that was decided", "3", noon.Add(20 * time.Minute), []Waiting{}},
		{"when one has ended", "", noon.Add(65 * time.Minute), waits[1:]},
	} {
		got, err := NewReader(r.store).Queue(t.Context(), c.now, c.id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}
