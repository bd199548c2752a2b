package models

import "math"

// forgetRarest drops about a quarter of a table's counts, at least one: the smallest and,
// among equal ones, those whose hash comes first in an order that changes with the salt. It
// tells of each.
func forgetRarest(t *table[uint32], salt uint64, dropped func(h uint64, count uint32)) {
	used := t.used
	want := int(used+3) / 4
	limit, below, equal := rarest(t, want)
	// Of the counts equal to limit, the share that is still wanted goes.
	share := float64(want-below) / float64(equal)
	bound := uint64(min(share*math.MaxUint32, math.MaxUint32))
	sweepCounts(t, func(h uint64, count uint32) bool {
		return count < limit || count == limit && mix(h^salt)>>32 <= bound
	}, dropped)
	if t.used == used { // the draw of the hashes took none: take all of them
		sweepCounts(t, func(_ uint64, count uint32) bool { return count <= limit }, dropped)
	}
}

func sweepCounts(t *table[uint32], which func(h uint64, count uint32) bool, dropped func(h uint64, count uint32)) {
	t.sweep(func(h uint64, count uint32) bool {
		if !which(h, count) {
			return false
		}
		dropped(h, count)
		return true
	})
}

// rarest returns the smallest count such that at least want entries have it or less, and
// how many have less and exactly it.
func rarest(t *table[uint32], want int) (limit uint32, below, equal int) {
	low, high := uint32(0), uint32(math.MaxUint32)
	for low+1 < high { // atMost(low) < want ≤ atMost(high)
		// Small counts are by far the most common, so the bound is doubled before it is halved.
		mid := low + (high-low)/2
		if twice := 2*low + 1; twice < mid && high == math.MaxUint32 {
			mid = twice
		}
		if atMost(t, mid) >= want {
			high = mid
		} else {
			low = mid
		}
	}
	below = atMost(t, low)
	return high, below, atMost(t, high) - below
}

// atMost returns how many entries have a count of at most limit.
func atMost(t *table[uint32], limit uint32) (n int) {
	for i := range t.places {
		if count := t.places[i].val; count != 0 && count <= limit {
			n++
		}
	}
	return n
}
