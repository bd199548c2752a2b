package models

import "math"

// SeasonalCount is a CountBaseline whose mean follows the hour of the week: the predictive
// distribution of the number N of events in an active slot at a time t.
//
// With M = N-1, the factor f of the hour (see season) and its relative variance τ,
//
//	M ~ NB(mean μ·f, size r),  1/r = α + (1/μ + α)/F + τ·(1 + α)
//	α = max(0, Q·(1+√(2/b)) − ΣM) / (μ²·Σf²),  μ = ΣM/F,  F = Σf
//
// where the sums are over the slots learned, with the weight of each falling by 1-1/Memory
// for each later one, b is their weight and Q = Σ(M−μf)². α is the over-dispersion that was
// seen beyond Poisson streams with rates μ·f (the moment estimate of a negative binomial,
// made larger for its standard error); (1/μ+α)/F is the relative variance of μ itself, the
// Gamma posterior's for a Poisson stream (Gelman et al., Bayesian Data Analysis, 2.6). Where
// f is always 1 it is exactly the law of CountBaseline with τ added. The profile learns
// from whole hours after they have passed, so that a burst does not excuse itself.
//
// Units: events for each active slot; Unix nanoseconds. Valid range: counts 1 … 10^15;
// factors 1/256 … 256. Hours are those of UTC: a daylight saving change is a surprise that
// the shrinkage softens and some weeks unlearn.
//
// Cost: Learn O(1), about 30 ns; LogTail as CountBaseline's; each about 1 µs more when the
// hour changes. Bytes: 512, no allocation.
type SeasonalCount struct {
	decay float64 // 1 - 1/Memory
	prior CountPrior

	// Sums over the slots learned, by weight.
	weight   float64 // b
	exposure float64 // of f
	squares  float64 // of f²
	events   float64 // of M
	spread   float64 // of (M-μf)²
	slots    float64

	// The hour that is being learned: it is a visit once another hour begins.
	hour       int64
	hourSlots  float64
	hourEvents float64
	profile    season

	// Derived from the above for one hour by refresh.
	lawHour         int64
	factor, factorV float64 // f, τ
	law             nbinom
	lawKnown        bool
}

// weekVariance is the relative variance of an hour's mean from one week to the next that is
// taken for granted: a third up or down. It bounds what one visit can teach.
const weekVariance = 0.1

// NewSeasonalCount returns the baseline that knows only the prior, which is held to the
// bounds of NewCountBaseline.
func NewSeasonalCount(p CountPrior) SeasonalCount {
	c := NewCountBaseline(p)
	return SeasonalCount{
		decay: c.decay, prior: c.prior,
		weight: c.weight, exposure: c.weight, squares: c.weight, events: c.weight * c.mean, spread: c.spread,
	}
}

// Suppose lets a baseline that has learned nothing begin with a mean and a weight that others
// suggest, as CountBaseline's does.
func (b *SeasonalCount) Suppose(mean, weight float64) {
	if b.slots > 0 {
		return
	}
	c := NewCountBaseline(b.prior)
	c.Suppose(mean, weight)
	b.weight, b.exposure, b.squares, b.events, b.spread = c.weight, c.weight, c.weight, c.weight*c.mean, c.spread
	b.lawKnown = false
}

// Learn takes in a closed active slot with n events at the time t. An n below 1 or beyond
// 10^15 is ignored.
func (b *SeasonalCount) Learn(n float64, t int64) {
	if !(n >= 1 && n <= maxCount) {
		return
	}
	h := slotOf(t, hourOfTime)
	if h != b.hour && b.hourSlots > 0 {
		b.closeHour()
	}
	b.turn(h)
	f, m := b.factor, n-1
	was := b.events / b.exposure
	b.weight = b.weight*b.decay + 1
	b.exposure = b.exposure*b.decay + f
	b.squares = b.squares*b.decay + f*f
	b.events = b.events*b.decay + m
	b.spread *= b.decay
	b.spread += (m - was*f) * (m - b.events/b.exposure*f)
	b.slots++
	b.hour = h
	b.hourSlots++
	b.hourEvents += m
	b.refresh()
}

// closeHour makes a visit of the hour that was being learned.
func (b *SeasonalCount) closeHour() {
	b.turn(b.hour)
	x := b.hourEvents / b.hourSlots
	expected := b.mean() * b.factor * b.hourSlots
	variance := 1/max((b.hourEvents+expected)/2, 0.5) + b.dispersion()/b.hourSlots + weekVariance
	b.profile.visit(hourOfWeek(b.hour), x, 1/variance)
	b.hourSlots, b.hourEvents = 0, 0
	b.lawKnown = false
}

// turn makes the law that of the hour h.
func (b *SeasonalCount) turn(h int64) {
	if b.lawKnown && h == b.lawHour {
		return
	}
	b.lawHour, b.lawKnown = h, true
	b.factor, b.factorV = b.profile.factor(hourOfWeek(h))
	b.refresh()
}

// mean returns μ, with μ·F held at ½ or more as in CountBaseline.
func (b *SeasonalCount) mean() float64 { return max(b.events, 0.5) / b.exposure }

// dispersion returns α.
func (b *SeasonalCount) dispersion() float64 {
	mean := b.mean()
	return max(0, b.spread*(1+math.Sqrt(2/b.weight))-b.events) / (mean * mean * b.squares)
}

// refresh derives the predictive law of the hour from what was learned.
func (b *SeasonalCount) refresh() {
	mean, alpha := b.mean(), b.dispersion()
	inverse := alpha + (1/mean+alpha)/b.exposure + b.factorV*(1+alpha)
	b.law = newNBinom(mean*b.factor, 1/inverse)
}

// Mean returns the expected number of events in an active slot at t.
func (b *SeasonalCount) Mean(t int64) float64 {
	b.turn(slotOf(t, hourOfTime))
	return 1 + b.law.mean
}

// Level returns the mean of a slot in an average hour: 1 + μ.
func (b *SeasonalCount) Level() float64 { return 1 + b.mean() }

// LogTail returns log P(N ≥ n) for a slot at t. For an n up to the mean it returns 0, as
// CountBaseline does.
func (b *SeasonalCount) LogTail(n float64, t int64) float64 {
	b.turn(slotOf(t, hourOfTime))
	return b.law.logTailOf(n)
}

// LogTails returns log P(N ≥ n) and log P(N ≥ n+1) for a whole n and a slot at t, below the
// mean too: what LogMidP and LogRandomP need.
func (b *SeasonalCount) LogTails(n float64, t int64) (tail, next float64) {
	b.turn(slotOf(t, hourOfTime))
	return b.law.logTails(n - 1)
}

// LogMidP returns the logarithm of the mid-p-value of a whole n for a slot at t, 0 for an n up to
// the mean.
func (b *SeasonalCount) LogMidP(n float64, t int64) float64 {
	b.turn(slotOf(t, hourOfTime))
	return b.law.logMidPOf(n)
}

// Quantile returns the smallest n with P(N ≤ n) ≥ p for a slot at t: 1 for p ≤ 0, +Inf for
// p ≥ 1.
func (b *SeasonalCount) Quantile(p float64, t int64) float64 {
	b.turn(slotOf(t, hourOfTime))
	return 1 + b.law.quantile(p)
}
