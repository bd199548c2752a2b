package models

import "math"

// EdgeBurst says how surprising the traffic around an edge src → dst is in the present tick
// (a minute, say). It follows seven counts:
//
//	of the edge:        calls
//	of its source:      calls, different edges (fan-out), edges never seen before
//	of its destination: calls, different edges (fan-in), edges never seen before
//
// Calls by edge, source and destination, and counts that fade with the ticks, are those of
// MIDAS-R (Bhatia, Hooi, Yoon, Shin and Faloutsos, AAAI 2020); not to learn from what was
// found anomalous is the idea of MIDAS-F (Bhatia and others, TKDD 2022). Their χ² score is
// replaced by a log probability, and count-min sketches by exact tables.
//
// For each count, S is Σ γʲ·N(t-j) over the present and the past ticks, with γ = Carry. From
// the closed ticks, each weighing 1-1/m for every later one, come the mean λ of N and its
// Fano factor φ, which is the variance over the mean. S has the mean μ = λ/(1-γ) and is held
// against a negative binomial law with the size r:
//
//	1/r = (φ-1)/μ + v + 1/(events learned)
//
// The first term is a Poisson stream of bursts with a logarithmic number of calls each, at
// any γ; the second is a rate that varies from hour to hour by a Gamma law of variance v·mean²;
// the third is what is not known of λ (Gamma–Poisson posterior). The surprise is the Chernoff
// bound of the tail,
//
//	D(S) = S·log(S·(μ+r) / (μ·(S+r))) - r·log((S+r)/(μ+r))  for S > μ, else 0
//
// so that P(S ≥ x) ≤ exp(-D(x)) for a negative binomial S. It holds for the faded sum of
// independent NB(λ, r·(1-γ)) ticks too: the log moment generating function f of one is convex
// and 0 at 0, so f(γʲ·h) ≤ γʲ·f(h), and Σ γʲ·f(h) is that of NB(μ, r).
//
// A tick teaches no more calls of a key than are counted while D < log 100: what would come
// once in 100 ticks. A flood moves λ as little as the largest usual tick, and a lasting
// change is learned over days. Every active tick teaches at least one event.
//
// Units: events for each tick. Valid range: counts up to 2²⁴, where they stay.
//
// Cost: Score O(1), about 230 ns on the edges of DARPA 1998, 1.1 to 1.4 times MIDAS-R's
// processor time in the same run (bench/midas). One EdgeBurst serves all agents of a shard
// and tenant. Bytes: 32 for each place of the table of edges, 64 for each of the tables of sources and of
// destinations. Tables double as they fill, up to the bounds of the options.
type EdgeBurst struct {
	options EdgeBurstOptions
	law     burstLaw

	begun      bool
	start, now int64
	perTick    float64 // μ of a key with one event in the past

	fades [fewTicks]fade

	edges                 burstTable[[0]tally]
	sources, destinations burstTable[[2]tally]

	latest, own EdgeBurstReason // of the latest Score; own leaves the destination's counts out
}

// EdgeBurstOptions are the parameters of an EdgeBurst.
type EdgeBurstOptions struct {
	// Edges and Nodes bound the edges that are kept, and the sources, and the destinations.
	// Each is rounded up to a power of two, of 8 … 2^24. Where a new key finds no place, the
	// one of eight with the fewest events gives way.
	Edges, Nodes int
	// Carry is γ, what is left of a tick's count in the next: 0 ≤ γ ≤ 0.95. With 0 each tick
	// stands alone, and its p-value holds given the past, as an e-detector needs.
	// Otherwise ticks share counts, and p-values hold for each tick but not given the one
	// before. Bursts over several ticks are then seen better.
	Carry float64
}

// EdgeBurstDefaults are the options that the measurements use. With γ = ⅔ a count reaches
// over three ticks, 1/(1-γ). MIDAS-R has two. On DARPA 1998, June, the AUC is .976 for γ = 0,
// .993 for ½, .994 for ⅔ and ¾.
func EdgeBurstDefaults() EdgeBurstOptions {
	return EdgeBurstOptions{Edges: 1 << 16, Nodes: 1 << 15, Carry: 2.0 / 3}
}

// burstLaw has what is assumed of every stream. None of it is critical: on the edges of
// DARPA 1998, June, any one of them halved or doubled leaves an AUC of .9926 … .9943, as
// against .9941 (MIDAS-R .9888, MIDAS-F .9879 there). They were settled with that month in
// view, so that other months are the test.
type burstLaw struct {
	events    float64 // prior events of a key, over all ticks since the start: Jeffreys' ½
	fano      float64 // prior Fano factor: calls come in handfuls
	weight    float64 // events that the prior Fano factor is worth: one, so that data soon decide
	variation float64 // v: rates change by a factor of about 10 up and down in the course of days
	memory    float64 // m, ticks: four weeks of minutes, so that every hour of the week is in it
	limit     float64 // the surprise from which on nothing is learned: log 100
}

var usualBursts = burstLaw{events: 0.5, fano: 4, weight: 1, variation: 10, memory: 4 * 7 * 24 * 60, limit: math.Log(100)}

// EdgeBurstPart names one of the seven counts.
type EdgeBurstPart uint8

// The counts of an EdgeBurst.
const (
	EdgeCalls EdgeBurstPart = iota
	SourceCalls
	SourceFanOut
	SourceNewEdges
	DestinationCalls
	DestinationFanIn
	DestinationNewEdges
)

// EdgeBurstReason is the most surprising of the seven counts.
type EdgeBurstReason struct {
	Part     EdgeBurstPart
	Observed float64 // S
	Expected float64 // μ
	Surprise float64 // D, in nats
}

// NewEdgeBurst returns a model that knows nothing. Options outside their range count as the
// nearest bound.
func NewEdgeBurst(o EdgeBurstOptions) *EdgeBurst { return newEdgeBurst(o, usualBursts) }

func newEdgeBurst(o EdgeBurstOptions, law burstLaw) *EdgeBurst {
	if !(o.Carry > 0) {
		o.Carry = 0
	}
	o.Carry = min(o.Carry, 0.95)
	b := &EdgeBurst{options: o, law: law}
	b.edges = newBurstTable[[0]tally](o.Edges)
	b.sources = newBurstTable[[2]tally](o.Nodes)
	b.destinations = newBurstTable[[2]tally](o.Nodes)
	for ticks := range b.fades {
		b.fades[ticks] = b.fade(float64(ticks))
	}
	b.options.Edges, b.options.Nodes = b.edges.bound, b.sources.bound
	return b
}

// Score counts a call and returns the largest of the seven surprises, in nats. Closed ticks
// have been learned, this one was not: the score says how improbable the present counts,
// this call among them, were before the tick began. Under the stated law the p-value of the
// tick, of all looks at it together, is that of EdgeBurstLogP.
//
// src and dst are hashes. A tick before the present one counts as the present.
func (b *EdgeBurst) Score(src, dst uint64, tick int64) float64 {
	b.advance(tick)
	b.latest = EdgeBurstReason{}

	edge, seen := b.edges.place(edgeHash(src, dst), b.now)
	fresh, unknown := float32(1), float32(0)
	switch {
	case !seen:
		unknown = 1
	case edge.last == b.now:
		fresh = 0
	}
	touch(b, edge)
	b.count(EdgeCalls, &edge.calls, 1)
	b.node(SourceCalls, &b.sources, src, fresh, unknown)
	b.own = b.latest
	b.node(DestinationCalls, &b.destinations, dst, fresh, unknown)
	return b.latest.Surprise
}

// Reason returns what the latest Score was about. Its Surprise is that score. It is for programs
// that watch edges as such; detectors, which stop an agent, ask for OwnReason.
func (b *EdgeBurst) Reason() EdgeBurstReason { return b.latest }

// OwnReason returns the most surprising count of the edge and its source in the latest Score.
// The destination's counts are left out, which others may have raised: an honest agent that
// calls a flooded resource has a high score, and nothing of its own to answer for.
func (b *EdgeBurst) OwnReason() EdgeBurstReason { return b.own }

// EdgeBurstLogP returns the log p-value of a score: seven times the smallest of seven
// p-values (Bonferroni), which holds however they depend on each other.
func EdgeBurstLogP(score float64) float64 { return min(0, math.Log(edgeBurstParts)-max(0, score)) }

const edgeBurstParts = float64(DestinationNewEdges + 1)

// edgeHash is one hash for the pair.
func edgeHash(src, dst uint64) uint64 { return mix(mix(src+0x9E3779B97F4A7C15) + dst) }

func (b *EdgeBurst) advance(tick int64) {
	switch {
	case !b.begun:
		b.begun, b.start = true, tick
	case tick <= b.now:
		return
	}
	b.now = tick
	b.weigh()
}

// weigh derives what all keys share in this tick: the weight of the ticks since the start,
// with one more that stands for the prior.
func (b *EdgeBurst) weigh() {
	ticks := 1 - b.law.memory*math.Expm1(-ticksBetween(b.start, b.now)/b.law.memory)
	b.perTick = 1 / (ticks * (1 - b.options.Carry))
}

// ticksBetween is exact where the difference of int64 would overflow.
func ticksBetween(from, to int64) float64 { return float64(uint64(to) - uint64(from)) }

// node counts a call at one end of its edge.
func (b *EdgeBurst) node(calls EdgeBurstPart, t *burstTable[[2]tally], key uint64, fresh, unknown float32) {
	p, _ := t.place(key, b.now)
	touch(b, p)
	b.count(calls, &p.calls, 1)
	b.count(calls+1, &p.more[0], fresh)
	b.count(calls+2, &p.more[1], unknown)
}

// touch brings a key's tallies to the present tick.
func touch[M tallies](b *EdgeBurst, p *burstPlace[M]) {
	if p.last == b.now {
		return
	}
	dt := ticksBetween(p.last, b.now)
	if dt < fewTicks {
		p.close(b.fades[int(dt)])
	} else {
		p.close(b.fade(dt))
	}
	p.last = b.now
}

// fade is what is left of a count, and of the past, after some ticks.
type fade struct{ carry, keep float32 }

func (b *EdgeBurst) fade(ticks float64) fade {
	return fade{
		carry: float32(math.Pow(b.options.Carry, ticks)),
		keep:  float32(math.Exp(-ticks / b.law.memory)),
	}
}

// fewTicks is the longest absence whose fade is kept at hand.
const fewTicks = 64

// count adds to a tally and keeps the largest surprise.
func (b *EdgeBurst) count(part EdgeBurstPart, c *tally, by float32) {
	c.recent += by
	n, mu := float64(c.recent), b.expected(c)
	d := 0.0
	if n > mu {
		r := b.size(c, mu)
		// D ≤ S·log(1+r/μ) ≤ S·r/μ spares most calls the logarithms.
		if needed := min(b.latest.Surprise, b.law.limit); n*r > mu*needed {
			d = chernoff(n, mu, r, needed)
		}
	}
	if d < b.law.limit || c.learned < 1 {
		c.learned += by
	}
	if d > b.latest.Surprise {
		b.latest = EdgeBurstReason{Part: part, Observed: n, Expected: mu, Surprise: d}
	}
}

// expected returns μ.
func (b *EdgeBurst) expected(c *tally) float64 {
	return (b.law.events + float64(c.sum)) * b.perTick
}

// size returns r. It is the formula of the type's comment over one denominator.
func (b *EdgeBurst) size(c *tally, mu float64) float64 {
	l := &b.law
	events := l.events + float64(c.sum)
	weight := l.weight + float64(c.sum)
	// (φ-1)·weight, where φ is the weighted mean of squares over that of counts, less λ
	excess := max(0, float64(c.squares)+l.weight*l.fano-weight*(1+mu*(1-b.options.Carry)))
	scaled := weight * mu
	return scaled * events / (excess*events + scaled*(events*l.variation+1))
}

// chernoff returns D(n) for n > mu, or something up to needed where D(n) is no more than that.
func chernoff(n, mu, r, needed float64) float64 {
	first := n * math.Log(n*(mu+r)/(mu*(n+r)))
	if first <= needed {
		return max(0, first)
	}
	return max(0, first-r*math.Log((n+r)/(mu+r)))
}
