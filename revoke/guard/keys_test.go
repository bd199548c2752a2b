package guard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// office is an installation with a detector and operators, each with a key of their own.
type office struct {
	*rig
	detector, ada, bob revoke.Signer
	keys               revoke.Verifier
	file               string
}

func newOffice(t *testing.T, rules revoke.Rules) *office {
	t.Helper()
	o := &office{rig: newRig(t, 0), detector: revokeKey(t), ada: revokeKey(t), bob: revokeKey(t)}
	o.detector.Role = revoke.DetectorRole
	o.ada.Role, o.ada.Name = revoke.OperatorRole, "ada"
	o.bob.Role, o.bob.Name = revoke.OperatorRole, "bob"
	o.keys = o.detector.Verifier()
	o.keys.Rules = rules
	o.trust(o.ada)
	o.trust(o.bob)
	o.file = filepath.Join(t.TempDir(), "keys.jwks")
	o.save()
	return o
}

func (o *office) trust(s revoke.Signer) { o.keys.Keys[s.KID] = s.Verifier().Keys[s.KID] }

func (o *office) save() {
	o.t.Helper()
	if err := revoke.SaveVerifier(o.file, o.keys); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) opts(g *guard.Options) { g.Verifier, g.KeyFile = revoke.Verifier{}, o.file }

// send publishes what s signs, as a console without any check would.
func (o *office) send(s revoke.Signer, r revoke.Revocation, approvals ...string) revoke.Revocation {
	o.t.Helper()
	if r.IssuedAt.IsZero() {
		r.IssuedAt = time.Now()
	}
	r.Until = r.Until.Round(0)
	r.ID, r.Initiator, r.By = nextID(), revoke.Admin, s.Name
	if s.Role == revoke.DetectorRole {
		r.Initiator = revoke.Policy
	}
	return o.publish(s, r, approvals...)
}

func (o *office) publish(s revoke.Signer, r revoke.Revocation, approvals ...string) revoke.Revocation {
	o.t.Helper()
	rec, err := s.RecordApproved(r, approvals...)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.nc.Publish(revoke.Subject(r), []byte(rec.SET)); err != nil {
		o.t.Fatal(err)
	}
	if err := o.nc.Flush(); err != nil {
		o.t.Fatal(err)
	}
	return r
}

var ids int

func nextID() string { ids++; return fmt.Sprint("order-", ids) }

func everything(change ...func(*revoke.Revocation)) revoke.Revocation {
	r := target(revoke.Everything, revoke.Everything, change...)
	r.Scope = revoke.Global
	return r
}

func refused(g *guard.Guard, reason string, n uint64) func() error {
	return func() error {
		if s := g.Stats(); s.Refused[reason] != n {
			return fmt.Errorf("refused %v, want %d of %q", s.Refused, n, reason)
		}
		return nil
	}
}

func TestKeysAreTakenFromTheirFileWhileTheGuardRuns(t *testing.T) {
	o := newOffice(t, revoke.Rules{})
	g := o.guard("g", o.opts)
	cy := revokeKey(t)
	cy.Role, cy.Name = revoke.OperatorRole, "cy"
	o.send(cy, target("acme", "bot"))
	eventually(t, func() error {
		if n := g.Stats().Refused["unknown_key"]; n == 0 {
			return errors.New("not refused")
		}
		return nil
	})
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)

	// Once the key is trusted, what it signed before counts.
	o.trust(cy)
	o.save()
	eventually(t, becomes(g, call("acme", "bot"), guard.Deny))

	// A file that is wrong changes nothing, and is counted.
	good, err := os.ReadFile(o.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.file, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if n := g.Stats().KeyErrors; n != 1 {
			return fmt.Errorf("%d errors of keys", n)
		}
		return nil
	})
	o.send(o.ada, target("acme", "bot2"))
	eventually(t, becomes(g, call("acme", "bot2"), guard.Deny))

	// A key that is retired signs nothing more; what it stopped stays so.
	k := o.keys.Keys[cy.KID]
	k.NotAfter = time.Now().Truncate(time.Second)
	o.keys.Keys[cy.KID] = k
	o.save()
	eventually(t, func() error {
		o.send(cy, target("acme", nextID()))
		return atLeast(g.Stats().Refused["key_time"], 1)
	})
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

func atLeast(n, want uint64) error {
	if n < want {
		return fmt.Errorf("%d, want %d", n, want)
	}
	return nil
}

func TestAKeyOutsideItsRoleStopsNobody(t *testing.T) {
	o := newOffice(t, revoke.Rules{})
	g := o.guard("g", o.opts)
	r := target("acme", "bot")
	r.ID, r.IssuedAt, r.Initiator, r.By = nextID(), time.Now(), revoke.Admin, "ada"
	o.publish(o.detector, r) // a detector that plays ada
	o.publish(o.bob, r)      // and bob who does
	eventually(t, func() error { return atLeast(g.Stats().Refused["role"], 2) })
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	o.publish(o.ada, r)
	eventually(t, becomes(g, call("acme", "bot"), guard.Deny))
}

func TestAGlobalStopReachesEveryGuardAndEveryCall(t *testing.T) {
	r := newRig(t, 0)
	one := r.guard("one", func(o *guard.Options) { o.All, o.Tenants = false, []string{"acme"} })
	two := r.guard("two", func(o *guard.Options) { o.All, o.Tenants = false, []string{"globex", "initech"} })
	all := r.guard("all")
	ctx, inflight, d := one.Begin(context.Background(), &guard.Call{Tenant: "acme", Agent: "bot", Session: "s", Identity: "i"})
	defer inflight.End()
	if d.Verdict != guard.Allow {
		t.Fatal(d)
	}
	calls := map[*guard.Guard][]*guard.Call{
		one: {call("acme", "bot")}, two: {call("globex", "a"), call("initech", "b")}, all: {call("acme", "x"), call("anybody", "y"), call("~", "~")},
	}
	rec, err := r.client.Record(everything())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Send(r.ctx(), rec); err != nil {
		t.Fatal(err)
	}
	each := func(want guard.Verdict) {
		t.Helper()
		for g, list := range calls {
			for _, c := range list {
				eventually(t, becomes(g, c, want))
			}
		}
	}
	each(guard.Deny)
	<-ctx.Done()
	var why *guard.Revoked
	if !errors.As(context.Cause(ctx), &why) || why.Revocation.Scope != revoke.Global {
		t.Errorf("the call in flight ended because of %v", context.Cause(ctx))
	}
	// Who joins late reads it, and a person sees it.
	late := r.guard("late", func(o *guard.Options) { o.All, o.Tenants = false, []string{"later"} })
	wantVerdict(t, late, call("later", "bot"), guard.Deny)
	if active, err := r.client.Active(r.ctx()); err != nil || len(active) != 1 || active[0].Scope != revoke.Global {
		t.Errorf("active %+v, %v", active, err)
	}
	if _, err := r.client.Release(r.ctx(), revoke.Everything, revoke.Global, revoke.Everything, "over", 0); err != nil {
		t.Fatal(err)
	}
	each(guard.Allow)
}

func TestAStopOfATenantWithTheNameOfEverythingStopsThatTenant(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g")
	r.kill("~", "~", func(r *revoke.Revocation) { r.Scope = revoke.Tenant })
	eventually(t, becomes(g, call("~", "bot"), guard.Deny))
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
}

func TestHeartbeatsTellOfAGlobalStop(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect", 30*time.Millisecond)
	g := r.guard("g", slowPoll, func(o *guard.Options) { o.All, o.Tenants, o.Beats = false, []string{"acme"}, guard.BeatsRequired })
	eventually(t, heard(g, 2))
	g.LoseRevocations()
	if _, err := r.client.Kill(r.ctx(), everything()); err != nil {
		t.Fatal(err)
	}
	eventually(t, becomes(g, call("acme", "bot"), guard.Deny))
	n := g.Stats().Beats
	eventually(t, heard(g, n+3))
	if s := g.Stats(); s.Mismatches != 1 || s.Diverged != 0 {
		t.Errorf("%+v, want one mismatch, which a reading heals", s)
	}
}

func TestWhatOneOperatorMayNotDoAloneNoConsoleCan(t *testing.T) {
	o := newOffice(t, revoke.Rules{TwoPerson: revoke.Demands, BreakGlass: true})
	g := o.guard("g", o.opts)
	stop := o.send(o.ada, target("acme", "bot"))
	eventually(t, becomes(g, call("acme", "bot"), guard.Deny))

	release := target("acme", "bot", action(revoke.Release))
	release.Releases, release.Until = stop.ID, stop.Until
	o.send(o.ada, release)
	eventually(t, refused(g, "unapproved", 1))

	// A release under another name: something weaker, or the same for a moment.
	superseded := g.Stats().Superseded
	o.send(o.ada, target("acme", "bot", action(revoke.Throttle)))
	o.send(o.ada, target("acme", "bot", func(r *revoke.Revocation) { r.Until = time.Now().Add(20 * time.Second) }))
	o.send(o.detector, target("acme", "bot", action(revoke.Throttle)))
	eventually(t, func() error { return atLeast(g.Stats().Superseded, superseded+3) })
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)

	// Everything, for longer than the glass may be broken for; then as it may be.
	o.send(o.ada, everything())
	eventually(t, refused(g, "unapproved", 2))
	wantVerdict(t, g, call("globex", "x"), guard.Allow)
	o.send(o.ada, everything(func(r *revoke.Revocation) { r.Until = time.Now().Add(time.Minute) }))
	eventually(t, becomes(g, call("globex", "x"), guard.Deny))

	// Two release.
	release.IssuedAt = time.Now()
	release.ID, release.Initiator, release.By = nextID(), revoke.Admin, "ada"
	approval, err := o.bob.Approve(release)
	if err != nil {
		t.Fatal(err)
	}
	o.publish(o.ada, release, approval)
	eventually(t, func() error {
		if d := g.Check(call("acme", "bot")); d.Revocation == nil || d.Revocation.Scope != revoke.Global {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

func TestInWhateverOrderTheyComeOneOperatorWeakensNothing(t *testing.T) {
	long := target("acme", "bot")
	long.IssuedAt = time.Now()
	weak := target("acme", "bot", action(revoke.Throttle))
	weak.IssuedAt = long.IssuedAt.Add(time.Second)
	for _, order := range [][]revoke.Revocation{{long, weak}, {weak, long}} {
		o := newOffice(t, revoke.Rules{TwoPerson: revoke.Demands})
		g := o.guard("g", o.opts)
		for _, r := range order {
			o.send(o.ada, r)
		}
		eventually(t, becomes(g, call("acme", "bot"), guard.Deny))
		eventually(t, func() error { return atLeast(g.Stats().Applied+g.Stats().Superseded, 2) })
		wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	}
}

func TestAReadingByOtherKeysThatFailsIsStillDue(t *testing.T) {
	o := newOffice(t, revoke.Rules{})
	o.send(o.ada, target("acme", "bot"))
	look := func() {}
	g, err := guard.New(guard.Options{
		Name: "g", Conn: o.connect(o.server.URL()), Verifier: o.keys, All: true, Beats: guard.BeatsIgnored,
		Clock: func() time.Time { look(); return time.Now() },
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := g.Reader()
	if err := reader.Read(o.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := g.SetVerifier(o.keys); err != nil {
		t.Fatal(err)
	}
	broken, cancel := context.WithCancel(o.ctx())
	defer cancel()
	looks := 0
	look = func() {
		if looks++; looks == 2 { // at the first message: the first look is when the reading begins
			cancel()
		}
	}
	if err := reader.Read(broken); err == nil {
		t.Fatal("a reading that is broken off does not fail")
	}
	if !g.Rekeyed() {
		t.Error("what the keys before have refused is never read again")
	}
	look = func() {}
	if err := reader.Read(o.ctx()); err != nil || g.Rekeyed() {
		t.Errorf("after a whole reading: %v, still due: %v", err, g.Rekeyed())
	}
}
