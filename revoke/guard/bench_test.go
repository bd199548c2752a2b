package guard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
)

// BenchmarkCheck measures a check beside one look-up in a Go map of as many targets. Both
// get another agent each time, in an order that no cache foresees. They take turns, a few
// thousand calls each, and the medians count, so that a neighbour's load falls on both.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{0, 1000, 1_000_000} {
		r := newRace(b, n)
		b.Run(fmt.Sprintf("%d/innocent", n), func(b *testing.B) { r.run(b, "innocent") })
		if n > 0 {
			b.Run(fmt.Sprintf("%d/revoked", n), func(b *testing.B) { r.run(b, "agent") })
		}
	}
}

// BenchmarkGuardCheck is the one with a million revocations, and how checks scale over processors
// (-cpu 1,2): no two of them write to the same memory.
func BenchmarkGuardCheck(b *testing.B) {
	const n = 1_000_000
	r := newRace(b, n)
	b.Run("innocent", func(b *testing.B) { r.run(b, "innocent") })
	b.Run("revoked", func(b *testing.B) { r.run(b, "agent") })
	names := make([]string, 1<<17)
	for i := range names {
		names[i] = fmt.Sprint("innocent-", i*7919%n)
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			c, i := Call{Tenant: "acme", Identity: "role-of-the-agent", Session: "3f2c7c1e-run"}, rand.IntN(len(names))
			for pb.Next() {
				i++
				c.Agent = names[i%len(names)]
				r.guard.Check(&c)
			}
		})
	})
}

type race struct {
	n     int
	guard *Guard
	m     map[raceTarget]struct{}
}

type raceTarget struct{ tenant, subject string }

func newRace(b *testing.B, n int) *race {
	now := time.Unix(1_800_000_000, 0)
	r := &race{n: n, guard: testGuard(b, func() time.Time { return now }), m: make(map[raceTarget]struct{}, n)}
	for i := range n {
		rev := agentRevocation(i, now, time.Hour)
		r.guard.apply(rev, now)
		r.m[raceTarget{rev.Tenant, rev.Subject}] = struct{}{}
	}
	return r
}

func (r *race) run(b *testing.B, who string) {
	const turn = 4096
	names := make([]string, 1<<17)
	for i := range names {
		names[i] = fmt.Sprint(who, "-", i*7919%max(r.n, 1))
	}
	c := Call{Tenant: "acme", Identity: "role-of-the-agent", Session: "3f2c7c1e-run"}
	var checks, lookups []float64
	hits, at := 0, 0
	for b.Loop() {
		mine := names[at : at+turn]
		at = (at + 2*turn) % len(names)
		start := time.Now()
		for _, name := range mine {
			c.Agent = name
			r.guard.Check(&c)
		}
		checks = append(checks, float64(time.Since(start).Nanoseconds())/turn)
		mine = names[(at+turn)%len(names):][:turn]
		start = time.Now()
		for _, name := range mine {
			if _, ok := r.m[raceTarget{c.Tenant, name}]; ok {
				hits++
			}
		}
		lookups = append(lookups, float64(time.Since(start).Nanoseconds())/turn)
	}
	slices.Sort(checks)
	slices.Sort(lookups)
	check, lookup := checks[len(checks)/2], lookups[len(lookups)/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(check, "ns/check")
	b.ReportMetric(lookup, "ns/lookup")
	b.ReportMetric(check/lookup, "ratio")
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
