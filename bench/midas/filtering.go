package midas

// Filtering is MIDAS-F: MIDAS-R whose counts join the past only when their tick has ended,
// and only where the latest score was below the threshold. Elsewhere the past grows by its
// own mean for one tick.
type Filtering struct {
	tick      int64
	decay     float32
	threshold float32
	parts     [3]filtered // edge, source, destination
}

// NewFiltering returns MIDAS-F.
func NewFiltering(o Options) *Filtering {
	m := &Filtering{tick: 1, decay: o.Decay, threshold: o.Threshold}
	for i := range m.parts {
		c := newCounts(o, uint64(i))
		m.parts[i] = filtered{counts: c, latest: c.current.like()}
	}
	return m
}

// Score counts the edge and returns its score.
func (m *Filtering) Score(src, dst uint64, tick int64) float64 {
	if tick > m.tick {
		for i := range m.parts {
			m.parts[i].merge(m.threshold, 1/float32(tick-1))
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

// filtered are the counts of one kind of key, and the latest score of each cell.
type filtered struct {
	counts
	latest sketch
}

func (c *filtered) merge(threshold, perTick float32) {
	total, current := c.total.cells, c.current.cells
	for i, score := range c.latest.cells {
		if score < threshold {
			total[i] += current[i]
		} else {
			total[i] += total[i] * perTick
		}
	}
}

// score counts the key and returns (a + s - a·t)²/(s·(t-1)), where s leaves out the current
// tick.
func (c *filtered) score(key uint64, t float32) float32 {
	c.current.locate(c.at, key)
	c.current.add(c.at)
	a, s := c.current.least(c.at), c.total.least(c.at)
	v := float32(0)
	if s != 0 && t > 1 {
		d := a + s - a*t
		v = d * d / (s * (t - 1))
	}
	c.latest.set(c.at, v)
	return v
}
