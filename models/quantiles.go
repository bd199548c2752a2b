package models

import (
	"math"
	"slices"
	"time"
)

// Quantiles is the distribution of a value over a sliding window of time: the same slots as a
// Window's, each with a DDSketch of what fell into it (Masson, Rim and Lee, "DDSketch: a fast and
// fully-mergeable quantile sketch with relative-error guarantees", 2019).
//
// Bucket i counts the values in (u·γ^(i-1), u·γ^i], where u is 10^-6 and γ = (1+α)/(1-α). Its
// middle 2u·γ^i/(γ+1) is off any of them by the share α at most, and α is 5 %. What is at most u,
// and nothing below 0 is told from 0, is a bucket of its own, whose middle is 0. So with n values in
// the window, in order x_0 … x_(n-1),
//
//	|Quantile(q) - x_⌊q(n-1)⌋| <= α·x_⌊q(n-1)⌋
//
// for every value from u to 10^15. Beside the smallest a window keeps 128 buckets, which reach from its
// largest value down to the 330,000th part of it. Smaller values count in the lowest of them, as
// in the paper: whoever sends values of every size gets no more memory for it.
//
// Cost: Add is O(log buckets) for a bucket that the slot has, else it moves those behind it; Quantile
// O(buckets). Bytes: 104 while nothing was added, then 2 for each slot, 4 for each bucket between the
// smallest and the largest, and 8 for each bucket of each slot, 22,000 at most with 20 slots. Once
// the window has been as full as it gets nothing allocates.
type Quantiles struct {
	step   int64
	newest int64 // newest slot
	slots  int32
	low    int32 // the bucket that total begins with
	n      uint32
	zeros  uint32
	// total counts the window's values by bucket; neither its first nor its last count is 0.
	total []uint32
	// cells are those of the oldest slot first, of each slot by bucket, lengths their number by slot.
	cells   []quantileCell
	lengths []uint16
}

// quantileCell is how many values of one slot fell into a bucket.
type quantileCell struct{ bucket, count uint32 }

const (
	quantileAlpha   = 0.05
	quantileGamma   = (1 + quantileAlpha) / (1 - quantileAlpha)
	quantileUnit    = 1e-6
	quantileLargest = 1e15
	quantileBuckets = 128 // of a window, beside that of 0
)

var (
	quantileLogGamma = math.Log(quantileGamma)
	quantileLast     = quantileBucket(quantileLargest)
)

// NewQuantiles returns an empty window. It panics where width or slots is not positive.
func NewQuantiles(width time.Duration, slots int) Quantiles {
	return Quantiles{step: slotStep(width, slots), slots: int32(slots)}
}

func (w *Quantiles) ring() int { return int(w.slots) + 1 }

// quantileBucket returns the bucket of a value: 0 of what is too small to tell from 0.
func quantileBucket(v float64) uint32 {
	if v <= quantileUnit {
		return 0
	}
	return uint32(max(1, math.Ceil(math.Log(min(v, quantileLargest)/quantileUnit)/quantileLogGamma)))
}

// Add takes in v at time t. A late value counts where it belongs. Add reports false, and
// changes nothing, where t's slot is no longer kept or v is not a finite number.
func (w *Quantiles) Add(t int64, v float64) bool {
	if v-v != 0 || w.n == math.MaxUint32 {
		return false
	}
	slot := slotOf(t, w.step)
	if w.lengths == nil {
		w.lengths = make([]uint16, w.ring())
		w.newest = slot
	}
	if slot > w.newest {
		w.advance(slot)
	} else if slotsBetween(slot, w.newest) > uint64(w.slots) {
		return false
	}
	bucket := quantileBucket(v)
	if bucket > 0 {
		bucket = w.reach(bucket)
	}
	w.count(bucket, 1)
	length := &w.lengths[ringIndex(slot, w.ring())]
	end := len(w.cells)
	for s := w.newest; s > slot; s-- {
		end -= int(w.lengths[ringIndex(s, w.ring())])
	}
	begin := end - int(*length)
	at := begin
	for high := end; at < high; { // the first cell from bucket on
		if middle := (at + high) / 2; w.cells[middle].bucket < bucket {
			at = middle + 1
		} else {
			high = middle
		}
	}
	if at < end && w.cells[at].bucket == bucket {
		w.cells[at].count++
		return true
	}
	w.cells = slices.Insert(w.cells, at, quantileCell{bucket, 1})
	*length++
	return true
}

// count adds n, which may be negative modulo 2^32, to what total holds of a bucket.
func (w *Quantiles) count(bucket, n uint32) {
	w.n += n
	if bucket == 0 {
		w.zeros += n
		return
	}
	w.total[int32(bucket)-w.low] += n
}

// reach makes total reach to a bucket that is not 0, and returns the one that its values count in.
func (w *Quantiles) reach(bucket uint32) uint32 {
	b, end := int32(bucket), w.low+int32(len(w.total)) // end is behind the last one
	switch {
	case len(w.total) == 0:
		w.low = b
		w.total = append(w.total, 0)
	case b >= end:
		if lowest := b - quantileBuckets + 1; lowest > w.low {
			w.collapse(lowest)
		}
		for end = w.low + int32(len(w.total)); end <= b; end++ {
			w.total = append(w.total, 0)
		}
	case b < w.low:
		b = min(w.low, max(b, end-quantileBuckets))
		more := int(w.low - b)
		n := len(w.total)
		w.total = slices.Grow(w.total, more)[:n+more]
		copy(w.total[more:], w.total[:n])
		clear(w.total[:more])
		w.low = b
	}
	return uint32(b)
}

// collapse lets all values of buckets below lowest, but for that of 0, count in lowest.
func (w *Quantiles) collapse(lowest int32) {
	below := min(int(lowest-w.low), len(w.total))
	sum := uint32(0)
	for _, n := range w.total[:below] {
		sum += n
	}
	w.total = slices.Delete(w.total, 0, below)
	if len(w.total) == 0 {
		w.total = append(w.total, 0)
	}
	w.low = lowest
	w.total[0] += sum

	kept, from := w.cells[:0], 0
	for slot := w.newest - int64(w.slots); slot <= w.newest; slot++ {
		length := &w.lengths[ringIndex(slot, w.ring())]
		to, begin := from+int(*length), len(kept)
		for _, c := range w.cells[from:to] {
			if c.bucket > 0 {
				c.bucket = max(c.bucket, uint32(lowest))
			}
			if last := len(kept) - 1; last >= begin && kept[last].bucket == c.bucket {
				kept[last].count += c.count
			} else {
				kept = append(kept, c)
			}
		}
		from, *length = to, uint16(len(kept)-begin)
	}
	w.cells = kept
}

// Quantile returns the value of rank ⌊q(n-1)⌋ among the n in the window that ends at t, for q from 0 to
// 1, and 0 where there is none. A t older than the newest slot is answered for the newest.
func (w *Quantiles) Quantile(t int64, q float64) float64 {
	if w.lengths == nil {
		return 0
	}
	if slot := slotOf(t, w.step); slot > w.newest {
		w.advance(slot)
	}
	if w.n == 0 {
		return 0
	}
	rank := uint32(q * float64(w.n-1))
	seen := w.zeros
	if rank < seen {
		return 0
	}
	for i, n := range w.total {
		if seen += n; rank < seen {
			return 2 * quantileUnit / (quantileGamma + 1) * math.Exp(float64(w.low+int32(i))*quantileLogGamma)
		}
	}
	return 0
}

// advance makes slot, which is newer than the newest, the newest one.
func (w *Quantiles) advance(slot int64) {
	if slotsBetween(w.newest, slot) > uint64(w.slots) {
		clear(w.lengths)
		w.cells, w.total = w.cells[:0], w.total[:0]
		w.newest, w.n, w.zeros = slot, 0, 0
		return
	}
	left := 0
	for w.newest < slot {
		w.newest++
		length := &w.lengths[ringIndex(w.newest, w.ring())]
		left += int(*length)
		*length = 0
	}
	if left == 0 {
		return
	}
	for _, c := range w.cells[:left] {
		w.count(c.bucket, -c.count)
	}
	w.cells = slices.Delete(w.cells, 0, left)
	w.trim()
}

// trim lets total begin and end with a count that is not 0.
func (w *Quantiles) trim() {
	n := len(w.total)
	for n > 0 && w.total[n-1] == 0 {
		n--
	}
	w.total = w.total[:n]
	begin := 0
	for begin < n && w.total[begin] == 0 {
		begin++
	}
	w.total = slices.Delete(w.total, 0, begin)
	w.low += int32(begin)
}
