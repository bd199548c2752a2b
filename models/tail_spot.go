package models

import (
	"math"
	"slices"
)

// Spot is the predictive tail of a stream of numbers whose law nobody knows (Siffer,
// Fouque, Termier and Largouët, "Anomaly detection in streams with extreme value theory",
// KDD 2017). The first values set the threshold u, their quantile at the level given; of
// the excesses beyond it a generalised Pareto law is kept:
//
//	P(X ≥ x) ≈ (k/n)·(1 + ξ·(x-u)/σ)^(-1/ξ)
//
// with k of the n values above u. The law is the maximum of likelihood over the latest 256
// excesses, found again at every eighth; its shape is 1/k greater, which makes of an
// exponential tail its predictive law, and at least 0: a law that ends would make a
// certainty of what was merely never seen.
//
// Learn only from values that are no alarm. Values up to u are never strange: their
// probability is rounded up to 1. So is everything before there are as many values as the
// warm-up and ten excesses.
//
// Units: any. Valid range: finite numbers up to 10^150; others are ignored, and never
// strange but for +Inf. Cost: Learn O(1) below u, about 2 ns; above it about 20 ns, and each
// eighth time about 200 µs, which is ½ µs a value at the level 0.98. LogTail about 20 ns. Bytes: 88, and 8 for each value of the
// warm-up, later 2048.
//
// For a stream that drifts use DSpot. Detectors use neither: what they measure is a count or a
// size, whose law is better known (CountBaseline, SizeBaseline). Both are for programs that
// import this package and watch numbers of another sort.
type Spot struct {
	level     float64
	warmup    int32
	next      int32     // where the next excess goes
	stale     int32     // excesses since the law was found
	values    []float64 // in the warm-up what was seen, then the latest excesses
	seen      float64   // n
	over      float64   // k
	threshold float64   // u
	law       pareto    // none while the scale is 0
}

const (
	spotPeaks    = 256
	spotFewest   = 10
	spotRefit    = 8
	leastWarmup  = 20
	mostWarmup   = 1 << 16
	maxMagnitude = 1e150
)

// NewSpot returns a tail beyond the quantile at level, 0.5 … 0.999 (the paper's is 0.98),
// of the first warmup values, 20 … 65536. Beyond, the nearest bound is taken.
func NewSpot(level float64, warmup int) Spot {
	if !(level >= 0.5) {
		level = 0.5
	}
	return Spot{level: min(level, 0.999), warmup: int32(min(max(warmup, leastWarmup), mostWarmup))}
}

// Learn takes in a value.
func (s *Spot) Learn(x float64) {
	if !(math.Abs(x) <= maxMagnitude) {
		return
	}
	s.seen++
	if s.seen <= float64(s.warmup) {
		if s.values == nil {
			s.values = make([]float64, 0, max(s.warmup, spotPeaks))
		}
		if s.values = append(s.values, x); s.seen == float64(s.warmup) {
			s.start()
		}
		return
	}
	if x <= s.threshold {
		return
	}
	s.over++
	s.keep(x - s.threshold)
	if s.stale++; s.stale >= spotRefit || s.law.scale == 0 {
		s.fit()
	}
}

// start sets the threshold and turns the values of the warm-up into excesses.
func (s *Spot) start() {
	values := slices.Clone(s.values)
	slices.Sort(values)
	s.threshold = values[min(int(s.level*float64(len(values))), len(values)-1)]
	s.values = make([]float64, 0, spotPeaks)
	for _, v := range values {
		if v > s.threshold {
			s.over++
			s.keep(v - s.threshold)
		}
	}
	s.fit()
}

func (s *Spot) keep(excess float64) {
	if len(s.values) < spotPeaks {
		s.values = append(s.values, excess)
		return
	}
	s.values[s.next] = excess
	s.next = (s.next + 1) % spotPeaks
}

func (s *Spot) fit() {
	s.stale = 0
	if len(s.values) < spotFewest {
		return
	}
	if law, ok := paretoByLikelihood(s.values); ok {
		s.law = pareto{max(law.shape, 0) + 1/float64(len(s.values)), max(law.scale, leastSpotScale)}
	}
}

const leastSpotScale = 1e-150

// LogTail returns log P(X ≥ x).
func (s *Spot) LogTail(x float64) float64 {
	if !(x > s.threshold) || s.law.scale == 0 {
		return 0
	}
	return math.Log(s.over/s.seen) + s.law.logTail(min(x, maxMagnitude)-s.threshold)
}

// Quantile returns the x with P(X ≤ x) = p for a p beyond the level, z_q of the paper with q
// = 1-p. It is the threshold for a lesser p, and +Inf for p ≥ 1 and while there is no law.
func (s *Spot) Quantile(p float64) float64 {
	switch {
	case s.law.scale == 0 || p >= 1:
		return math.Inf(1)
	case !(1-p < s.over/s.seen):
		return s.threshold
	}
	return s.threshold + s.law.excess(math.Log((1-p)*s.seen/s.over))
}

// DSpot is Spot for a stream that drifts: it judges how far a value lies above the mean of
// the latest ones (the paper's section 4.4).
//
// The latest values are kept, 1 … 4096 of them; nothing is judged before there are as many.
// Cost and bytes: as Spot, and 8 for each of those.
type DSpot struct {
	spot   Spot
	latest []float64
	depth  int32
	next   int32
	sum    float64
}

const mostDepth = 4096

// NewDSpot returns a DSpot over the latest depth values.
func NewDSpot(level float64, warmup, depth int) DSpot {
	return DSpot{spot: NewSpot(level, warmup), depth: int32(min(max(depth, 1), mostDepth))}
}

// Learn takes in a value that is no alarm.
func (d *DSpot) Learn(x float64) {
	if !(math.Abs(x) <= maxMagnitude) {
		return
	}
	if len(d.latest) < int(d.depth) {
		if d.latest == nil {
			d.latest = make([]float64, 0, d.depth)
		}
		d.latest = append(d.latest, x)
		d.sum += x
		return
	}
	d.spot.Learn(x - d.Mean())
	d.sum += x - d.latest[d.next]
	d.latest[d.next] = x
	if d.next++; d.next == d.depth {
		d.next = 0
		d.sum = 0 // no rounding may add up
		for _, v := range d.latest {
			d.sum += v
		}
	}
}

// Mean returns the mean of the latest values, 0 before the first.
func (d *DSpot) Mean() float64 { return d.sum / float64(max(len(d.latest), 1)) }

// LogTail returns log P(X ≥ x).
func (d *DSpot) LogTail(x float64) float64 { return d.spot.LogTail(x - d.Mean()) }

// Quantile returns the x with P(X ≤ x) = p, as Spot does.
func (d *DSpot) Quantile(p float64) float64 { return d.spot.Quantile(p) + d.Mean() }
