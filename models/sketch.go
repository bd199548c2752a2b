package models

import (
	"math"
	"math/bits"
)

const (
	registerBits = 8
	registers    = 1 << registerBits
	ranks        = 24 // register values 1 … ranks; saturates near 2^(registerBits+ranks) hashes
)

// sketch is a HyperLogLog over a sliding window (Flajolet, Fusy, Gandouet and Meunier
// 2007; Heule, Nunkesser and Hall 2013; over a window: Chabchoub and Hébrail 2010).
//
// It keeps for each register and rank the last slot in which that rank was seen. The
// largest rank whose slot is live is exactly the register of the union of one HyperLogLog
// for each live slot, at a memory that does not depend on the number of slots.
//
// The estimate is Ertl's improved raw estimator ("New cardinality estimation algorithms
// for HyperLogLog sketches", 2017, algorithm 6), which needs no table of biases. Its
// standard error is 1.04/sqrt(256) = 6.5 %.
//
// Cost: add O(1), expire O(registers) for each new slot, estimate O(ranks). Bytes: 6450.
type sketch struct {
	last [registers][ranks]uint8 // code of the last slot, 0: never
	top  [registers]uint8        // value of the register, 0: empty
	hist [ranks + 1]uint16       // how many registers have each value
}

func newSketch() *sketch {
	s := new(sketch)
	s.hist[0] = registers
	return s
}

// add notes the hash in the slot with this code, which is live.
func (s *sketch) add(h uint64, code uint8) {
	r := h >> (64 - registerBits)
	rank := min(bits.LeadingZeros64(h<<registerBits)+1, ranks)
	s.mark(int(r), rank, code)
}

func (s *sketch) mark(r, rank int, code uint8) {
	cell := &s.last[r][rank-1]
	*cell = max(*cell, code)
	if top := s.top[r]; rank > int(top) {
		s.hist[top]--
		s.hist[rank]++
		s.top[r] = uint8(rank)
	}
}

// expire lowers the registers whose rank was last seen before the slot with code oldest.
func (s *sketch) expire(oldest uint8) {
	for r := range s.top {
		was := s.top[r]
		top := was
		for top > 0 && s.last[r][top-1] < oldest {
			top--
		}
		if top != was {
			s.hist[was]--
			s.hist[top]++
			s.top[r] = top
		}
	}
}

// rebase lowers every code by delta; codes up to delta become "never".
func (s *sketch) rebase(delta uint8) {
	for r := range s.last {
		for k, code := range s.last[r] {
			s.last[r][k] = code - min(code, delta)
		}
	}
}

// estimate returns the estimated number of different hashes.
func (s *sketch) estimate() float64 {
	const m = float64(registers)
	z := m * ertlTau(1-float64(s.hist[ranks])/m)
	for k := ranks - 1; k >= 1; k-- {
		z = 0.5 * (z + float64(s.hist[k]))
	}
	z += m * ertlSigma(float64(s.hist[0])/m)
	return m * m / (2 * math.Ln2 * z)
}

// ertlSigma is x + Σ x^(2^k)·2^(k-1) over k ≥ 1.
func ertlSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	z, y := x, 1.0
	for {
		x *= x
		was := z
		z += x * y
		y += y
		if z == was {
			return z
		}
	}
}

// ertlTau is (1 - x - Σ (1 - x^(2^-k))²·2^-k over k ≥ 1) / 3.
func ertlTau(x float64) float64 {
	if x <= 0 || x >= 1 {
		return 0
	}
	z, y := 1-x, 1.0
	for {
		x = math.Sqrt(x)
		was := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if z == was {
			return z / 3
		}
	}
}
