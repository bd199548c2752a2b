package models

import "math"

// Suppose lets a baseline believe a mean that others suggest, its peers for one, as if it had seen so
// many slots with that mean and the variance of a geometric distribution, as in CountPrior. One
// that has learned nothing begins with that in place of its prior; of another the moments of both
// together are kept (Chan, Golub and LeVeque 1979), worth Memory slots at most. A mean below 1 counts
// as 1; the weight is held to 0.01 … Memory-1.
func (b *CountBaseline) Suppose(mean, weight float64) {
	if b.slots == 0 {
		b.weight, b.spread = 0, 0
	}
	m := min(max(mean, 1), maxCount) - 1
	weight = min(max(weight, leastWeight), b.prior.Memory-1)
	share := weight / (b.weight + weight)
	d := m - b.mean
	b.spread += weight*(m+m*m) + d*d*b.weight*share
	b.mean += d * share
	b.weight += weight
	if most := b.prior.Memory; b.weight > most {
		b.spread *= most / b.weight
		b.weight = most
	}
	b.refresh()
}

// leastWeight is the smallest number of slots that a belief can be worth.
const leastWeight = 0.01

// Doubt takes from what the baseline is certain of: what it learned is worth at most as
// many slots as weight says, so that what comes now counts more, and the prediction is as
// wide as after that many slots.
func (b *CountBaseline) Doubt(weight float64) {
	share := shrink(b.weight, weight)
	b.weight *= share
	b.spread *= share
	b.refresh()
}

// Doubt is that of CountBaseline. The profile of the week stays as it was learned.
func (b *SeasonalCount) Doubt(weight float64) {
	share := shrink(b.weight, weight)
	for _, sum := range []*float64{&b.weight, &b.exposure, &b.squares, &b.events, &b.spread} {
		*sum *= share
	}
	b.refresh()
}

// Doubt takes from what the baseline is certain of: what it learned is worth at most as
// many values as weight says. The threshold of the tail stays.
func (b *SizeBaseline) Doubt(weight float64) {
	share := shrink(b.weight, weight)
	b.weight *= share
	b.spread *= share
	b.over *= share
	b.lastX = 0
}

// Doubt takes from what the model is certain of: what it drew is worth about as many draws as weight
// says, though each kind that it knows stays known, as drawn once at least. O(size of the table).
func (v *Novelty) Doubt(weight float64) {
	share := shrink(v.draws, weight)
	if share == 1 {
		return
	}
	forgotten := (v.draws - v.kept) * share
	v.kept, v.singles = 0, 0
	v.table.each(func(_ uint64, count *uint32) {
		*count = shrunk(*count, share)
		v.kept += float64(*count)
		if *count == 1 {
			v.singles++
		}
	})
	v.draws = v.kept + forgotten
}

// Doubt is that of Novelty, for each context by itself.
func (m *Markov) Doubt(weight float64) {
	forgotten := make([]float64, len(m.contexts))
	shares := make([]float64, len(m.contexts))
	for i := range m.contexts {
		c := &m.contexts[i]
		shares[i] = shrink(float64(c.draws), weight)
		forgotten[i] = float64(c.draws-c.kept) * shares[i]
		c.kept, c.singles = 0, 0
	}
	m.next.each(func(key uint64, count *uint32) {
		c := &m.contexts[key>>48]
		*count = shrunk(*count, shares[key>>48])
		c.kept += *count
		if *count == 1 {
			c.singles++
		}
	})
	for i := range m.contexts {
		c := &m.contexts[i]
		c.draws = c.kept + uint32(forgotten[i])
	}
}

// Doubt is that of Novelty, for all that the baseline is made of.
func (b *SessionBaseline) Doubt(weight float64) {
	b.actions.Doubt(weight)
	b.values.Doubt(weight)
	b.tokens.Doubt(weight)
}

// shrunk is the share of a count, and at least 1.
func shrunk(count uint32, share float64) uint32 {
	return max(1, uint32(math.Round(float64(count)*share)))
}

// shrink returns the factor that brings a weight down to at most limit, which counts as at
// least 1.
func shrink(weight, limit float64) float64 {
	if limit = max(limit, 1); weight > limit {
		return limit / weight
	}
	return 1
}
