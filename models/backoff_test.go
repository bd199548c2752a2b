package models

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainLevel is a level of the hierarchy with plain maps.
type plainLevel struct {
	counts map[uint64]float64
	n      float64
}

// own and fresh by the formulas of the comments, without forgetting.
func (l *plainLevel) split(h uint64, d, theta float64) (own, fresh float64) {
	if l.n == 0 {
		return 0, 1
	}
	k, singles := float64(len(l.counts)), 0.0
	for _, c := range l.counts {
		if c == 1 {
			singles++
		}
	}
	fresh = max((theta+d*k)/(theta+l.n), min((singles+1)/(l.n+1), l.n/(l.n+1)))
	if c := l.counts[h]; c > 0 {
		own = (c - d) / (l.n - d*k) * (1 - fresh)
	}
	return own, fresh
}

func (l *plainLevel) learn(h uint64) (known bool) {
	if l.counts == nil {
		l.counts = map[uint64]float64{}
	}
	known = l.counts[h] > 0
	l.counts[h]++
	l.n++
	return known
}

// plainBackoff is P(h) by recursion; levels go from the most special to the widest.
func plainBackoff(h uint64, base, d, theta float64, levels []*plainLevel) float64 {
	if len(levels) == 0 {
		return base
	}
	own, fresh := levels[0].split(h, d, theta)
	return own + fresh*plainBackoff(h, base, d, theta, levels[1:])
}

func threeLevels(cap int) (levels [3]Novelty) {
	for i := range levels {
		levels[i] = NewNovelty(0.4, 1.5, cap)
	}
	return levels
}

func TestBackoffIsInterpolatedKneserNey(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	levels := threeLevels(1 << 10)
	plain := []*plainLevel{{}, {}, {}}
	for range 2000 {
		h := mix(uint64(math.Pow(rng.Float64(), -0.8)))
		want := plainBackoff(h, 0.01, 0.4, 1.5, plain)
		got := LogProbBackoff(h, math.Log(0.01), &levels[0], &levels[1], &levels[2])
		if math.Abs(math.Exp(got)-want) > 1e-12 {
			t.Fatalf("P is %v, want %v", math.Exp(got), want)
		}
		// Another agent of the group and another group of the tenant learn too.
		from := rng.IntN(3)
		switch from {
		case 0:
			LearnBackoff(h, &levels[0], &levels[1], &levels[2])
		case 1:
			LearnBackoff(h, &levels[1], &levels[2])
		default:
			LearnBackoff(h, &levels[2])
		}
		for _, l := range plain[from:] {
			if l.learn(h) {
				break
			}
		}
	}
}

func TestBackoffProbabilitiesAddUpToOne(t *testing.T) {
	for _, cap := range []int{1 << 10, 40} { // with room, and with forgetting
		rng := rand.New(rand.NewPCG(3, 4))
		levels := threeLevels(cap)
		for i := range 1500 {
			LearnBackoff(mix(uint64(rng.IntN(1+i/8))), chain(levels[i%3:])...)
		}
		// All kinds, and everything else as one kind.
		sum := 0.0
		for i := range uint64(1500/8 + 1) {
			if h := mix(i); levels[0].Seen(h) || levels[1].Seen(h) || levels[2].Seen(h) {
				sum += math.Exp(LogProbBackoff(h, math.Inf(-1), &levels[0], &levels[1], &levels[2]))
			}
		}
		sum += math.Exp(LogProbBackoff(mix(1e9), 0, &levels[0], &levels[1], &levels[2]))
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("cap %d: the probabilities add up to %v", cap, sum)
		}
	}
}

func chain(levels []Novelty) (chain []*Novelty) {
	for i := range levels {
		chain = append(chain, &levels[i])
	}
	return chain
}

func TestNewAgentIsJudgedByItsPeers(t *testing.T) {
	agent, peers := NewNovelty(0.5, 1, 64), NewNovelty(0.5, 1, 64)
	for i := range uint64(100) {
		peers.Learn(mix(i % 4))
	}
	if got, want := LogProbBackoff(mix(2), -5, &agent, &peers), peers.LogProb(mix(2)); math.Abs(got-want) > 0.1 {
		t.Errorf("what peers use has log P %v, by the peers alone %v", got, want)
	}
	known, strange := LogProbBackoff(mix(2), -5, &agent, &peers), LogProbBackoff(mix(99), -5, &agent, &peers)
	if strange > known-5 {
		t.Errorf("log P is %v for what nobody uses and %v for what peers use", strange, known)
	}
	for range 50 {
		LearnBackoff(mix(99), &agent, &peers)
	}
	if got := LogProbBackoff(mix(99), -5, &agent, &peers); got < math.Log(0.9) {
		t.Errorf("log P of what the agent always does is %v", got)
	}
	if peers.Draws() != 101 {
		t.Errorf("the peers learned %v draws of an agent, want 1", peers.Draws()-100)
	}
}

func TestBackoffHoldsForEveryBase(t *testing.T) {
	v := NewNovelty(0.5, 1, 64)
	v.Learn(mix(1))
	v.Learn(mix(2))
	for _, base := range []float64{math.NaN(), math.Inf(1), 3, 0, -1, -1e300, math.Inf(-1)} {
		for _, h := range []uint64{mix(1), mix(7)} {
			got := LogProbBackoff(h, base, &v)
			if got != got || got > 0 || h == mix(1) && got < math.Log(0.1) {
				t.Errorf("base %v gives log P %v", base, got)
			}
		}
	}
	if got := LogProbBackoff(mix(7), -2); got != -2 {
		t.Errorf("without levels log P is %v, want the base -2", got)
	}
}

func TestBackoffAllocatesNothing(t *testing.T) {
	levels := threeLevels(64)
	h := uint64(0)
	step := func() {
		h++
		sinkFloat = LogProbBackoff(mix(h%100), -3, &levels[0], &levels[1], &levels[2])
		LearnBackoff(mix(h%100), &levels[0], &levels[1], &levels[2])
	}
	for range 1000 {
		step()
	}
	if got := testing.AllocsPerRun(5000, step); got != 0 {
		t.Errorf("%v allocations for each draw", got)
	}
}

func BenchmarkBackoffThreeLevels(b *testing.B) {
	levels := threeLevels(512)
	for i := range uint64(5000) {
		LearnBackoff(mix(i%100), &levels[0], &levels[1], &levels[2])
	}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		sinkFloat = LogProbBackoff(mix(i%100), -3, &levels[0], &levels[1], &levels[2])
	}
}
