package models

import "math"

// pareto is a generalised Pareto law of excesses y ≥ 0 over a threshold:
//
//	P(Y ≥ y) = (1 + ξ·y/σ)^(-1/ξ),  exp(-y/σ) for ξ = 0
//
// By Pickands, Balkema and de Haan it is the limit for the excesses over high thresholds of
// nearly every law; ξ > 0 is a power tail, ξ < 0 one that ends at σ/|ξ|.
type pareto struct{ shape, scale float64 } // ξ, σ > 0

// logTail returns log P(Y ≥ y), which is -Inf beyond the end of the law.
func (l pareto) logTail(y float64) float64 {
	v := l.shape * y / l.scale
	switch {
	case !(y > 0):
		return 0
	case v <= -1:
		return math.Inf(-1)
	case math.Abs(v) < 1e-8: // log1p(v)/v is 1-v/2
		return -y / l.scale * (1 - v/2)
	}
	return -math.Log1p(v) / l.shape
}

// excess returns the y with log P(Y ≥ y) = logp ≤ 0.
func (l pareto) excess(logp float64) float64 {
	v := -l.shape * logp
	if math.Abs(v) < 1e-8 {
		return -l.scale * logp * (1 + v/2)
	}
	return l.scale * math.Expm1(v) / l.shape
}

// paretoByMoments fits the law to rising excesses by probability-weighted moments (Hosking
// and Wallis, "Parameter and quantile estimation for the generalized Pareto distribution",
// 1987): cheap, without search, and for tens of excesses better than maximum likelihood.
// There must be at least two, and they must not be all the same.
func paretoByMoments(excesses []float64) (l pareto, ok bool) {
	n := float64(len(excesses))
	mean, low := 0.0, 0.0 // E[Y] and E[Y·P(Y' > Y)]
	for i, y := range excesses {
		mean += y / n
		low += y * (1 - (float64(i)+0.65)/n) / n
	}
	d := mean - 2*low
	if !(d > 0) || !(low > 0) {
		return pareto{}, false
	}
	return pareto{shape: 2 - mean/d, scale: 2 * mean * low / d}, true
}

// paretoByLikelihood fits the law to excesses by maximum likelihood. With s = ξ/σ the best
// ξ for a given s is the mean of log(1+s·y), which leaves a search in s alone (Grimshaw,
// "Computing maximum likelihood estimates for the generalized Pareto distribution", 1993).
// ξ is held at -½ or more: below it the estimate is not regular.
func paretoByLikelihood(excesses []float64) (l pareto, ok bool) {
	largest, mean := 0.0, 0.0
	for _, y := range excesses {
		largest = max(largest, y)
		mean += y / float64(len(excesses))
	}
	if !(mean > 0) {
		return pareto{}, false
	}
	at := func(s float64) (l pareto, logLikelihood float64) {
		if math.Abs(s*largest) < 1e-9 {
			return pareto{0, mean}, -math.Log(mean) - 1
		}
		shape := 0.0
		for _, y := range excesses {
			shape += math.Log1p(s * y)
		}
		shape /= float64(len(excesses))
		scale := shape / s
		return pareto{shape, scale}, -math.Log(scale) - shape - 1
	}
	// s·largest = e^v - 1 is above -1 for every v.
	value := func(v float64) float64 {
		l, log := at(math.Expm1(v) / largest)
		if l.shape < -0.5 {
			return math.Inf(-1)
		}
		return log
	}
	best, most := 0.0, value(0)
	const step = 0.5
	for v := -6.0; v <= 12; v += step {
		if log := value(v); log > most {
			best, most = v, log
		}
	}
	l, _ = at(math.Expm1(maximum(value, best-step, best+step)) / largest)
	return l, true
}

// maximum returns where f is largest between a and b, by golden section, to 1e-9.
func maximum(f func(float64) float64, a, b float64) float64 {
	ratio := (math.Sqrt(5) - 1) / 2
	c, d := b-ratio*(b-a), a+ratio*(b-a)
	fc, fd := f(c), f(d)
	for b-a > 1e-9 {
		if fc >= fd {
			b, d, fd = d, c, fc
			c = b - ratio*(b-a)
			fc = f(c)
		} else {
			a, c, fc = c, d, fd
			d = a + ratio*(b-a)
			fd = f(d)
		}
	}
	return (a + b) / 2
}
