package guard

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
)

// BenchmarkCheck measures a check beside one look-up in a Go map of as many targets. Both
// get another agent each time, in an order that no cache foresees. They take turns, a few
// thousand calls each, and the medians count, so that a neighbour's load falls on both.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{0, 1000, million} {
		r := newRace(b, n)
		b.Run(fmt.Sprintf("%d/innocent", n), func(b *testing.B) { r.run(b, "innocent") })
		if n > 0 {
			b.Run(fmt.Sprintf("%d/revoked", n), func(b *testing.B) { r.run(b, "agent") })
		}
		if n == million {
			r.stopEverything()
			b.Run(fmt.Sprintf("%d/global", n), func(b *testing.B) { r.run(b, "innocent") })
		}
	}
}

const million = 1_000_000

// stopEverything puts a stop of all tenants in force.
func (r *race) stopEverything() {
	now := r.guard.clock()
	r.guard.apply(revoke.Revocation{
		ID: "all", Tenant: revoke.Everything, Scope: revoke.Global, Subject: revoke.Everything,
		Action: revoke.Revoke, IssuedAt: now, Until: now.Add(time.Hour),
	}, now)
}

// BenchmarkGuardScaling is how many more checks two goroutines make in the same time than one, with a million
// revocations: no two of them write to the same memory. They take turns, so that a neighbour's load falls on
// both, and the medians count.
func BenchmarkGuardScaling(b *testing.B) {
	if runtime.GOMAXPROCS(0) < 2 {
		b.Skip("there is one processor only")
	}
	r := newRace(b, million)
	names := make([]string, 1<<17)
	for i := range names {
		names[i] = fmt.Sprint("innocent-", i*7919%million)
	}
	var one, two []float64
	for b.Loop() {
		one = append(one, r.rate(names, 1))
		two = append(two, r.rate(names, 2))
	}
	slices.Sort(one)
	slices.Sort(two)
	b.ReportMetric(one[len(one)/2], "checks/s-one")
	b.ReportMetric(two[len(two)/2], "checks/s-two")
	b.ReportMetric(two[len(two)/2]/one[len(one)/2], "x-one")
	b.ReportMetric(0, "ns/op")
}

// rate returns the checks in a second of n goroutines together.
func (r *race) rate(names []string, n int) float64 {
	const each = 1 << 16
	var done sync.WaitGroup
	start := time.Now()
	for i := range n {
		done.Go(func() {
			c, from := Call{Tenant: "acme", Identity: "role-of-the-agent", Session: "3f2c7c1e-run"}, i*each
			for k := range each {
				c.Agent = names[(from+k)%len(names)]
				r.guard.Check(&c)
			}
		})
	}
	done.Wait()
	return float64(n*each) / time.Since(start).Seconds()
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
