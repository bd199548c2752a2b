package models

// Suppose lets a baseline that has learned nothing begin with a mean and a weight that others
// suggest, its peers for one: the prior of its Gamma posterior is then theirs, and the
// variance that of a geometric distribution, as in CountPrior. A mean below 1 counts as 1;
// the weight is held to 0.01 … Memory-1. It is ignored where something was learned.
func (b *CountBaseline) Suppose(mean, weight float64) {
	if b.slots > 0 {
		return
	}
	m := min(max(mean, 1), maxCount) - 1
	b.weight = min(max(weight, leastWeight), b.prior.Memory-1)
	b.mean, b.spread = m, b.weight*(m+m*m)
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

// shrink returns the factor that brings a weight down to at most limit, which counts as at
// least 1.
func shrink(weight, limit float64) float64 {
	if limit = max(limit, 1); weight > limit {
		return limit / weight
	}
	return 1
}
