package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestALateJoinerKnowsWhatIsInForce(t *testing.T) {
	r := newRig(t, 0)
	const n = 1200 // more than two pages
	for i := range n {
		r.kill("acme", fmt.Sprint("bot", i))
	}
	r.kill("globex", "bot")
	if _, err := r.client.Release(r.ctx(), "acme", revoke.Agent, "bot7", "test", 0); err != nil {
		t.Fatal(err)
	}
	g := r.guard("late")
	for i := range n {
		want := guard.Deny
		if i == 7 {
			want = guard.Allow
		}
		wantVerdict(t, g, call("acme", fmt.Sprint("bot", i)), want)
	}
	wantVerdict(t, g, call("globex", "bot"), guard.Deny)

	some := r.guard("some", func(o *guard.Options) { o.All, o.Tenants = false, []string{"globex", "third"} })
	wantVerdict(t, some, call("globex", "bot"), guard.Deny)
	wantVerdict(t, some, call("globex", "other"), guard.Allow)
	if d := some.Check(call("acme", "bot7")); d.Verdict != guard.Deny || d.Reason != guard.ReasonNotServed {
		t.Errorf("a call of a tenant that the guard does not hear of: %v %q", d.Verdict, d.Reason)
	}
	if s := some.Stats(); s.Applied != 1 || s.Active != 1 {
		t.Errorf("stats %+v: want the one revocation of globex", s)
	}
}

func TestNothingFallsBetweenSubscribingAndLoading(t *testing.T) {
	r := newRig(t, 0)
	const n = 300
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if _, err := r.client.Kill(r.ctx(), target("acme", fmt.Sprint("bot", i))); err != nil {
				t.Error(err)
			}
		}
	})
	var guards []*guard.Guard
	for i := range 5 {
		// So slow a poll that only the first readings and core NATS count.
		guards = append(guards, r.guard(fmt.Sprint("g", i), func(o *guard.Options) { o.Poll = time.Hour }))
	}
	wg.Wait()
	for _, g := range guards {
		for i := range n {
			eventually(t, becomes(g, call("acme", fmt.Sprint("bot", i)), guard.Deny))
		}
	}
}

func TestKillReleaseKill(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	for range 3 {
		r.kill("acme", "bot")
		wantVerdict(t, g, call("acme", "bot"), guard.Deny)
		if active, err := r.client.Active(r.ctx()); err != nil || len(active) != 1 {
			t.Fatalf("active %v, %v", active, err)
		}
		acks, err := r.client.Release(r.ctx(), "acme", revoke.Agent, "bot", "test", 0)
		if err != nil || len(acks) != 1 {
			t.Fatalf("release: %v, %v", acks, err)
		}
		wantVerdict(t, g, call("acme", "bot"), guard.Allow)
		if active, err := r.client.Active(r.ctx()); err != nil || len(active) != 0 {
			t.Fatalf("active %v, %v", active, err)
		}
	}
	if _, err := r.client.Release(r.ctx(), "acme", revoke.Agent, "bot", "test", 0); !errors.Is(err, revoke.ErrNotActive) {
		t.Errorf("a second release: %v, want ErrNotActive", err)
	}
}

func TestRestartOfTheServerForgetsNothing(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1", func(o *guard.Options) { o.MaxStale = time.Hour })
	r.kill("acme", "before")
	r.server.Stop()
	wantVerdict(t, g, call("acme", "before"), guard.Deny)
	r.startServer()
	eventually(t, func() error {
		if !r.nc.IsConnected() {
			return errors.New("not connected again")
		}
		return nil
	})
	late := r.guard("late")
	wantVerdict(t, late, call("acme", "before"), guard.Deny)
	// The old guard is back as well and hears what is new.
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(r.ctx(), time.Second)
		defer cancel()
		_, err := r.client.Kill(ctx, target("acme", "after"))
		return err
	})
	eventually(t, becomes(g, call("acme", "after"), guard.Deny))
	eventually(t, becomes(late, call("acme", "after"), guard.Deny))
}

func TestAServerThatLostItsStreamIsReadFromTheStart(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g1", func(o *guard.Options) { o.Poll = 20 * time.Millisecond })
	for i := range 10 {
		r.kill("acme", fmt.Sprint("bot", i))
	}
	r.server.Stop()
	r.dir = t.TempDir()
	r.startServer()
	g.Deafen() // what follows must come from the stream, whose numbers begin again
	nc := r.connect(r.server.DetectorURL())
	c, err := revoke.NewClient(r.ctx(), nc, revoke.ClientOptions{Signer: r.signer})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Kill(r.ctx(), target("acme", "new")); err != nil {
		t.Fatal(err)
	}
	eventually(t, becomes(g, call("acme", "new"), guard.Deny))
}

func TestARevocationEndsByItself(t *testing.T) {
	r := newRig(t, 1)
	clock := newClock()
	g := r.guard("g1", func(o *guard.Options) { o.Clock = clock.now })
	acks := r.kill("acme", "bot", func(rev *revoke.Revocation) { rev.Until = clock.now().Add(time.Minute) })
	clock.add(time.Minute - time.Second)
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	clock.add(2 * time.Second)
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	if s := g.Stats(); s.Active != 0 || len(acks) != 1 {
		t.Errorf("stats %+v, acks %+v", s, acks)
	}
	if g.Size() != 1 {
		t.Errorf("%d entries before the sweep", g.Size())
	}
	g.Sweep()
	if g.Size() != 0 {
		t.Errorf("%d entries after the sweep", g.Size())
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
}

func TestForgeriesAreRefusedAndCounted(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	rev := target("acme", "bot", func(rev *revoke.Revocation) {
		rev.ID, rev.IssuedAt, rev.Initiator = "forged", time.Now(), revoke.Admin
	})
	sign := func(s revoke.Signer, rev revoke.Revocation) string {
		token, err := s.Sign(rev)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	stranger := revokeKey(t)
	impostor := stranger
	impostor.KID = r.signer.KID
	old := rev
	old.IssuedAt, old.Until = rev.IssuedAt.Add(-time.Hour), rev.IssuedAt.Add(-time.Minute)
	future := rev
	future.IssuedAt = rev.IssuedAt.Add(time.Hour)
	future.Until = future.IssuedAt.Add(time.Hour)
	for _, m := range []struct{ subject, token string }{
		{revoke.Subject(rev), `{"tenant":"acme","scope":"agent","subject":"bot","action":"revoke"}`},
		{revoke.Subject(rev), ""},
		{revoke.Subject(rev), sign(stranger, rev)},
		{revoke.Subject(rev), sign(impostor, rev)},
		{revoke.Subject(rev), sign(r.signer, old)},
		{revoke.Subject(rev), sign(r.signer, future)},
		{"estop.v1.revoke.acme.agent.other", sign(r.signer, rev)},
	} {
		g.Take(m.subject, m.token)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	s := g.Stats()
	for reason, want := range map[string]uint64{
		"malformed": 2, "unknown_key": 1, "signature": 1, "expired": 1, "not_yet_valid": 1, "subject": 1,
	} {
		if s.Refused[reason] != want {
			t.Errorf("refused %v: want %d of %s", s.Refused, want, reason)
		}
	}
	if s.Applied != 0 {
		t.Errorf("%d forgeries applied", s.Applied)
	}
	// The genuine one still passes afterwards.
	r.kill("acme", "bot")
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

func TestARepeatedKillIsOneKill(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1", func(o *guard.Options) { o.Poll = time.Hour })
	rev := target("acme", "bot")
	rev.ID, rev.IssuedAt, rev.Initiator = revoke.ID("d", "bot", "estop.calls", 0, 1, 0), time.Now(), revoke.Policy
	rec, err := r.signer.Record(rev)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		// Each is acknowledged: whoever repeats has not heard the first acknowledgement.
		if acks, err := r.client.Send(r.ctx(), rec); err != nil || len(acks) != 1 {
			t.Fatalf("repetition %d: %v, %v", i, acks, err)
		}
	}
	if s := g.Stats(); s.Applied != 1 || s.Duplicates != 2 || s.Active != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestADetectorCannotWeakenWhatIsInForce(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	r.kill("acme", "bot")
	for i, change := range []func(*revoke.Revocation){
		action(revoke.Throttle), action(revoke.Restrict), action(revoke.Release),
		func(rev *revoke.Revocation) { rev.Until = time.Now().Add(time.Minute) },
	} {
		rev := target("acme", "bot", change)
		rev.ID, rev.IssuedAt, rev.Initiator = fmt.Sprint(i), time.Now(), revoke.Policy
		rec, err := r.signer.Record(rev)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.Publisher().Publish(r.ctx(), rec); !errors.Is(err, revoke.ErrOutranked) {
			t.Errorf("%s until %v: %v, want ErrOutranked", rev.Action, rev.Until, err)
		}
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

func TestWhatMatchesACall(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	issued := time.Now()
	full := guard.Call{
		Tenant: "acme", Agent: "leaf", Identity: "role", Session: "run",
		Chain: []string{"root", "middle", "leaf"}, CredentialIssuedAt: issued,
	}
	f := func(rev revoke.Revocation, want guard.Verdict) {
		t.Helper()
		acks, err := r.client.Kill(r.ctx(), rev)
		if err != nil {
			t.Fatal(err)
		}
		d := g.Check(&full)
		if d.Verdict != want {
			t.Errorf("%s %q: %v, want %v", rev.Scope, rev.Subject, d.Verdict, want)
		}
		if want != guard.Allow && (d.Revocation == nil || d.Revocation.ID != acks[0].Revocation || d.Reason != "test") {
			t.Errorf("%s %q: decision %+v", rev.Scope, rev.Subject, d)
		}
		if _, err := r.client.Release(r.ctx(), rev.Tenant, rev.Scope, rev.Subject, "test", 0); err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, g, &full, guard.Allow)
	}
	f(target("acme", "leaf"), guard.Deny)
	f(target("acme", "middle"), guard.Deny)
	f(target("acme", "root"), guard.Deny)
	f(target("acme", "root", scope(revoke.Chain)), guard.Deny)
	f(target("acme", "leaf", scope(revoke.Chain)), guard.Deny)
	f(target("acme", "role", scope(revoke.Identity)), guard.Deny)
	f(target("acme", "run", scope(revoke.Session)), guard.Deny)
	f(target("acme", "acme", scope(revoke.Tenant)), guard.Deny)
	f(target("acme", "role"), guard.Allow)
	f(target("acme", "root", scope(revoke.Session)), guard.Allow)
	f(target("globex", "leaf"), guard.Allow)
	f(target("globex", "globex", scope(revoke.Tenant)), guard.Allow)
	f(target("acme", "leaf", action(revoke.Throttle)), guard.Throttle)
	f(target("acme", "leaf", action(revoke.Restrict)), guard.Restrict)
	validAfter := func(at time.Time) func(*revoke.Revocation) {
		return func(rev *revoke.Revocation) { rev.ValidAfter = at }
	}
	f(target("acme", "leaf", validAfter(issued.Add(-1))), guard.Allow)
	f(target("acme", "leaf", validAfter(issued)), guard.Deny)
	f(target("acme", "leaf", validAfter(issued.Add(1))), guard.Deny)
	full.CredentialIssuedAt = time.Time{}
	f(target("acme", "leaf", validAfter(issued)), guard.Deny)
}

func TestTheStrongestActionWins(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	c := &guard.Call{Tenant: "acme", Agent: "bot", Identity: "role", Session: "run"}
	r.kill("acme", "acme", scope(revoke.Tenant), action(revoke.Throttle))
	wantVerdict(t, g, c, guard.Throttle)
	r.kill("acme", "run", scope(revoke.Session), action(revoke.Restrict))
	wantVerdict(t, g, c, guard.Restrict)
	r.kill("acme", "bot")
	wantVerdict(t, g, c, guard.Deny)
	r.kill("acme", "role", scope(revoke.Identity), action(revoke.Throttle))
	wantVerdict(t, g, c, guard.Deny)
}

func TestThrottleAndRestrictDoNotCancelWhatIsInFlight(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	ctx, inflight, _ := g.Begin(context.Background(), call("acme", "bot"))
	defer inflight.End()
	r.kill("acme", "bot", action(revoke.Throttle))
	r.kill("acme", "bot", action(revoke.Restrict))
	if ctx.Err() != nil {
		t.Errorf("cancelled: %v", context.Cause(ctx))
	}
	r.kill("acme", "bot")
	if ctx.Err() == nil {
		t.Error("not cancelled by revoke")
	}
}

func TestACallIsFoundInFlightByEachOfItsNames(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	for i, rev := range []revoke.Revocation{
		target("acme", "leaf"), target("acme", "root"), target("acme", "middle", scope(revoke.Chain)),
		target("acme", "role", scope(revoke.Identity)), target("acme", "run", scope(revoke.Session)),
		target("acme", "acme", scope(revoke.Tenant)),
	} {
		c := &guard.Call{Tenant: "acme", Agent: "leaf", Identity: "role", Session: "run", Chain: []string{"root", "middle", "leaf"}}
		ctx, inflight, d := g.Begin(context.Background(), c)
		if d.Verdict != guard.Allow {
			t.Fatal(d)
		}
		c.Chain[0] = "changed" // the guard has a copy
		acks, err := r.client.Kill(r.ctx(), rev)
		if err != nil || acks[0].Cancelled != 1 || ctx.Err() == nil {
			t.Errorf("%d: %s %q: acks %+v, %v", i, rev.Scope, rev.Subject, acks, err)
		}
		inflight.End()
		inflight.End()
		if _, err := r.client.Release(r.ctx(), rev.Tenant, rev.Scope, rev.Subject, "test", 0); err != nil {
			t.Fatal(err)
		}
	}
	if s := g.Stats(); s.InFlight != 0 || s.Cancelled != 6 {
		t.Errorf("stats %+v", s)
	}
}

// A kill that arrives while calls begin finds each of them: in the check, or in flight.
func TestNoCallSlipsBetweenTheCheckAndTheWatch(t *testing.T) {
	const latest = 10_000 // calls that each goroutine remembers
	r := newRig(t, 1)
	g := r.guard("g1")
	for round := range 20 {
		name := fmt.Sprint("bot", round)
		var wg sync.WaitGroup
		var begun [4][]context.Context
		stop := make(chan struct{})
		for i := range begun {
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					ctx, _, _ := g.Begin(context.Background(), call("acme", name))
					if n < latest {
						begun[i] = append(begun[i], ctx)
					} else {
						begun[i][n%latest] = ctx
					}
					if ctx.Err() != nil {
						return
					}
				}
			})
		}
		r.kill("acme", name)
		close(stop)
		wg.Wait()
		for _, ctx := range slices.Concat(begun[:]...) {
			if ctx.Err() == nil {
				t.Fatal("a call that began around the kill still runs after the acknowledgement")
			}
		}
	}
}

// A message comes twice, over core NATS and from the stream. The second one, a duplicate,
// was acknowledged while the first was still cancelling calls.
func TestADuplicateIsNotAcknowledgedBeforeTheCancellation(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1", func(o *guard.Options) { o.Poll = time.Hour })
	acks, err := r.nc.SubscribeSync(revoke.AckSubject("g1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var running []context.Context
	for range 20_000 {
		ctx, inflight, _ := g.Begin(context.Background(), call("acme", "bot"))
		defer inflight.End()
		running = append(running, ctx)
	}
	rev := target("acme", "bot")
	rev.ID, rev.IssuedAt, rev.Initiator = "twice", time.Now(), revoke.Admin
	token, err := r.signer.Sign(rev)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { g.Take(revoke.Subject(rev), token) })
	}
	if _, err := acks.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	left := 0
	for i := len(running) - 1; i >= 0; i-- {
		if running[i].Err() == nil {
			left++
		}
	}
	if left > 0 {
		t.Errorf("%d calls still ran when the first acknowledgement came", left)
	}
	wg.Wait()
}

func TestADrillGoesTheWholeWayAndStopsNobody(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.guard("g1"), r.guard("g2", func(o *guard.Options) { o.All, o.Tenants = false, []string{"acme"} })
	acks, err := r.client.Drill(r.ctx(), "acme")
	if err != nil || len(acks) != 2 {
		t.Fatalf("%v, %v", acks, err)
	}
	for _, g := range []*guard.Guard{a, b} {
		wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "bot", Session: "run"}, guard.Allow)
	}
}

func TestAGuardGoesStaleAndComesBack(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g1", func(o *guard.Options) { o.MaxStale, o.Poll = 300*time.Millisecond, 20*time.Millisecond })
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	r.server.Stop()
	eventually(t, func() error {
		if d := g.Check(call("acme", "bot")); d.Reason != guard.ReasonStale {
			return fmt.Errorf("decision %v %q, want stale", d.Verdict, d.Reason)
		}
		return nil
	})
	r.startServer()
	eventually(t, becomes(g, call("acme", "bot"), guard.Allow))
}

func TestAGuardWithoutAStreamIsNotSynced(t *testing.T) {
	r := newRig(t, 0)
	if err := r.deleteStream(); err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Options{
		Name: "g1", Conn: r.connect(r.server.URL()), Verifier: r.signer.Verifier(), All: true,
		Poll: 20 * time.Millisecond, FailClosedUntilSynced: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(r.ctx()); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	eventually(t, func() error {
		if s := g.Stats(); s.ReadErrors == 0 {
			return errors.New("no reading failed yet")
		}
		return nil
	})
	if d := g.Check(call("acme", "bot")); g.Synced() || d.Reason != guard.ReasonNotSynced {
		t.Errorf("synced %v, decision %v %q", g.Synced(), d.Verdict, d.Reason)
	}
	if _, err := revoke.NewPublisher(r.ctx(), r.nc, revoke.PublisherOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := g.WaitSynced(r.ctx()); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
}

func TestAGuardStartsOnceAndClosesTwice(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g1")
	if err := g.Start(r.ctx()); err == nil {
		t.Error("started twice")
	}
	for range 2 {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	closed, err := nats.Connect(r.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	g, err = guard.New(guard.Options{Name: "g2", Conn: closed, Verifier: r.signer.Verifier(), All: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(r.ctx()); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("start on a closed connection: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
