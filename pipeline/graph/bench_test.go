package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// A fleet of agents, ten to a team, each with 15 resources of its team's 20 and 5 of its own;
// one call in 20 is to one of the company's 100.
func benchmarkCalls(agents, n int) []*telemetry.Call {
	rng := rand.New(rand.NewPCG(1, 2))
	calls := make([]*telemetry.Call, n)
	for i := range calls {
		a := rng.IntN(agents)
		team, r := a/10, rng.IntN(20)
		resource := fmt.Sprintf("arn:aws:s3:::team-%d/bucket-%d", team, (r+a)%20)
		if rng.IntN(20) == 0 {
			resource = fmt.Sprintf("arn:aws:s3:::company/bucket-%d", rng.IntN(100))
		} else if r >= 15 {
			resource = fmt.Sprintf("arn:aws:s3:::agent-%d/bucket-%d", a, r)
		}
		text := fmt.Sprintf("agent-%d arn:aws:iam::123456789012:role/team-%d s3:Action%d %s", a, team, a%5*4+rng.IntN(4), resource)
		calls[i] = call("acme", text)
		if a%10 != 0 {
			calls[i].Chain = [][]byte{fmt.Appendf(nil, "agent-%d", team*10), calls[i].Agent}
		}
	}
	return calls
}

// Known calls came before in the interval; new ones are the first of their kind in it, as
// every call is after a snapshot.
func BenchmarkCall(b *testing.B) {
	calls := benchmarkCalls(100, 10_000)
	for _, forget := range []bool{false, true} {
		b.Run(map[bool]string{false: "known", true: "new"}[forget], func(b *testing.B) {
			r := newTest(Options{})
			for _, c := range calls {
				r.Call(c, at(0))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if forget && i%1000 == 0 {
					r.forget()
				}
				r.Call(calls[i%1000], at(0.5))
			}
		})
	}
}

// What the shard's goroutine does (sweep, copy) and what is computed beside it.
func BenchmarkSnapshot(b *testing.B) {
	for _, agents := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(agents), func(b *testing.B) {
			var compute func()
			r := newTest(Options{Run: func(c func()) { compute = c }})
			for _, c := range benchmarkCalls(agents, 40*agents) {
				r.Call(c, at(0))
			}
			now := r.tick
			cross := func() { now++; r.cross(int64(now) * int64(r.opt.Interval)) }
			cross()
			compute()
			cross()
			b.Run("hold", func(b *testing.B) {
				for b.Loop() {
					close(r.pending.done) // as if it were computed
					r.pending.state = nil
					cross()
				}
			})
			compute()
			edges, basis := r.edges.Len(), *r.pending.basis
			b.Run("compute", func(b *testing.B) {
				for b.Loop() {
					again := basis
					s := r.take(r.tick, again.edges)
					s.basis = &again
					s.compute()
				}
				b.ReportMetric(float64(edges), "edges")
			})
			b.Run("state", func(b *testing.B) {
				var state []byte
				for b.Loop() {
					state = basis.appendState(state[:0], r.tick)
				}
				b.ReportMetric(float64(len(state))/float64(edges), "B/edge")
			})
		})
	}
}

func BenchmarkGroupOf(b *testing.B) {
	r := newTest(Options{})
	calls := benchmarkCalls(10_000, 200_000)
	for _, c := range calls {
		r.Call(c, at(0))
	}
	s := settle(r, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := calls[i%len(calls)]
		s.GroupOf(c.Tenant, c.Agent)
	}
}
