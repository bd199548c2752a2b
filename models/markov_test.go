package models

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// plainMarkov is the recursion of Markov's comment with plain maps and no bound.
type plainMarkov struct {
	order  int
	levels map[string]*plainLevel
}

func (p *plainMarkov) at(history []uint64, length int) *plainLevel {
	key := fmt.Sprint(history[len(history)-length:])
	if p.levels[key] == nil {
		p.levels[key] = new(plainLevel)
	}
	return p.levels[key]
}

func (p *plainMarkov) depth(history []uint64) int { return min(p.order, len(history)) }

func (p *plainMarkov) prob(history []uint64, next uint64, base float64) float64 {
	for length := range p.depth(history) + 1 {
		own, fresh := p.at(history, length).split(next, markovDiscount, markovConcentration)
		base = own + fresh*base
	}
	return base
}

func (p *plainMarkov) learn(history []uint64, next uint64) {
	for length := p.depth(history); length >= 0; length-- {
		if p.at(history, length).learn(next) {
			return
		}
	}
}

func TestMarkovIsTheRecursionOfItsComment(t *testing.T) {
	for order := range 4 {
		rng := rand.New(rand.NewPCG(5, uint64(order)))
		m, plain := NewMarkov(order, 1<<14), plainMarkov{order, map[string]*plainLevel{}}
		history := make([]uint64, 0, 4000)
		for range 3000 {
			next := mix(uint64(rng.ExpFloat64() * 3))
			if rng.IntN(50) == 0 {
				history = history[:0] // a new session
			}
			want := plain.prob(history, next, 0.02)
			if got := math.Exp(m.LogProb(history, next, math.Log(0.02))); math.Abs(got-want) > 1e-12 {
				t.Fatalf("order %d: P is %v, want %v", order, got, want)
			}
			m.Learn(history, next)
			plain.learn(history, next)
			history = append(history, next)
		}
	}
}

// After a b, a b, a c, one step at a time by hand.
func TestMarkovSmallExample(t *testing.T) {
	m := NewMarkov(1, 16)
	a, b, c := mix(1), mix(2), mix(3)
	after := []uint64{a}
	for _, next := range []uint64{b, b, c} {
		m.Learn(after, next)
	}
	// The context a has 3 draws of 2 kinds, one of them once: new = max((1+1)/4, min(2/4, 3/4)).
	// The context of length 0 learned b and c once each: new = max((1+1)/3, min(3/3, 2/3)).
	pB := 0.5*(2-0.5)/(3-1) + 0.5*(1-2.0/3)*(1-0.5)/(2-1)
	pC := 0.5*(1-0.5)/(3-1) + 0.5*(1-2.0/3)*(1-0.5)/(2-1)
	for _, x := range []struct {
		name string
		next uint64
		base float64
		want float64
	}{
		{"b", b, math.Inf(-1), pB},
		{"c", c, math.Inf(-1), pC},
		{"b or anything unknown", b, 0, pB + 0.5*2/3},
		{"anything unknown", mix(4), 0, 0.5 * 2 / 3},
		{"one of ten unknown", mix(4), -math.Log(10), 0.05 * 2 / 3},
	} {
		if got := math.Exp(m.LogProb(after, x.next, x.base)); math.Abs(got-x.want) > 1e-14 {
			t.Errorf("P of %s is %v, want %v", x.name, got, x.want)
		}
	}
}

func TestMarkovProbabilitiesAddUpToOne(t *testing.T) {
	for _, cap := range []int{1 << 12, 60} { // with room, and with forgetting
		rng := rand.New(rand.NewPCG(7, 8))
		m := NewMarkov(2, cap)
		history := []uint64{mix(0), mix(0)}
		for range 3000 {
			next := mix(uint64(rng.IntN(1 + rng.IntN(25))))
			m.Learn(history, next)
			history = append(history, next)[1:]
		}
		for range 20 {
			history[0], history[1] = mix(rng.Uint64N(30)), mix(rng.Uint64N(30))
			sum := math.Exp(m.LogProb(history, mix(1e9), 0))
			for i := range uint64(25) {
				sum += math.Exp(m.LogProb(history, mix(i), math.Inf(-1)))
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("cap %d: the probabilities add up to %v", cap, sum)
			}
		}
	}
}

// The chain draws +1 or +2 modulo 8 with probabilities .9 and .1 from the last symbol, or,
// of second order, the other way round where the step before was +1. What a model pays for
// each symbol cannot be less than the entropy in the mean, and must come near it.
func TestMarkovPaysLittleMoreThanTheEntropy(t *testing.T) {
	entropy := -(0.9*math.Log(0.9) + 0.1*math.Log(0.1))
	for _, c := range []struct{ source, order int }{{1, 1}, {1, 3}, {2, 2}, {2, 3}} {
		rng := rand.New(rand.NewPCG(9, 10))
		m := NewMarkov(c.order, 4096)
		history, paid, n := []uint64{0, 1, 2}, 0.0, 0.0
		for i := range 60_000 {
			last := history[2]
			rare := rng.Float64() < 0.1
			if c.source == 2 && history[1] == (last+7)%8 {
				rare = !rare
			}
			next := (last + 1) % 8
			if rare {
				next = (last + 2) % 8
			}
			hashed := []uint64{mix(history[0]), mix(history[1]), mix(history[2])}
			if i > 10_000 {
				paid -= m.LogProb(hashed, mix(next), math.Inf(-1))
				n++
			}
			m.Learn(hashed, mix(next))
			history = append(history, next)[1:]
		}
		// Three standard errors of the mean, and 1 % that learning costs.
		if got, slack := paid/n, 3*0.66/math.Sqrt(n); got < entropy-slack || got > entropy*1.01+slack {
			t.Errorf("source of order %d, model of order %d: %v nats a symbol, entropy %v", c.source, c.order, got, entropy)
		}
	}
}

func TestMarkovKeepsWithinItsBoundWhatIsCommon(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	m := NewMarkov(3, 100)
	history := []uint64{0, 0, 0}
	for i := range uint64(20_000) {
		next := mix(i % 3) // a round of three, and every fourth time something never seen
		if rng.IntN(4) == 0 {
			next = rng.Uint64()
		}
		m.Learn(history, next)
		history = append(history, next)[1:]
		if m.next.used > 100 || m.index.used > m.next.used || len(m.contexts) > 100 {
			t.Fatalf("%d transitions, %d contexts, %d places", m.next.used, m.index.used, len(m.contexts))
		}
	}
	if got := m.LogProb([]uint64{mix(1)}, mix(2), 0); got < math.Log(0.4) {
		t.Errorf("after forgetting, what mostly follows has log P %v", got)
	}
	// Half of what comes after a known context was seen in no context.
	if got := math.Exp(m.LogProb([]uint64{mix(1)}, 4711, 0)); got < 0.2 {
		t.Errorf("after forgetting, P(new) is %v; a quarter of the draws was new", got)
	}
}

func TestMarkovLearnSaysWhatIsNewToAll(t *testing.T) {
	agent, peers := NewMarkov(2, 64), NewMarkov(2, 64)
	history := []uint64{mix(1), mix(2)}
	for range 5 {
		if agent.Learn(history, mix(3)) {
			peers.Learn(history, mix(3))
		}
	}
	if agent.Learn([]uint64{mix(8)}, mix(3)) {
		t.Error("a symbol that is known without a context counts as new")
	}
	if got := peers.next.used; got != 3 {
		t.Errorf("the peers keep %d transitions, want one for each of three contexts", got)
	}
	fresh := NewMarkov(2, 64)
	want := peers.LogProb(history, mix(3), -4)
	if got := fresh.LogProb(history, mix(3), peers.LogProb(history, mix(3), -4)); got != want {
		t.Errorf("an agent that did nothing has log P %v, its peers %v", got, want)
	}
}

func TestMarkovAllocatesNothingOnceGrown(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := NewMarkov(3, 200)
	var history [3]uint64
	step := func() {
		next := mix(uint64(rng.ExpFloat64() * 4))
		sinkFloat = m.LogProb(history[:], next, -3)
		m.Learn(history[:], next)
		copy(history[:], history[1:])
		history[2] = next
	}
	for range 20_000 {
		step()
	}
	if got := testing.AllocsPerRun(10_000, step); got != 0 {
		t.Errorf("%v allocations for each step", got)
	}
	if got := len(m.next.places); got > 200*8/3+minPlaces {
		t.Errorf("%d places for 200 transitions", got)
	}
}

var markovKind = kind{
	name:  "Markov",
	fresh: func() stateful { return pointer(NewMarkov(2, 24)) },
	other: func() stateful { return pointer(NewMarkov(2, 25)) },
	step: func(s stateful, a, b uint64) string {
		m := s.(*Markov)
		history := []uint64{mix(b % 7), mix(b / 7 % 5)}
		next := mix(min(a, b) % 9)
		p := m.LogProb(history, next, -3)
		isNew := m.Learn(history[b%3/2:], next)
		return fmt.Sprint(p, isNew, m.next.used, m.index.used, m.LogProb(history[1:], mix(a%9), 0))
	},
}

func init() { kinds = append(kinds, markovKind) }

func FuzzDecodeMarkov(f *testing.F) { fuzzDecode(f, markovKind) }

func benchmarkMarkov(b *testing.B, learn bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	symbols := make([]uint64, 1<<12)
	for i := range symbols {
		symbols[i] = mix(uint64(rng.ExpFloat64() * 4))
	}
	m := NewMarkov(3, 512)
	for i := range len(symbols) - 4 {
		m.Learn(symbols[i:i+3], symbols[i+3])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := i % (len(symbols) - 4)
		if learn {
			m.Learn(symbols[at:at+3], symbols[at+3])
		} else {
			sinkFloat = m.LogProb(symbols[at:at+3], symbols[at+3], -3)
		}
	}
}

func BenchmarkMarkovLogProb(b *testing.B) { benchmarkMarkov(b, false) }
func BenchmarkMarkovLearn(b *testing.B)   { benchmarkMarkov(b, true) }
