package models

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// CountPrior is what is believed of an entity's active slots before any was seen; it is
// usually its peers'.
type CountPrior struct {
	Mean   float64 // expected events in an active slot, at least 1
	Weight float64 // how many slots the belief is worth, above 0
	Memory float64 // effective number of slots remembered, at least Weight
}

// CountBaseline is the predictive distribution of the number N of events in an active
// slot, which is a slot with at least one event.
//
// Of M = N-1 it keeps, with the weight of each slot falling by 1-1/Memory for each later
// one, the total weight b, the mean μ and the variance s². Events are a Poisson stream
// whose rate has the Gamma posterior of shape a = μ·b and rate b (Gelman et al., Bayesian
// Data Analysis, 2.6; exponential forgetting: West and Harrison, Bayesian Forecasting,
// 2.3), so that the prediction is negative binomial, with mean μ and variance μ(1+1/b).
// Agents burst, so μ is replaced by the variance seen where that is larger:
//
//	M ~ NB(mean μ, size r),  r = μ² / (v·(1+1/b) − μ),  v = max(μ, s²·(1+√(2/b)))
//
// For a Poisson stream r is the posterior shape a. For an over-dispersed stream it is the
// moment estimate μ²/(s²−μ), made smaller for what is not known yet of the mean (1/b) and
// the variance (its standard error √(2/b)). r is thus never more than the smaller of the
// two. μ·b is held at ½ or more (Jeffreys), so that an entity that always makes one call
// may still make two. The prior brings the variance of a geometric distribution: a cold
// start is wide.
//
// Units: events for each active slot. Valid range: counts 1 … 10^15.
//
// Cost: Learn O(1), about 100 ns. LogTail O(1) below the mean,
// otherwise a continued fraction of at most about 75 steps (400 where r < 1, 2000 where r
// < 0.1), about 150 ns for tens of events. Bytes: 96, no allocation.
type CountBaseline struct {
	decay  float64 // 1 - 1/Memory
	prior  CountPrior
	weight float64 // b
	mean   float64 // of M
	spread float64 // weighted sum of squared deviations of M
	slots  float64

	law nbinom // derived from the above by refresh

}

// NewCountBaseline returns the baseline that knows only the prior. A Mean below 1 counts
// as 1, a Weight that is not positive as 1, and a Memory below Weight+1 as that. Beyond
// 10^15, and below 0.01 or beyond 10^9 for Weight and Memory, the nearest bound is taken.
func NewCountBaseline(p CountPrior) CountBaseline {
	if !(p.Mean >= 1) {
		p.Mean = 1
	}
	if !(p.Weight > 0) {
		p.Weight = 1
	}
	p.Mean = min(p.Mean, maxCount)
	p.Weight = min(max(p.Weight, 0.01), maxMemory)
	if !(p.Memory >= p.Weight+1) {
		p.Memory = p.Weight + 1
	}
	p.Memory = min(p.Memory, maxMemory+1)
	m := p.Mean - 1
	b := CountBaseline{decay: 1 - 1/p.Memory, prior: p, weight: p.Weight, mean: m, spread: p.Weight * (m + m*m)}
	b.refresh()
	return b
}

// Learn takes in a closed active slot with n events. An n below 1 or beyond 10^15 is
// ignored.
func (b *CountBaseline) Learn(n float64) {
	if !(n >= 1 && n <= maxCount) {
		return
	}
	m := n - 1
	b.weight = b.weight*b.decay + 1
	b.spread *= b.decay
	// Welford's update for weighted values (West 1979): no cancellation.
	d := m - b.mean
	b.mean += d / b.weight
	b.spread += d * (m - b.mean)
	b.slots++
	b.refresh()
}

// refresh derives the predictive law from what was learned.
func (b *CountBaseline) refresh() {
	mean := max(b.mean, 0.5/b.weight)
	variance := max(mean, b.spread/b.weight*(1+math.Sqrt(2/b.weight)))
	size := mean * mean / (variance - mean + variance/b.weight)
	b.law = newNBinom(mean, size)
}

// Mean returns the expected number of events in an active slot.
func (b *CountBaseline) Mean() float64 { return 1 + b.law.mean }

// LogTail returns log P(N ≥ n). For an n up to the mean it returns 0, which is the
// probability rounded up: such an n is no evidence, and most calls end here.
func (b *CountBaseline) LogTail(n float64) float64 {
	return b.law.logTailOf(n)
}

// LogTails returns log P(N ≥ n) and log P(N ≥ n+1) for a whole n, below the mean too, where
// LogTail rounds up: what LogMidP and LogRandomP need.
func (b *CountBaseline) LogTails(n float64) (tail, next float64) { return b.law.logTails(n - 1) }

// LogMidP returns the logarithm of the mid-p-value of a whole n, as the function LogMidP does from
// LogTails but for a third of the cost. For an n up to the mean it returns 0, as LogTail does.
func (b *CountBaseline) LogMidP(n float64) float64 {
	return b.law.logMidPOf(n)
}

// Quantile returns the smallest n with P(N ≤ n) ≥ p: 1 for p ≤ 0, +Inf for p ≥ 1. Small n are
// counted up to, about 50 ns; others take a search of about 2·log2(n) steps of the law.
func (b *CountBaseline) Quantile(p float64) float64 { return 1 + b.law.quantile(p) }

// maxCount is the largest count that is told from its neighbours.
const maxCount = 1e15

// maxMemory is the largest number of slots that can be remembered.
const maxMemory = 1e9

// nbinom is a negative binomial law with its mean, its size r and what its tail needs.
type nbinom struct {
	mean, size   float64
	x            float64 // mean/(mean+size), the chance of one more
	stirlingSize float64 // stirling(size), once a probability was asked for; before that 0
}

func newNBinom(mean, size float64) nbinom {
	return nbinom{mean: mean, size: size, x: mean / (mean + size)}
}

// logPMF returns log P(M = k) for k ≥ 1, as r/(k+r) times the binomial probability of k in
// k+r, by Loader's saddle-point form ("Fast and accurate computation of binomial
// probabilities", 2000): differences of large gamma functions would lose all digits.
func (l *nbinom) logPMF(k float64) float64 {
	if l.stirlingSize == 0 {
		l.stirlingSize = stirling(l.size)
	}
	n := k + l.size
	q := l.size / (l.mean + l.size) // 1-x
	d := (k - l.mean) * q           // k - n·x, and also n·q - r
	log := stirling(n) - stirling(k) - l.stirlingSize - deviance(k, n*l.x, d) - deviance(l.size, n*q, -d)
	return log - 0.5*math.Log(2*math.Pi*k*n/l.size)
}

// quantile returns the smallest m with P(M ≤ m) ≥ p: 0 for p ≤ 0, +Inf for p ≥ 1.
func (l *nbinom) quantile(p float64) float64 {
	switch {
	case !(p > 0):
		return 0
	case p >= 1:
		return math.Inf(1)
	}
	if m, ok := l.walk(p); ok {
		return m
	}
	enough := func(m float64) bool { return l.tail(m+1) <= 1-p }
	low, high := -1.0, 0.0 // enough(high), not enough(low)
	for step := math.Ceil(l.mean) + 1; !enough(high) && high < maxCount; step *= 2 {
		low, high = high, high+step
	}
	for high-low > 1 {
		if mid := math.Floor((low + high) / 2); enough(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

// walk returns the smallest m with P(M ≤ m) ≥ p, if it is below longestWalk.
func (l *nbinom) walk(p float64) (m float64, ok bool) {
	pmf := math.Exp(l.size * math.Log(l.size/(l.mean+l.size))) // of 0
	for sum := pmf; m < longestWalk; sum += pmf {
		if sum >= p {
			return m, true
		}
		pmf *= l.x * (m + l.size) / (m + 1)
		m++
	}
	return 0, false
}

const longestWalk = 32

// stirling returns log Γ(z+1) minus Stirling's formula for it, z·log z - z + ½·log 2πz.
func stirling(z float64) float64 {
	if z < 15 {
		lg, _ := math.Lgamma(z + 1)
		return lg - z*math.Log(z) + z - 0.5*math.Log(2*math.Pi*z)
	}
	zz := z * z
	return (1.0/12 - (1.0/360-(1.0/1260-1.0/1680/zz)/zz)/zz) / z
}

// deviance returns x·log(x/m) + m - x where d = x - m.
func deviance(x, m, d float64) float64 {
	v := d / (x + m)
	if math.Abs(v) > 0.1 {
		return x*math.Log(x/m) - d
	}
	// With x = (x+m)(1+v)/2 and m = (x+m)(1-v)/2 it is d·v + 2x·(v³/3 + v⁵/5 + …).
	sum, term := d*v, 2*x*v
	for j := 3.0; ; j += 2 {
		term *= v * v
		more := sum + term/j
		if more == sum {
			return sum
		}
		sum = more
	}
}

// logTail returns log P(M ≥ k) for whole k ≥ mean: P(M = k) times the continued fraction
// of the regularised incomplete beta function I_x(k, r) (NIST DLMF 8.17.22), which
// converges fast because x < (k+1)/(k+r+2) beyond the mean.
//
// It needs about √m steps near the mean, with m = mean·r/(mean+r). Above fastMean it is
// replaced by a geometric series, which is never less. s standard deviations beyond the
// mean it is about
// 1+1/s² times too much; near the mean it ends at 1. The choice depends on the law
// alone, so that the result falls with k.
func (l *nbinom) logTail(k float64) float64 {
	if k <= 0 {
		return 0
	}
	sum, ok := 0.0, false
	if l.mean*l.size <= fastMean*(l.mean+l.size) {
		sum, ok = betaFraction(l.x, k, l.size)
	}
	if !ok {
		// Each further term is at most q times the one before.
		q := l.x * max(1, (k+l.size)/(k+1))
		sum = 1 / max(1-q, 1e-300)
	}
	return min(0, l.logPMF(k)+math.Log(sum))
}

// logTailOf returns log P(N ≥ n) for N = M+1: 0 for an n up to the mean, and for NaN.
func (l *nbinom) logTailOf(n float64) float64 {
	if !(n > 1+l.mean) {
		return 0
	}
	return l.logTail(math.Ceil(min(n, maxCount)) - 1)
}

// logMidPOf is logMidP of N = M+1: 0 for an n up to the mean, and for NaN.
func (l *nbinom) logMidPOf(n float64) float64 {
	if !(n > 1+l.mean) {
		return 0
	}
	return l.logMidP(n - 1)
}

// logMidP returns the logarithm of the mean of P(M ≥ k) and P(M ≥ k+1) for whole k > mean, which are
// P(M = k) times the same continued fraction, and times that less 1.
func (l *nbinom) logMidP(k float64) float64 {
	k = min(math.Ceil(k), maxCount)
	if k > l.mean && l.mean*l.size <= fastMean*(l.mean+l.size) {
		if sum, ok := betaFraction(l.x, k, l.size); ok {
			return min(0, l.logPMF(k)+math.Log(sum-0.5))
		}
	}
	return LogMidP(l.logTails(k))
}

// fastMean keeps the continued fraction to some tens of steps, where r is not far below 1.
const fastMean = 1000

// logTails returns log P(M ≥ k) and log P(M ≥ k+1) for whole k. Above fastMean the latter
// may be rounded up beyond the former, to which it is held. NaN is as 0.
func (l *nbinom) logTails(k float64) (tail, next float64) {
	if k != k {
		k = 0
	}
	k = min(max(math.Ceil(k), -1), maxCount)
	of := func(k float64) float64 {
		if k > l.mean {
			return l.logTail(k)
		}
		return math.Log(l.tail(k))
	}
	tail = of(k)
	return tail, min(tail, of(k+1))
}

// tail returns P(M ≥ k) for whole k.
func (l *nbinom) tail(k float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > l.mean:
		return math.Exp(l.logTail(k))
	}
	return mathext.RegIncBeta(k, l.size, l.x)
}

// betaFraction returns the continued fraction of I_x(a, b), by Lentz's method (Press et
// al., Numerical Recipes, 6.4), to 1e-12, and whether it got there in 4096 steps.
func betaFraction(x, a, b float64) (f float64, ok bool) {
	const tiny = 1e-300
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c := 1.0
	d := 1 / away(1-(a+b)*x/(a+1))
	f = d
	for i := 1.0; i <= 4096; i++ {
		even := i * (b - i) * x / ((a + 2*i - 1) * (a + 2*i))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		f *= d * c
		odd := -(a + i) * (a + b + i) * x / ((a + 2*i) * (a + 2*i + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		step := d * c
		f *= step
		if math.Abs(step-1) < 1e-12 {
			return f, true
		}
	}
	return f, false
}
