package coverage

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func report(guard, start string, number uint64, change ...func(*revoke.Report)) revoke.Report {
	r := revoke.Report{Kind: revoke.Here, Guard: guard, Start: start, Number: number, Every: 10 * time.Second, All: true, Synced: true, Fails: revoke.FailsOpen}
	for _, f := range change {
		f(&r)
	}
	return r
}

func kind(k revoke.ReportKind) func(*revoke.Report) { return func(r *revoke.Report) { r.Kind = k } }

func serves(tenants ...string) func(*revoke.Report) {
	return func(r *revoke.Report) { r.Serve(false, tenants) }
}

func hear(t *testing.T, r *Register, report revoke.Report, at time.Duration, want bool) {
	t.Helper()
	if got, err := r.Hear(report, noon.Add(at)); err != nil || got != want {
		t.Errorf("%s %s %d: new %v, %v, want %v", report.Guard, report.Kind, report.Number, got, err, want)
	}
}

func states(r *Register, at time.Duration) map[string]State {
	all := map[string]State{}
	for _, g := range r.List("", noon.Add(at)) {
		all[g.Guard] = g.State
	}
	return all
}

func TestTheRegisterKnowsWhoIsThere(t *testing.T) {
	r := NewRegister()
	hear(t, r, report("a", "1", 0, kind(revoke.Hello), func(r *revoke.Report) { r.Synced = false }), 0, true)
	if s := states(r, 0)["a"]; s != Unsynced {
		t.Errorf("before it has loaded: %s", s)
	}
	hear(t, r, report("a", "1", 1), time.Second, true) // it is synced now
	hear(t, r, report("a", "1", 1), time.Second, false)
	hear(t, r, report("a", "1", 2), 2*time.Second, false)
	hear(t, r, report("a", "1", 3, func(r *revoke.Report) { r.Stale = true }), 3*time.Second, true)
	if s := states(r, 3*time.Second)["a"]; s != Stale {
		t.Errorf("stale: %s", s)
	}
	hear(t, r, report("a", "1", 4, serves("x", "y")), 4*time.Second, true)
	for tenant, want := range map[string]int{"x": 1, "y": 1, "z": 0, "": 1} {
		if got := r.Serving(tenant, noon.Add(5*time.Second)); len(got) != want {
			t.Errorf("%s is served by %v", tenant, got)
		}
	}
	if got := states(r, 64*time.Second)["a"]; got != Enforcing {
		t.Errorf("a minute after its last word: %s", got)
	}
	if got := states(r, 65*time.Second)["a"]; got != Lost || len(r.Serving("x", noon.Add(65*time.Second))) != 0 {
		t.Errorf("more than a minute after its last word: %s", got)
	}
	hear(t, r, report("a", "1", 5, kind(revoke.Bye)), 66*time.Second, true)
	if got := states(r, 66*time.Second); len(got) != 0 {
		t.Errorf("after its bye: %v", got)
	}
	r.Sweep(noon.Add(10 * time.Minute))
	if r.Has("a") || r.names != 0 {
		t.Errorf("it is remembered: %d bytes of names", r.names)
	}
}

func TestAByeOfAnEarlierRunClosesNothing(t *testing.T) {
	r := NewRegister()
	hear(t, r, report("a", "1", 7), 0, true)
	hear(t, r, report("a", "2", 0, kind(revoke.Hello)), time.Second, true)
	hear(t, r, report("a", "1", 8, kind(revoke.Bye)), 2*time.Second, false)
	if s := states(r, 2*time.Second)["a"]; s != Enforcing {
		t.Errorf("it is %s", s)
	}
}

func TestTwoGuardsOfOneNameAreFoundOut(t *testing.T) {
	r := NewRegister()
	hear(t, r, report("a", "1", 7), 0, true)
	hear(t, r, report("a", "2", 0, kind(revoke.Hello)), time.Second, true)
	if r.List("", noon)[0].Twins {
		t.Error("a restart is no twin")
	}
	hear(t, r, report("a", "1", 8), 2*time.Second, true)
	if !r.List("", noon.Add(3*time.Second))[0].Twins {
		t.Error("two of one name are not found out")
	}
}

func TestTheRegisterIsBounded(t *testing.T) {
	r := NewRegister()
	for i := range maxGuards {
		hear(t, r, report(fmt.Sprint(i), "1", 0), 0, true)
	}
	if _, err := r.Hear(report("one more", "1", 0), noon); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	r.Sweep(noon.Add(25 * time.Hour))
	hear(t, r, report("one more", "1", 0), 25*time.Hour, true)
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("%040d", i)
	}
	var err error
	for i := 0; err == nil && i < maxGuards-1; i++ {
		_, err = r.Hear(report(fmt.Sprint("big", i), "1", 0, func(r *revoke.Report) { r.Serve(false, many) }), noon.Add(25*time.Hour))
	}
	if !errors.Is(err, ErrFull) || r.names > maxNames {
		t.Errorf("names of tenants fill %d bytes: %v", r.names, err)
	}
}

func TestWhatWasWrittenDownIsKnownForAWhile(t *testing.T) {
	r := NewRegister()
	for guard, ago := range map[string]time.Duration{"lately": 90 * time.Second, "long ago": time.Hour} {
		if err := r.Load(report(guard, "1", 0, func(r *revoke.Report) { r.Seen = noon.Add(-ago) }), noon); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]State{"lately": Enforcing, "long ago": Lost}, states(r, 0)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

const deadline = 5 * time.Second

// watching is a watch with the guards a and b of all tenants.
func watching(t *testing.T) *Watch {
	r := NewRegister()
	hear(t, r, report("a", "1", 0), 0, true)
	hear(t, r, report("b", "1", 0), 0, true)
	return NewWatch(r, deadline)
}

func revocation(id string, at time.Duration) revoke.Revocation {
	return revoke.Revocation{ID: id, Tenant: "t", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, IssuedAt: noon.Add(at), Until: noon.Add(time.Hour)}
}

func (w *Watch) publish(id string, at time.Duration, mine bool) (Outcome, bool) {
	r := revocation(id, at)
	return w.Heard(r, &nats.Msg{Subject: revoke.Subject(r)}, mine, noon.Add(at))
}

func ack(id, guard string) revoke.Ack { return revoke.Ack{Revocation: id, Guard: guard} }

func TestARevocationIsConfirmedByTheLastGuard(t *testing.T) {
	w := watching(t)
	w.publish("r", 0, true)
	if _, ok := w.Acked(ack("r", "a"), noon.Add(time.Millisecond)); ok {
		t.Error("one is not all")
	}
	denied := ack("r", "b")
	denied.FirstDenied = noon
	if _, ok := w.Acked(denied, noon); ok {
		t.Error("the report of a denied call confirms")
	}
	o, ok := w.Acked(ack("r", "b"), noon.Add(3*time.Millisecond))
	if !ok || o.Expected != 2 || len(o.Missing) != 0 || o.Took != 3*time.Millisecond || !o.Mine || o.Late {
		t.Errorf("%v %+v", ok, o)
	}
	if due := w.Due(noon.Add(deadline)); len(due) != 0 {
		t.Errorf("raised: %+v", due)
	}
	if g := w.register.List("", noon); g[1].Took != 3*time.Millisecond {
		t.Errorf("b took %v", g[1].Took)
	}
}

func TestAStopOfEverythingIsConfirmedByEveryGuard(t *testing.T) {
	r := NewRegister()
	hear(t, r, report("a", "1", 0, serves("x")), 0, true)
	hear(t, r, report("b", "1", 0, serves("y")), 0, true)
	w := NewWatch(r, 5*time.Second)
	all := revoke.Revocation{ID: "1", Tenant: revoke.Everything, Scope: revoke.Global, Subject: revoke.Everything, Until: noon.Add(time.Hour), IssuedAt: noon}
	if o, ok := w.Heard(all, &nats.Msg{Subject: "all"}, true, noon); ok {
		t.Fatalf("confirmed at once: %+v", o)
	}
	// A tenant of that name has its own guards, and there are none.
	named := revoke.Revocation{ID: "2", Tenant: revoke.Everything, Scope: revoke.Agent, Subject: "bot", Until: noon.Add(time.Hour), IssuedAt: noon}
	if o, ok := w.Heard(named, &nats.Msg{Subject: "named"}, true, noon); !ok || o.Expected != 0 {
		t.Errorf("of a tenant called %s: %+v", revoke.Everything, o)
	}
	w.Acked(revoke.Ack{Revocation: "1", Guard: "a"}, noon)
	if o, ok := w.Acked(revoke.Ack{Revocation: "1", Guard: "b"}, noon.Add(time.Millisecond)); !ok || o.Expected != 2 || len(o.Missing) != 0 {
		t.Errorf("%+v, %v", o, ok)
	}
}

func TestAnAcknowledgementMayOvertakeItsRevocation(t *testing.T) {
	w := watching(t)
	w.Acked(ack("r", "a"), noon)
	w.Acked(ack("r", "b"), noon)
	if o, ok := w.publish("r", time.Millisecond, true); !ok || o.Expected != 2 {
		t.Errorf("%v %+v", ok, o)
	}
}

func TestWhatIsMissingIsRaisedOnceByWhoseTurnItIs(t *testing.T) {
	for _, c := range []struct {
		mine bool
		due  time.Duration
	}{{true, deadline}, {false, deadline + takeover}} {
		w := watching(t)
		w.publish("r", 0, c.mine)
		w.Acked(ack("r", "a"), noon)
		if due := w.Due(noon.Add(c.due - 1)); len(due) != 0 {
			t.Errorf("mine %v: too early: %+v", c.mine, due)
		}
		due := w.Due(noon.Add(c.due))
		if len(due) != 1 || cmp.Diff([]string{"b"}, due[0].Missing) != "" || due[0].Expected != 2 {
			t.Fatalf("mine %v: %+v", c.mine, due)
		}
		w.publish("r", c.due, c.mine) // as it is published once more
		if due := w.Due(noon.Add(2 * c.due)); len(due) != 0 {
			t.Errorf("mine %v: again: %+v", c.mine, due)
		}
		if o, ok := w.Acked(ack("r", "b"), noon.Add(2*c.due)); !ok || !o.Late {
			t.Errorf("mine %v: late: %v %+v", c.mine, ok, o)
		}
	}
}

func TestWhatAnotherProcessRaisedIsNotRaised(t *testing.T) {
	w := watching(t)
	w.publish("r", 0, false)
	w.Raised("r")
	if due := w.Due(noon.Add(2 * deadline)); len(due) != 0 {
		t.Errorf("%+v", due)
	}
}

func TestNobodyWaitsForWhatCannotCome(t *testing.T) {
	for name, f := range map[string]func(*Watch){
		"another message took its place": func(w *Watch) {
			w.publish("r2", time.Second, true)
			w.Acked(ack("r2", "a"), noon)
			w.Acked(ack("r2", "b"), noon)
		},
		"the guards said bye": func(w *Watch) {
			if all := append(w.Closed("a", noon), w.Closed("b", noon)...); len(all) != 1 {
				t.Errorf("outcomes %+v", all)
			}
		},
	} {
		w := watching(t)
		w.publish("r", 0, true)
		f(w)
		if due := w.Due(noon.Add(2 * deadline)); len(due) != 0 {
			t.Errorf("%s: %+v", name, due)
		}
	}
	w := watching(t)
	w.publish("newer", time.Second, true)
	w.publish("older", 0, true)
	if due := w.Due(noon.Add(time.Minute)); len(due) != 1 || due[0].Revocation.ID != "newer" {
		t.Errorf("of two messages in the wrong order: %+v", due)
	}
	if o, ok := NewWatch(NewRegister(), deadline).publish("r", 0, true); !ok || o.Expected != 0 {
		t.Errorf("without guards: %v %+v", ok, o)
	}
}

func TestTheWatchForgetsAndIsBounded(t *testing.T) {
	w := watching(t)
	for i := range maxOpen + 100 {
		r := revocation(fmt.Sprint(i), 0)
		r.Subject = r.ID
		w.Acked(ack(fmt.Sprint("forged", i), "a"), noon)
		w.Heard(r, &nats.Msg{Subject: revoke.Subject(r)}, true, noon)
	}
	if len(w.open) > maxOpen {
		t.Errorf("%d are open", len(w.open))
	}
	w.Due(noon.Add(keep + time.Second))
	if len(w.open) != 0 || len(w.targets) != 0 {
		t.Errorf("%d and %d are left", len(w.open), len(w.targets))
	}
}
