package pipeline_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
	"github.com/estop-project/estop/revoke/guard"
)

func within(d time.Duration) func(*pipeline.AcksOptions) {
	return func(o *pipeline.AcksOptions) { o.Deadline = d }
}

// registered waits until the register has these guards and returns them by name.
func registered(t *testing.T, nc *nats.Conn, names ...string) map[string]coverage.Guard {
	t.Helper()
	found := map[string]coverage.Guard{}
	rig.Await(t, time.Minute, func() error {
		clear(found)
		all, err := coverage.Ask(t.Context(), nc, "")
		for _, g := range all {
			found[g.Guard] = g
		}
		for _, name := range names {
			if found[name].State != coverage.Enforcing {
				return fmt.Errorf("%s is %q, %v", name, found[name].State, err)
			}
		}
		return err
	})
	return found
}

// killer is a person who confirms nothing.
func killer(t *testing.T, r *rig.Rig, nc *nats.Conn) *revoke.Client {
	t.Helper()
	c, err := revoke.NewClient(t.Context(), nc, revoke.ClientOptions{Signer: r.Signer, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func killing(subject string) revoke.Revocation {
	return revoke.Revocation{
		Tenant: "t1", Scope: revoke.Agent, Subject: subject, Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	}
}

// mute makes a guard of which the register hears and which never acknowledges.
func mute(t *testing.T, r *rig.Rig, name string) {
	t.Helper()
	nc := r.Connect(r.NATS.URL())
	report := revoke.Report{Kind: revoke.Hello, Guard: name, Start: "1", Every: time.Minute, All: true, Synced: true, Fails: revoke.FailsOpen}
	b, err := json.Marshal(report)
	if err == nil {
		err = nc.Publish(revoke.GuardSubject(name), b)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestARevocationThatAllKnownGuardsConfirmIsNotRaised(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Acks(within(time.Second))
	r.Guard("gate-1")
	r.Guard("gate-2")
	nc := r.Connect(r.NATS.DetectorURL())
	registered(t, nc, "gate-1", "gate-2")
	if _, err := killer(t, r, nc).Kill(t.Context(), killing("bot")); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, time.Minute, func() error {
		if n := role.Metric("estop_acks_confirmed_total"); n != 1 {
			return fmt.Errorf("%v are confirmed", n)
		}
		return nil
	})
	time.Sleep(1500 * time.Millisecond) // past the deadline
	if n := role.Metric("estop_acks_unconfirmed_total"); n != 0 {
		t.Errorf("%v are raised", n)
	}
	if g := registered(t, nc, "gate-1")["gate-1"]; g.Took <= 0 || g.Counts.Applied != 0 && g.Held != 1 {
		t.Errorf("gate-1: %+v", g)
	}
}

func TestWhatAGuardDoesNotConfirmIsPublishedAgainAndRaisedByOneOfTwoProcesses(t *testing.T) {
	r := rig.New(t, rig.Options{})
	first, second := r.Acks(within(300*time.Millisecond)), r.Acks(within(300*time.Millisecond))
	r.Guard("gate-1")
	mute(t, r, "gate-2")
	nc := r.Connect(r.NATS.DetectorURL())
	registered(t, nc, "gate-1", "gate-2")
	heard := make(chan *nats.Msg, 10)
	if _, err := nc.ChanSubscribe(revoke.RevokePrefix+".>", heard); err != nil {
		t.Fatal(err)
	}
	c := killer(t, r, nc)
	rec, err := c.Record(killing("bot"))
	if err == nil {
		_, err = c.Send(t.Context(), rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		select {
		case m := <-heard:
			if string(m.Data) != rec.SET || m.Header.Get("Nats-Msg-Id") != rec.ID {
				t.Errorf("message %d is another one", i)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("it was published %d times", i)
		}
	}
	time.Sleep(2 * time.Second) // the other process's turn would have come
	if n := first.Metric("estop_acks_unconfirmed_total") + second.Metric("estop_acks_unconfirmed_total"); n != 1 {
		t.Errorf("%v are raised, want 1", n)
	}
	first.Stop()
	second.Stop()
	raised := 0
	for _, d := range rig.Read[revoke.Decision](t, r, pipeline.TopicDecisions) {
		if d.Verdict != revoke.Unconfirmed || d.Revocation != rec.ID || d.Order.Subject != "bot" || !strings.HasSuffix(d.Why, "1 of 2 guards did not acknowledge within 300ms: gate-2") {
			t.Errorf("%+v", d)
		}
		raised++
	}
	if raised != 1 {
		t.Errorf("%d records, want 1", raised)
	}
}

func TestTheRegisterOutlivesARestartAndForgetsWhoSaysBye(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Acks()
	nc := r.Connect(r.NATS.DetectorURL())
	left := r.Guard("gate-1")
	mute(t, r, "gate-2") // says hello, and no more
	registered(t, nc, "gate-1", "gate-2")
	role.Stop()
	if _, err := coverage.Ask(t.Context(), nc, ""); err == nil {
		t.Error("somebody answers though nobody keeps the register")
	}
	r.Acks()
	registered(t, nc, "gate-1", "gate-2")
	left.Close()
	rig.Await(t, time.Minute, func() error {
		if all, err := coverage.Ask(t.Context(), nc, "t1"); err != nil || len(all) != 1 || all[0].Guard != "gate-2" {
			return fmt.Errorf("%v, %v", all, err)
		}
		return nil
	})
}

func TestTheFirstDeniedCallIsWrittenDown(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Acks()
	g := r.Guard("gate-1")
	nc := r.Connect(r.NATS.DetectorURL())
	registered(t, nc, "gate-1")
	if _, err := killer(t, r, nc).Kill(t.Context(), killing("bot")); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, time.Minute, func() error {
		if v := g.Check(guardCall("bot")).Verdict; v != guard.Deny {
			return fmt.Errorf("it gets %v", v)
		}
		return nil
	})
	for range 5 {
		g.Check(guardCall("bot"))
	}
	g.Close()
	rig.Await(t, time.Minute, func() error {
		if n := len(rig.Read[revoke.Ack](t, r, pipeline.TopicAcks)); n < 2 {
			return fmt.Errorf("%d acknowledgements", n)
		}
		return nil
	})
	role.Stop()
	var acks, told int
	for _, a := range rig.Read[revoke.Ack](t, r, pipeline.TopicAcks) {
		if a.Report() {
			told++
		} else {
			acks++
		}
	}
	if acks != 1 || told != 1 {
		t.Errorf("%d acknowledgements and %d reports, want one each", acks, told)
	}
}
