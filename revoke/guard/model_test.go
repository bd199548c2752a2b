package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/revoke"
)

// model is the guard as one would write it without a thought of speed: a list.
type model struct{ heard []revoke.Revocation }

func (m *model) hear(r revoke.Revocation) { m.heard = append(m.heard, r) }

// decide looks at the latest message of each target.
func (m *model) decide(c *Call, now time.Time) Verdict {
	best := Allow
	for i, r := range m.heard {
		if m.later(i) || !now.Before(r.Until) || !m.meets(r, c) {
			continue
		}
		if !r.ValidAfter.IsZero() && c.CredentialIssuedAt.After(r.ValidAfter) {
			continue
		}
		best = max(best, map[revoke.Action]Verdict{revoke.Throttle: Throttle, revoke.Restrict: Restrict, revoke.Revoke: Deny}[r.Action])
	}
	return best
}

func (m *model) later(i int) bool {
	r := m.heard[i]
	for _, o := range m.heard {
		if o.Tenant == r.Tenant && o.Scope == r.Scope && o.Subject == r.Subject && o.IssuedAt.After(r.IssuedAt) {
			return true
		}
	}
	return false
}

func (m *model) meets(r revoke.Revocation, c *Call) bool {
	if r.Tenant != c.Tenant {
		return false
	}
	switch r.Scope {
	case revoke.Tenant:
		return true
	case revoke.Agent, revoke.Chain:
		return r.Subject == c.Agent || slices.Contains(c.Chain, r.Subject)
	case revoke.Identity:
		return r.Subject == c.Identity
	}
	return r.Subject == c.Session
}

func TestGuardAnswersAsAListOfRevocationsWould(t *testing.T) {
	// The last two are too long to be held in an entry, and differ at their end only.
	long := strings.Repeat("x", 60)
	name := rapid.SampledFrom([]string{"a", "b", long + "1", long + "2"})
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1_800_000_000, 0)
		now := start
		g := testGuard(t, func() time.Time { return now })
		var m model
		n := 0
		inflight := make(map[context.Context]*Call)
		t.Repeat(map[string]func(*rapid.T){
			"revocation": func(t *rapid.T) {
				n++
				r := revoke.Revocation{
					ID: fmt.Sprint(n), Tenant: name.Draw(t, "tenant"), Subject: name.Draw(t, "subject"),
					Scope:  rapid.SampledFrom([]revoke.Scope{revoke.Tenant, revoke.Agent, revoke.Chain, revoke.Identity, revoke.Session}).Draw(t, "scope"),
					Action: rapid.SampledFrom([]revoke.Action{revoke.Throttle, revoke.Restrict, revoke.Revoke, revoke.Release}).Draw(t, "action"),
					// Messages come out of order, but no two are of one moment.
					IssuedAt: now.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "seconds"))*time.Second + time.Duration(n)),
				}
				if r.Scope == revoke.Tenant {
					r.Subject = r.Tenant
				}
				// All end in the order in which they were issued: a message that has ended
				// leaves no trace, so it must not end before one that it replaced.
				r.Until = r.IssuedAt.Add(20 * time.Second)
				if rapid.Bool().Draw(t, "valid after") {
					r.ValidAfter = start.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "after")) * time.Second)
				}
				m.hear(r)
				for range rapid.IntRange(1, 2).Draw(t, "times") {
					g.apply(r, now)
				}
				for ctx, c := range inflight {
					if m.decide(c, now) == Deny && ctx.Err() == nil {
						t.Fatalf("%+v runs on in spite of %+v", *c, r)
					}
				}
			},
			"call": func(t *rapid.T) {
				c := drawCall(t, name, start)
				if got, want := g.Check(c).Verdict, m.decide(c, now); got != want {
					t.Fatalf("Check(%+v) = %v, want %v", *c, got, want)
				}
			},
			"begin": func(t *rapid.T) {
				c := drawCall(t, name, start)
				ctx, _, d := g.Begin(context.Background(), c)
				if want := m.decide(c, now); d.Verdict != want || (ctx.Err() != nil) != (want == Deny) {
					t.Fatalf("Begin(%+v) = %v, %v; want %v", *c, d.Verdict, ctx.Err(), want)
				}
				if d.Verdict != Deny {
					inflight[ctx] = c
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 15).Draw(t, "seconds")) * time.Second)
			},
			"sweep": func(t *rapid.T) { g.set.sweep(now.UnixNano()) },
		})
	})
}

func drawCall(t *rapid.T, name *rapid.Generator[string], start time.Time) *Call {
	c := &Call{
		Tenant: name.Draw(t, "tenant"), Agent: name.Draw(t, "agent"),
		Identity: rapid.SampledFrom([]string{"", "a", strings.Repeat("x", 60) + "1"}).Draw(t, "identity"),
		Session:  rapid.SampledFrom([]string{"", "a", strings.Repeat("x", 60) + "1"}).Draw(t, "session"),
		Chain:    rapid.SliceOfN(name, 0, 3).Draw(t, "chain"),
	}
	if rapid.Bool().Draw(t, "dated") {
		c.CredentialIssuedAt = start.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "credential")) * time.Second)
	}
	return c
}

func testGuard(t interface{ Fatal(...any) }, clock func() time.Time) *Guard {
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(Options{Name: "g", Conn: &nats.Conn{}, Verifier: signer.Verifier(), All: true, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Entries that come and go must not pile up.
func TestTheSetIsBoundedByWhatIsInForce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	g := testGuard(t, func() time.Time { return now })
	for i := range 200_000 {
		now = now.Add(time.Second)
		g.apply(agentRevocation(i, now, time.Minute), now)
		if i%60 == 0 {
			g.set.sweep(now.UnixNano())
		}
	}
	if n := len(g.set.tables[kindAgent].Load().tags); n > 4096 {
		t.Errorf("%d slots for 60 entries in force", n)
	}
	if d := g.Check(&Call{Tenant: "acme", Agent: "agent-199999"}); d.Verdict != Deny {
		t.Error("the last one is lost")
	}
	if d := g.Check(&Call{Tenant: "acme", Agent: "agent-0"}); d.Verdict != Allow {
		t.Error("the first one has not ended")
	}
}

func agentRevocation(i int, now time.Time, d time.Duration) revoke.Revocation {
	return revoke.Revocation{
		ID: fmt.Sprint(i), Tenant: "acme", Scope: revoke.Agent, Subject: fmt.Sprint("agent-", i),
		Action: revoke.Revoke, IssuedAt: now, Until: now.Add(d),
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	g := testGuard(t, func() time.Time { return now })
	for i := range 1000 {
		g.apply(agentRevocation(i, now, time.Hour), now)
	}
	for _, agent := range []string{"agent-7", "innocent"} {
		c := &Call{Tenant: "acme", Agent: agent, Identity: "role", Session: "run", Chain: []string{"root", agent}}
		if n := testing.AllocsPerRun(1000, func() { g.Check(c) }); n != 0 {
			t.Errorf("%s: %v allocations", agent, n)
		}
	}
}
