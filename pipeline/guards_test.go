package pipeline_test

import (
	"encoding/json"
	"errors"
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
	role := r.Acks(within(time.Minute))
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
	if n := role.Metric("estop_acks_unconfirmed_total"); n != 0 {
		t.Errorf("%v are raised", n)
	}
	if g := registered(t, nc, "gate-1")["gate-1"]; g.Took <= 0 || g.Counts.Applied != 0 && g.Held != 1 {
		t.Errorf("gate-1: %+v", g)
	}
}

func TestWhatAGuardDoesNotConfirmIsPublishedAgainAndRaisedWhereTwoProcessesWatch(t *testing.T) {
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
		case <-time.After(time.Minute):
			t.Fatalf("it was published %d times", i)
		}
	}
	raised := func() float64 {
		return first.Metric("estop_acks_unconfirmed_total") + second.Metric("estop_acks_unconfirmed_total")
	}
	rig.Await(t, time.Minute, func() error {
		if raised() == 0 {
			return errors.New("nobody has raised it")
		}
		return nil
	})
	// The other one raises it too where it hears of that more than a second late; never does one raise it twice.
	time.Sleep(2 * time.Second)
	if n := raised(); n > 2 {
		t.Errorf("raised %v times by two processes", n)
	}
	first.Stop()
	second.Stop()
	records := 0
	for _, d := range rig.Read[revoke.Decision](t, r, pipeline.TopicDecisions) {
		if d.Verdict != revoke.Unconfirmed || d.Revocation != rec.ID || d.Order.Subject != "bot" || !strings.HasSuffix(d.Why, "gate-2") {
			t.Errorf("%+v", d)
		}
		records++
	}
	if records == 0 || records > 2 {
		t.Errorf("%d records of two processes", records)
	}
}

func TestTheAcksRoleTakesOtherKeysWhileItRuns(t *testing.T) {
	r := rig.New(t, rig.Options{})
	keys := make(chan revoke.Verifier)
	role := r.Acks(within(time.Minute), func(o *pipeline.AcksOptions) { o.Keys, o.Verifier = keys, revoke.Verifier{} }) // at first there are none
	r.Guard("gate-1")
	nc := r.Connect(r.NATS.DetectorURL())
	registered(t, nc, "gate-1")
	stranger, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	keys <- stranger.Verifier()
	confirmed := func() float64 { return role.Metric("estop_acks_confirmed_total") }
	kill := func(subject string) {
		t.Helper()
		if _, err := killer(t, r, nc).Kill(t.Context(), killing(subject)); err != nil {
			t.Fatal(err)
		}
	}
	kill("before")
	rig.Await(t, time.Minute, func() error {
		if role.Metric("estop_acks_refused_total") == 0 {
			return errors.New("the revocation of a key that is not known is not refused")
		}
		return nil
	})
	if n := confirmed(); n != 0 {
		t.Errorf("%v are confirmed that are not believed", n)
	}
	keys <- r.Signer.Verifier()
	kill("after")
	rig.Await(t, time.Minute, func() error {
		if confirmed() == 0 {
			return errors.New("nothing is confirmed by the new keys")
		}
		return nil
	})
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
	// It may acknowledge more than once. It tells of one call alone: the first that it denied.
	var told []time.Time
	rig.Await(t, time.Minute, func() error {
		told = told[:0]
		acks := 0
		for _, a := range rig.Read[revoke.Ack](t, r, pipeline.TopicAcks) {
			if a.Report() {
				told = append(told, a.FirstDenied)
			} else {
				acks++
			}
		}
		if acks == 0 || len(told) == 0 {
			return fmt.Errorf("%d acknowledgements, %d reports", acks, len(told))
		}
		return nil
	})
	role.Stop()
	for _, at := range told {
		if !at.Equal(told[0]) {
			t.Errorf("first denied at %v", told)
		}
	}
}
