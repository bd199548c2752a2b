package models

import (
	"math"
	"slices"
)

// SizeBaseline is the predictive distribution of a positive quantity X of an active slot or
// of a call: a sum of bytes, a size, a latency.
//
// Y = log X is normal with unknown mean and variance. With the weight n of the values
// learned, each falling by 1-1/memory for each later one, their mean m and sum of squared
// deviations S, the prediction is Student's t (Gelman et al., Bayesian Data Analysis, 3.3,
// with a flat prior on the mean and a scaled inverse-χ² prior on the variance):
//
//	Y ~ t with ν degrees of freedom, centre m, scale² = (ν₀·s₀² + S)/ν · (1 + 1/n)
//	ν = ν₀ + n - 1,  ν₀ = 2,  s₀ = 1.5
//
// so that a young baseline is far too wide. s₀ says that sizes commonly differ by a factor
// of e^1.5. The scale is held at 0.1 or more: a constant size that changes by a tenth is
// nothing strange.
//
// Beyond the threshold u, the 0.95 quantile of Y, is a generalised Pareto tail of the excesses
// Y-u (Siffer et al., "Anomaly detection in streams with extreme value theory", 2017), fitted
// to the latest 64 of them again and again. Its shape is drawn to 0, which is a power law
// for X, made heavier for what so few excesses do not tell, and never less than 0. Before
// there are 20 it is the power law whose excesses are as wide as the whole. Of the two
// tails the larger is taken: real sizes have heavier tails than log-normal, and no alarm may
// rest on a tail that nobody saw. Tried on 200 streams of 20 000 values, the p-values of log-normal,
// exponential, gamma and power laws gave e-values with a mean of 0.75 … 0.87, without the
// Pareto tail up to 10^27. It has its price: of a log-normal with σ = ½ a single value must be
// some 200 times the median to reach e^12. A value of a kind that comes once in 500, and
// a hundred times the usual, still surprises.
//
// Units: any; the unit cancels. Valid range: every X > 0. What is not above 0 is not
// learned and never strange, so with zeros among the values P(X ≥ x) is that among those
// above 0, which is never too small.
//
// Cost: Learn O(1), about 50 ns, and now and then a fit of about 3 µs; LogTail O(1), about
// 250 ns, nothing for a repeated x. Bytes: 368, no allocation.
type SizeBaseline struct {
	decay  float64
	weight float64 // n
	mean   float64 // m
	spread float64 // S
	slots  float64

	threshold float64 // u, 0 before tailFrom values
	over      float64 // weight of the values above u
	peaks     [keptPeaks]float32
	peak      uint16 // how many were put in, up to keptPeaks, then round and round
	stale     uint16 // peaks since the fit
	beyond    tail

	lastX, lastTail float64 // the latest LogTail that was computed
}

// tail is a fitted tail: P(Y > from) is share, and beyond that a Pareto law holds. The zero
// value is none.
type tail struct {
	from, share float64
	law         pareto
}

// Constants of the tail. The threshold is low enough for some tens of excesses among the
// values that are remembered; its step keeps the noise of the threshold at about a tenth of
// the scale.
const (
	tailShare     = 0.05
	tailStart     = 1.6448536269514722 // the normal law's quantile
	tailFrom      = 100                // values before there is a threshold
	thresholdStep = 0.05
	keptPeaks     = 64
	fewestPeaks   = 20
	refitPeaks    = 4
	shapeWeight   = 10 // peaks that the belief in shape 0 is worth

	priorFreedom = 2.0
	priorSpread  = 1.5
	leastScale   = 0.1
)

// NewSizeBaseline returns an empty baseline that remembers about memory values, 10 … 10^9.
func NewSizeBaseline(memory float64) SizeBaseline {
	if !(memory >= 10) {
		memory = 10
	}
	return SizeBaseline{decay: 1 - 1/min(memory, maxMemory)}
}

// Learn takes in a value. One that is not above 0, and +Inf, is ignored.
func (b *SizeBaseline) Learn(x float64) {
	if !(x > 0 && x <= math.MaxFloat64) {
		return
	}
	y := math.Log(x)
	b.learnTail(y)
	b.weight = b.weight*b.decay + 1
	b.spread *= b.decay
	d := y - b.mean
	b.mean += d / b.weight
	b.spread += d * (y - b.mean)
	b.slots++
	b.lastX = 0
}

func (b *SizeBaseline) learnTail(y float64) {
	_, scale := b.law()
	switch {
	case b.slots < tailFrom:
		return
	case b.slots == tailFrom:
		b.threshold = b.mean + tailStart*scale
		b.over = tailShare * b.weight
	}
	b.over *= b.decay
	step := -tailShare // the threshold's: Robbins and Monro's, of constant size
	if y > b.threshold {
		b.over++
		step++
		b.addPeak(y)
	}
	b.threshold += step * thresholdStep * scale
}

func (b *SizeBaseline) addPeak(y float64) {
	b.peaks[b.peak%keptPeaks] = float32(y)
	if b.peak++; b.peak == 2*keptPeaks {
		b.peak = keptPeaks
	}
	if b.stale = min(b.stale+1, refitPeaks); b.stale == refitPeaks {
		b.fit()
	}
}

// fit derives the tail from the peaks that are above the threshold.
func (b *SizeBaseline) fit() {
	var room [keptPeaks]float64
	excesses := room[:0]
	for _, p := range b.peaks[:min(b.peak, keptPeaks)] {
		if y := float64(p); y > b.threshold {
			excesses = append(excesses, y-b.threshold)
		}
	}
	if len(excesses) < fewestPeaks {
		return
	}
	slices.Sort(excesses)
	law, ok := paretoByMoments(excesses)
	if !ok {
		return
	}
	k := float64(len(excesses))
	mean := law.scale / (1 - law.shape)
	drawn := min(max(law.shape*k/(k+shapeWeight), -0.2), 0.7)
	// The predictive law of an exponential with unknown scale has the shape 1/k.
	law = pareto{shape: max(drawn+1/k, 0), scale: max(mean*(1-drawn), 1e-9)}
	b.beyond = tail{from: b.threshold, share: min(max(b.over/b.weight, tailShare), 1), law: law}
	b.stale = 0
}

// law returns the degrees of freedom and the scale of Student's t.
func (b *SizeBaseline) law() (freedom, scale float64) {
	freedom = priorFreedom + max(b.weight-1, 0)
	scale = math.Sqrt((priorFreedom*priorSpread*priorSpread + b.spread) / freedom * (1 + 1/max(b.weight, 1)))
	return freedom, max(scale, leastScale)
}

// LogTail returns log P(X ≥ x), 0 where nothing was learned.
func (b *SizeBaseline) LogTail(x float64) float64 {
	switch {
	case !(x > 0) || b.slots == 0:
		return 0
	case x == b.lastX:
		return b.lastTail
	}
	y := math.Log(min(x, math.MaxFloat64))
	freedom, scale := b.law()
	b.lastX, b.lastTail = x, max(studentLogTail((y-b.mean)/scale, freedom), b.tail(scale).logTail(y))
	return b.lastTail
}

// tail returns the fitted tail, or what is believed before there is one: that the excesses
// have the mean of an exponential law with the scale of the whole, as those of a power law do.
func (b *SizeBaseline) tail(scale float64) tail {
	if b.beyond.share > 0 {
		return b.beyond
	}
	return tail{from: b.mean + tailStart*scale, share: tailShare, law: pareto{1.0 / fewestPeaks, scale}}
}

// logTail returns log P(Y ≥ y), up to the threshold log P(Y > from), which is less; without
// a tail -Inf.
func (t tail) logTail(y float64) float64 {
	if t.share == 0 {
		return math.Inf(-1)
	}
	return math.Log(t.share) + t.law.logTail(y-t.from)
}

// Median returns the value that half of the values are predicted to exceed, 0 where
// nothing was learned.
func (b *SizeBaseline) Median() float64 {
	if b.slots == 0 {
		return 0
	}
	return math.Exp(b.mean)
}

// Quantile returns the x with P(X ≤ x) = p: 0 for p ≤ 0 and where nothing was learned, +Inf
// for p ≥ 1.
func (b *SizeBaseline) Quantile(p float64) float64 {
	switch {
	case !(p > 0) || b.slots == 0:
		return 0
	case p >= 1:
		return math.Inf(1)
	}
	freedom, scale := b.law()
	y := b.mean + scale*studentQuantile(p, freedom)
	if t := b.tail(scale); t.share > 1-p {
		y = max(y, t.from+t.law.excess(math.Log((1-p)/t.share)))
	}
	return min(math.Exp(y), math.MaxFloat64)
}

// Slots returns how many values were learned.
func (b *SizeBaseline) Slots() float64 { return b.slots }
