package models

import (
	"math"
	"slices"
)

// Conformal ranks a score among those seen before: its p-value where no law is known.
//
//	p = (#{i : s_i ≥ s} + 1) / (n + 1)
//
// (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, 2.2.) If the
// kept scores and the new one are exchangeable, P(p ≤ x) ≤ x for every x; that it is no
// less than 1/(n+1) is the price of knowing no law. Ties count against evidence.
//
// Up to cap scores all are kept. Then each new one takes the place of one drawn at random
// (Aggarwal, "On biased reservoir sampling", 2006), so that the kept ones are on average
// cap scores old and drift is followed. The draw depends on how many were added, never on
// the scores: what is kept is as exchangeable as what came, and the same scores always give the
// same ranks. p-values of successive scores are each valid, but share the kept scores:
// they are not independent.
//
// Units: any; a higher score is stranger. NaN is no score. Scores are kept as float32, to
// which the new one is rounded too, so that rounding only makes ties.
//
// Cost: LogP O(log cap), about 60 ns; Add O(cap) in one memmove, about 90 ns for 512 and
// 150 ns for 4096. Bytes: 40, and 4 for each kept score.
type Conformal struct {
	scores []float32 // rising
	cap    int32
	added  uint64
}

// mostScores bounds what a Conformal keeps.
const mostScores = 4096

// NewConformal returns one that keeps up to cap scores, 1 … 4096; beyond, the nearest bound
// is taken.
func NewConformal(cap int) Conformal {
	return Conformal{cap: int32(min(max(cap, 1), mostScores))}
}

// LogP returns log p of a score before it is added: 0 for the lowest and for NaN. Detectors ask for
// its inverse, Level; LogP is for programs that make evidence of a score.
func (c *Conformal) LogP(score float64) float64 {
	if score != score {
		return 0
	}
	below, _ := slices.BinarySearch(c.scores, narrow(score))
	n := float64(len(c.scores))
	return math.Log((n - float64(below) + 1) / (n + 1))
}

// Level returns the lowest score whose p-value is at most p, +Inf where n is too small for
// that: it takes n ≥ 1/p - 1.
func (c *Conformal) Level(p float64) float64 {
	n := len(c.scores)
	above := int(math.Floor(min(p, 1)*float64(n+1)+1e-9)) - 1 // how many may be as high
	switch {
	case !(above >= 0):
		return math.Inf(1)
	case above >= n:
		return math.Inf(-1)
	}
	return float64(math.Nextafter32(c.scores[n-1-above], math.MaxFloat32))
}

// Add takes in a score.
func (c *Conformal) Add(score float64) {
	if score != score {
		return
	}
	s := narrow(score)
	at, _ := slices.BinarySearch(c.scores, s)
	if len(c.scores) < int(c.cap) {
		c.scores = slices.Insert(c.scores, at, s)
	} else {
		out := int(mix(c.added) % uint64(c.cap))
		if out < at {
			at--
			copy(c.scores[out:at], c.scores[out+1:])
		} else {
			copy(c.scores[at+1:out+1], c.scores[at:out])
		}
		c.scores[at] = s
	}
	c.added++
}

// N returns how many scores are kept.
func (c *Conformal) N() int { return len(c.scores) }

// narrow rounds to a finite float32, rising.
func narrow(v float64) float32 {
	return float32(min(max(v, -math.MaxFloat32), math.MaxFloat32))
}
