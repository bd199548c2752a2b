package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat/distuv"
)

// The least of f(h) - h·n over h > 0, with the cumulant f(h) = -r·log(1 - (eʰ-1)·μ/r) of the
// law, found by search instead of by its closed form.
func chernoffBySearch(t *testing.T, n, mu, r float64) float64 {
	pole := math.Log1p(r / mu)
	at := func(x float64) float64 { return pole / (1 + math.Exp(-x)) }
	res, err := optimize.Minimize(optimize.Problem{Func: func(x []float64) float64 {
		h := at(x[0])
		return -r*math.Log1p(-math.Expm1(h)*mu/r) - h*n
	}}, []float64{0}, &optimize.Settings{MajorIterations: 400}, &optimize.NelderMead{})
	if err != nil && res == nil {
		t.Fatal(err)
	}
	return -res.F
}

func TestSurpriseIsTheChernoffBoundOfTheTail(t *testing.T) {
	for _, mu := range []float64{1e-4, 0.3, 7, 400} {
		for _, r := range []float64{1e-5, 0.01, 0.1, 3} {
			for _, over := range []float64{1.01, 2, 10, 1000} {
				n := math.Ceil(mu * over)
				d := chernoff(n, mu, r, 0)
				if want := chernoffBySearch(t, n, mu, r); math.Abs(d-want) > 1e-4*(1+want) {
					t.Errorf("D(%v) for mean %v, size %v is %v, by search %v", n, mu, r, d, want)
				}
				// P(N ≥ n) = I_x(n, r): at most the bound, and not far below it.
				tail := math.Log(mathext.RegIncBeta(n, r, mu/(mu+r)))
				if tail > -d+1e-9 {
					t.Errorf("P(N ≥ %v) = exp(%v) for mean %v, size %v, above the bound exp(%v)", n, tail, mu, r, -d)
				}
			}
		}
	}
}

// slowBurst computes one count of one key from its whole history, by the formulas of the
// type's comment.
type slowBurst struct {
	carry   float64
	counted map[int64]float64 // by tick
	taught  map[int64]float64
}

func (s *slowBurst) count(start, now int64, by float64) float64 {
	s.counted[now] += by
	var n, sum, squares float64
	for at := start; at <= now; at++ {
		n += s.counted[at] * math.Pow(s.carry, float64(now-at))
		if at < now {
			w := math.Exp(-float64(now-at) / usualBursts.memory)
			sum += w * s.taught[at]
			squares += w * s.taught[at] * s.taught[at]
		}
	}
	ticks := usualBursts.memory * (1 - math.Exp(-float64(now-start)/usualBursts.memory))
	mean := (0.5 + sum) / (1 + ticks)
	mu := mean / (1 - s.carry)
	fano := max(1, (squares+4)/(sum+1)-mean)
	r := 1 / ((fano-1)/mu + 10 + 1/(0.5+sum))
	d := 0.0
	if n > mu {
		d = n*math.Log(n/mu) - (n+r)*math.Log((n+r)/(mu+r))
	}
	if d < math.Log(100) || s.taught[now] < 1 {
		s.taught[now] += by
	}
	return d
}

func TestScoreIsTheLargestOfSevenSurprisesOfTheWholeHistory(t *testing.T) {
	for _, carry := range []float64{0, 0.5, 0.9} {
		rng := rand.New(rand.NewPCG(1, 2))
		b := NewEdgeBurst(EdgeBurstOptions{Edges: 1 << 10, Nodes: 1 << 8, Carry: carry})
		slow := map[[3]uint64]*slowBurst{}
		seen := map[[2]uint64]int64{}
		tick, start := int64(1000), int64(1000)
		for range 1500 {
			if rng.IntN(8) == 0 {
				tick += int64(rng.IntN(3) * rng.IntN(4))
			}
			src, dst := uint64(rng.IntN(4)), uint64(rng.IntN(1+rng.IntN(20)))
			if rng.IntN(150) == 0 { // a burst
				for range 100 {
					b.Score(mix(1), mix(2), tick)
					slowScore(slow, seen, carry, start, 1, 2, tick)
				}
			}
			got := b.Score(mix(src), mix(dst), tick)
			want := slowScore(slow, seen, carry, start, src, dst, tick)
			if math.Abs(got-want) > 1e-4*(1+want) {
				t.Fatalf("carry %v, tick %d: score %v, from the history %v", carry, tick, got, want)
			}
		}
	}
}

func slowScore(all map[[3]uint64]*slowBurst, seen map[[2]uint64]int64, carry float64, start int64, src, dst uint64, tick int64) float64 {
	fresh, unknown := 0.0, 0.0
	last, known := seen[[2]uint64{src, dst}]
	if !known {
		unknown = 1
	}
	if !known || last < tick {
		fresh = 1
	}
	seen[[2]uint64{src, dst}] = tick
	most := 0.0
	for i, part := range []struct {
		a, b uint64
		by   float64
	}{{src, dst, 1}, {src, 0, 1}, {src, 0, fresh}, {src, 0, unknown}, {dst, 0, 1}, {dst, 0, fresh}, {dst, 0, unknown}} {
		key := [3]uint64{uint64(i), part.a, part.b}
		if all[key] == nil {
			all[key] = &slowBurst{carry, map[int64]float64{}, map[int64]float64{}}
		}
		most = max(most, all[key].count(start, tick, part.by))
	}
	return most
}

// The largest score of each tick is held against its p-value, in streams that are what the
// model assumes and in steadier ones.
func TestPValuesAreNotTooSmallOnHonestStreams(t *testing.T) {
	for _, s := range []struct {
		name  string
		rate  float64
		shape float64 // of the Gamma law of each tick's rate; 0: Poisson
	}{{"rare", 0.02, 0}, {"steady", 5, 0}, {"busy", 100, 0}, {"bursty", 5, 0.3}, {"wild", 2, 0.1}} {
		for _, carry := range []float64{0, 2.0 / 3} {
			rng := rand.New(rand.NewPCG(3, 4))
			b := NewEdgeBurst(EdgeBurstOptions{Edges: 1 << 12, Nodes: 1 << 10, Carry: carry})
			ticks, low := 0.0, 0.0
			for tick := range int64(6000) {
				for src := range uint64(5) {
					rate := s.rate
					if s.shape > 0 {
						rate = distuv.Gamma{Alpha: s.shape, Beta: s.shape / s.rate, Src: rng}.Rand()
					}
					most := 0.0
					n := distuv.Poisson{Lambda: max(rate, 1e-9), Src: rng}.Rand()
					for range int(n) {
						most = max(most, b.Score(mix(src), mix(src%2+100), tick))
					}
					if tick > 500 {
						ticks++
						if EdgeBurstLogP(most) <= math.Log(0.01) {
							low++
						}
					}
				}
			}
			if low > 0.01*ticks {
				t.Errorf("%s, carry %.2f: p ≤ 0.01 in %v of %v ticks", s.name, carry, low, ticks)
			}
		}
	}
}

func TestABurstIsSeenAndItsKindIsNamed(t *testing.T) {
	honest := func() *EdgeBurst {
		b := NewEdgeBurst(EdgeBurstDefaults())
		for tick := range int64(1000) {
			for i := range uint64(20) {
				b.Score(mix(i), mix(100+i%7), tick)
				b.Score(mix(i), mix(107), tick)
			}
		}
		return b
	}
	for _, c := range []struct {
		name  string
		calls uint64
		play  func(b *EdgeBurst, i uint64)
		want  EdgeBurstPart
	}{
		{"one edge, at 300 times its rate", 900, func(b *EdgeBurst, _ uint64) { b.Score(mix(1), mix(101), 1000) }, EdgeCalls},
		{"a scan", 60, func(b *EdgeBurst, i uint64) { b.Score(mix(1), mix(5000+i), 1000) }, SourceNewEdges},
		{"a flood from many", 60, func(b *EdgeBurst, i uint64) { b.Score(mix(5000+i), mix(101), 1000) }, DestinationNewEdges},
	} {
		b := honest()
		for i := range c.calls {
			c.play(b, i)
		}
		if got := b.Reason(); got.Part != c.want || EdgeBurstLogP(got.Surprise) > math.Log(0.001) {
			t.Errorf("%s: %d calls give %+v", c.name, c.calls, got)
		}
	}
}

func TestAFloodOfAResourceIsNotItsHonestCallersOwn(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstDefaults())
	for tick := range int64(1000) {
		for i := range uint64(20) {
			b.Score(mix(i), mix(101), tick)
		}
	}
	for i := range uint64(10_000) {
		b.Score(mix(5000+i), mix(101), 1000)
	}
	score := b.Score(mix(1), mix(101), 1000)
	if own := b.OwnReason(); EdgeBurstLogP(score) > math.Log(0.001) || EdgeBurstLogP(own.Surprise) < 0 || own.Part > SourceNewEdges {
		t.Errorf("in a flood an honest call scores %v, its own share is %+v", score, own)
	}
	for i := range uint64(60) {
		b.Score(mix(1), mix(90_000+i), 1000)
	}
	if own := b.OwnReason(); own.Part != SourceNewEdges || EdgeBurstLogP(own.Surprise) > math.Log(0.001) {
		t.Errorf("a scan's own share is %+v", own)
	}
}

func TestAFloodTeachesLittle(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstDefaults())
	for tick := range int64(2000) {
		for range 5 {
			b.Score(mix(1), mix(2), tick)
		}
	}
	before := b.expected(&first(&b.edges).calls)
	for range 1_000_000 {
		b.Score(mix(1), mix(2), 2000)
	}
	b.Score(mix(1), mix(2), 2001)
	if after := b.expected(&first(&b.edges).calls); after > 1.2*before {
		t.Errorf("a million calls in a tick raise the expectation from %v to %v", before, after)
	}
}

func first[M tallies](t *burstTable[M]) *burstPlace[M] {
	for i := range t.places {
		if t.places[i].key != 0 {
			return &t.places[i]
		}
	}
	return nil
}

func TestALastingChangeIsLearned(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstDefaults())
	score := 0.0
	for tick := range int64(20_000) {
		n := 2
		if tick >= 2000 {
			n = 40
		}
		for range n {
			score = b.Score(mix(1), mix(2), tick)
		}
	}
	if EdgeBurstLogP(score) < 0 {
		t.Errorf("after 18000 ticks at the new rate a tick still scores %v", score)
	}
}

func TestLateTicksCountInThePresentOne(t *testing.T) {
	a, b := NewEdgeBurst(EdgeBurstDefaults()), NewEdgeBurst(EdgeBurstDefaults())
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range int64(2000) {
		src, dst := mix(rng.Uint64N(5)), mix(rng.Uint64N(5))
		late := max(0, i/10-rng.Int64N(4))
		if i%10 == 0 {
			late = i / 10
		}
		if x, y := a.Score(src, dst, i/10), b.Score(src, dst, late); x != y {
			t.Fatalf("call %d scores %v in time and %v late", i, x, y)
		}
	}
}

func TestTicksMayBeAnywhere(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstDefaults())
	for _, tick := range []int64{math.MinInt64, -1, 0, 1 << 40, math.MaxInt64, math.MinInt64} {
		for range 100 {
			if v := b.Score(mix(1), mix(2), tick); !(v >= 0 && v < 1e6) {
				t.Fatalf("at tick %d the score is %v", tick, v)
			}
		}
	}
}

func TestTablesStayBoundedAndKeepRegularsThroughAScan(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstOptions{Edges: 1000, Nodes: 200, Carry: 0.5})
	regulars := func(tick int64) (scores float64) {
		for i := range uint64(20) {
			for range 5 {
				scores = max(scores, b.Score(mix(i), mix(50+i%5), tick))
			}
		}
		return scores
	}
	for tick := range int64(500) {
		regulars(tick)
	}
	for i := range uint64(100_000) {
		b.Score(mix(i%1000+1000), mix(i+10_000), 500)
	}
	if n, m := b.edges.used(), len(b.edges.places); n > 1024 || m > 1024 {
		t.Errorf("%d edges in %d places, bound 1024", n, m)
	}
	if n, m := b.destinations.used(), len(b.destinations.places); n > 256 || m > 256 {
		t.Errorf("%d destinations in %d places, bound 256", n, m)
	}
	if worst := regulars(501); worst > 3 {
		t.Errorf("after a scan of 100000 edges a regular call scores %v", worst)
	}
}

func TestScoringAllocatesNothingOnceGrown(t *testing.T) {
	b := NewEdgeBurst(EdgeBurstOptions{Edges: 1 << 12, Nodes: 1 << 10, Carry: 0.5})
	rng := rand.New(rand.NewPCG(7, 8))
	tick := int64(0)
	step := func() {
		tick += rng.Int64N(2)
		sinkFloat = b.Score(mix(rng.Uint64N(3000)), mix(rng.Uint64N(3000)), tick)
	}
	for range 20_000 {
		step()
	}
	if n := testing.AllocsPerRun(20_000, step); n != 0 {
		t.Errorf("%v allocations for each call", n)
	}
}

func BenchmarkEdgeBurstScore(b *testing.B) {
	m := NewEdgeBurst(EdgeBurstDefaults())
	rng := rand.New(rand.NewPCG(9, 10))
	calls := make([][2]uint64, 1<<14)
	for i := range calls {
		calls[i] = [2]uint64{mix(rng.Uint64N(1 + rng.Uint64N(300))), mix(rng.Uint64N(1 + rng.Uint64N(300)))}
	}
	i := 0
	step := func() {
		c := &calls[i%len(calls)]
		sinkFloat = m.Score(c[0], c[1], int64(i/50)) // 50 calls a tick, as in DARPA
		i++
	}
	for range calls {
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
