package fleet

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// Source is a PCG without the interface of rand.Rand between it and the caller.
type source struct{ rand.PCG }

// Below returns a whole number in [0, n). The bias of 2^-64 * n does not matter here.
func (s *source) below(n int) int {
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int(hi)
}

// Unit returns a number in [0, 1).
func (s *source) unit() float64 { return float64(s.Uint64()>>11) / (1 << 53) }

func (s *source) chance(p float64) bool { return s.unit() < p }

// Mix hashes numbers to one (the finaliser of SplitMix64, chained).
func mix(numbers ...uint64) uint64 {
	var h uint64
	for _, n := range numbers {
		h += n + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// Spread holds quantiles of a log-normal of median 1. They are rounded to float32: a
// processor that computes the last bit of Exp differently still gives the same calls.
type spread struct {
	quantiles [4096]float32
	mean      float64
}

// Spreads by the standard deviation of the logarithm.
var (
	tight = spreadOf(0.35)
	loose = spreadOf(0.7)
	broad = spreadOf(1)
)

func spreadOf(sigma float64) *spread {
	return quantiles(func(p float64) float64 {
		return math.Exp(sigma * (math.Sqrt2 * math.Erfinv(2*p-1)))
	})
}

// Expo is exponential with mean 1, pareto has exponent 1.2 and minimum 1.
var (
	expo   = quantiles(func(p float64) float64 { return -math.Log(1 - p) })
	pareto = quantiles(func(p float64) float64 { return math.Pow(1-p, -1/1.2) })
)

// Quantiles makes a spread of the quantiles in the middle of 4,096 equal parts.
func quantiles(at func(p float64) float64) *spread {
	s := &spread{}
	n := len(s.quantiles)
	for i := range n {
		s.quantiles[i] = float32(at((float64(i) + 0.5) / float64(n)))
		s.mean += float64(s.quantiles[i]) / float64(n)
	}
	return s
}

// Of returns the number that the hash stands for, with a mean of 1.
func (s *spread) of(h uint64) float64 { return float64(s.quantiles[h>>52]) / s.mean }

// Draw returns one number of the given median.
func (s *spread) draw(src *source, median float64) float64 {
	return median * float64(s.quantiles[src.Uint64()>>52])
}

// Zipf holds cumulated probabilities, scaled to 2^32, of the ranks 0, 1, 2, …
type zipf []uint32

func zipfOf(n int, skew float64) zipf {
	weights := make([]float64, n)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -skew)
	}
	return cumulate(weights)
}

func cumulate(weights []float64) zipf {
	var total, sum float64
	for _, w := range weights {
		total += w
	}
	z := make(zipf, len(weights))
	for i, w := range weights {
		sum += w
		z[i] = uint32(math.Min(math.Round(sum/total*(1<<32)), math.MaxUint32))
	}
	return z
}

// Rank draws an index.
func (z zipf) rank(src *source) int {
	u := uint32(src.Uint64() >> 32)
	low, high := 0, len(z)-1
	for low < high {
		middle := (low + high) / 2
		if u < z[middle] {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}
