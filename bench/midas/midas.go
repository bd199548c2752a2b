// Package midas has the detectors of edge bursts that estop's own is measured beside, written
// from the papers, with the parameters that their authors give as defaults:
//
//   - MIDAS and MIDAS-R: Bhatia, Hooi, Yoon, Shin and Faloutsos, "MIDAS: Microcluster-based
//     detector of anomalies in edge streams" (AAAI 2020);
//   - MIDAS-F: Bhatia, Liu, Hooi, Yoon, Shin and Faloutsos, "Real-time anomaly detection in
//     edge streams" (TKDD 2022).
//
// Each compares the count of an edge in the current tick with its count in all ticks, by a
// χ² statistic. Counts are estimated by count-min sketches. Scores are not probabilities,
// and contain the edge itself: it is counted before it is scored.
package midas

// Options are the parameters. Ticks begin at 1 and do not fall.
type Options struct {
	Rows, Columns int
	Seed          uint64  // of the hash functions
	Decay         float32 // MIDAS-R, MIDAS-F: what is left of a tick's count in the next
	Threshold     float32 // MIDAS-F: from this score on a count is not merged into the past
}

// Defaults are the authors' parameters. The published code draws a seed from the clock.
func Defaults(seed uint64) Options {
	return Options{Rows: 2, Columns: 1024, Seed: seed, Decay: 0.5, Threshold: 1000}
}

// Scorer scores a stream of edges, one after the other.
type Scorer interface {
	Score(src, dst uint64, tick int64) float64
}

// Plain is MIDAS: the edge alone, with counts of the current tick alone.
type Plain struct {
	tick  int64
	edges counts
}

// NewPlain returns MIDAS.
func NewPlain(o Options) *Plain { return &Plain{tick: 1, edges: newCounts(o, 0)} }

// Score counts the edge and returns its score.
func (m *Plain) Score(src, dst uint64, tick int64) float64 {
	if tick > m.tick {
		m.edges.current.scale(0)
		m.tick = tick
	}
	return float64(m.edges.score(pair(src, dst), float32(tick)))
}

// Relational is MIDAS-R: the largest score of edge, source and destination, with counts of
// the current tick that fade instead of ending with it.
type Relational struct {
	tick  int64
	decay float32
	parts [3]counts // edge, source, destination
}

// NewRelational returns MIDAS-R.
func NewRelational(o Options) *Relational {
	m := &Relational{tick: 1, decay: o.Decay}
	for i := range m.parts {
		m.parts[i] = newCounts(o, uint64(i))
	}
	return m
}

// Score counts the edge and returns its score.
func (m *Relational) Score(src, dst uint64, tick int64) float64 {
	if tick > m.tick {
		for i := range m.parts {
			m.parts[i].current.scale(m.decay)
		}
		m.tick = tick
	}
	most := float32(0)
	for i, key := range [3]uint64{pair(src, dst), src, dst} {
		most = max(most, m.parts[i].score(key, float32(tick)))
	}
	return float64(most)
}

// counts are the two counts of MIDAS, of one kind of key.
type counts struct {
	current, total sketch
	at             []int
}

func newCounts(o Options, part uint64) counts {
	s := newSketch(o, part)
	return counts{current: s, total: s.like(), at: make([]int, o.Rows)}
}

// score counts the key and returns (a - s/t)²·t²/(s·(t-1)) for its current count a and its
// total s at tick t.
func (c *counts) score(key uint64, t float32) float32 {
	c.current.locate(c.at, key)
	c.current.add(c.at)
	c.total.add(c.at)
	a, s := c.current.least(c.at), c.total.least(c.at)
	if s == 0 || t <= 1 {
		return 0
	}
	d := (a - s/t) * t
	return d * d / (s * (t - 1))
}
