package guard

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
)

// BenchmarkCheck measures a check beside one look-up in a Go map of as many targets. Both
// get another agent each time, in an order that no cache foresees.
func BenchmarkCheck(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	for _, n := range []int{0, 1000, 1_000_000} {
		g := testGuard(b, func() time.Time { return now })
		type target struct{ tenant, subject string }
		m := make(map[target]struct{}, n)
		for i := range n {
			r := agentRevocation(i, now, time.Hour)
			g.apply(r, now)
			m[target{r.Tenant, r.Subject}] = struct{}{}
		}
		for _, who := range []string{"innocent", "agent"} {
			if who == "agent" && n == 0 {
				continue
			}
			names := make([]string, 1<<16)
			for i := range names {
				names[i] = fmt.Sprint(who, "-", i*7919%max(n, 1))
			}
			c := Call{Tenant: "acme", Identity: "role-of-the-agent", Session: "3f2c7c1e-run"}
			b.Run(fmt.Sprintf("%d/%s/guard", n, who), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					c.Agent = names[i%len(names)]
					g.Check(&c)
					i++
				}
			})
			b.Run(fmt.Sprintf("%d/%s/map", n, who), func(b *testing.B) {
				hits, i := 0, 0
				for b.Loop() {
					if _, ok := m[target{c.Tenant, names[i%len(names)]}]; ok {
						hits++
					}
					i++
				}
			})
		}
	}
}

// BenchmarkCheckAllKinds has revocations of every scope, and a chain: the longest way.
func BenchmarkCheckAllKinds(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	g := testGuard(b, func() time.Time { return now })
	scopes := []revoke.Scope{revoke.Agent, revoke.Chain, revoke.Identity, revoke.Session}
	for i := range 100_000 {
		r := agentRevocation(i, now, time.Hour)
		r.Scope = scopes[i%4]
		g.apply(r, now)
	}
	c := &Call{Tenant: "acme", Agent: "bot", Identity: "role", Session: "run", Chain: []string{"root", "middle", "bot"}}
	b.ReportAllocs()
	for b.Loop() {
		g.Check(c)
	}
}

// BenchmarkApply puts a revocation in force beside n others, with 1,000 calls of other
// agents in flight.
func BenchmarkApply(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	for _, n := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := testGuard(b, func() time.Time { return now })
			for i := range n {
				g.apply(agentRevocation(i, now, time.Hour), now)
			}
			for i := range 1000 {
				_, f, _ := g.Begin(context.Background(), &Call{Tenant: "acme", Agent: fmt.Sprint("busy-", i)})
				defer f.End()
			}
			i := n
			for b.Loop() {
				g.apply(agentRevocation(i, now, time.Hour), now)
				i++
			}
		})
	}
}

func BenchmarkBeginEnd(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	g := testGuard(b, func() time.Time { return now })
	c := &Call{Tenant: "acme", Agent: "bot", Identity: "role", Session: "run", Chain: []string{"root", "bot"}}
	b.ReportAllocs()
	for b.Loop() {
		_, f, _ := g.Begin(context.Background(), c)
		f.End()
	}
}
