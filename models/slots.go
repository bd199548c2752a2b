package models

import "time"

// slotStep returns the length in nanoseconds of each of n slots that together are at least
// as long as width. It panics where width or n is not positive, which only a programmer's
// error can cause.
func slotStep(width time.Duration, n int) int64 {
	if width <= 0 || n <= 0 {
		panic("models: a window needs a positive width and number of slots")
	}
	return (int64(width)-1)/int64(n) + 1
}

// slotOf returns the slot that holds the time t: floor(t/step), also before 1970.
func slotOf(t, step int64) int64 {
	q := t / step
	if t%step < 0 {
		q--
	}
	return q
}

// slotsBetween returns to-from, which must not be negative. It cannot overflow.
func slotsBetween(from, to int64) uint64 { return uint64(to) - uint64(from) }

// ringIndex returns the place of a slot in a ring of n cells.
func ringIndex(slot int64, n int) int {
	i := int(slot % int64(n))
	if i < 0 {
		i += n
	}
	return i
}
