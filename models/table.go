package models

import "math/bits"

// table maps 64-bit hashes to non-zero values: open addressing with linear probing, at
// most three quarters full, deletion by shifting back (Knuth, TAOCP 3, 6.4, algorithm R).
//
// Cost: find and add O(1) expected, sweep O(size). Bytes: 12 for each place; the number of
// places is a power of two, at most 8/3 of the entries plus 4.
type table[V uint8 | uint32] struct {
	places []entry[V]
	used   int32
	shift  uint8 // 64 - log2(len(places))
}

// entry is a place of a table: the key, in halves, so that it takes 12 bytes and not 16,
// and beside it the value, so that they come from memory together.
type entry[V uint8 | uint32] struct {
	low, high uint32
	val       V // 0 marks an empty place
}

func (e *entry[V]) key() uint64 { return uint64(e.high)<<32 | uint64(e.low) }

const minPlaces = 4

// home returns where the search for h begins. The multiplication (Fibonacci hashing)
// spreads hashes whose high bits are alike.
func (t *table[V]) home(h uint64) int { return int(h * 0x9E3779B97F4A7C15 >> t.shift) }

// find returns the place of h, or -1.
func (t *table[V]) find(h uint64) int {
	if t.used == 0 {
		return -1
	}
	mask := len(t.places) - 1
	for i := t.home(h); t.places[i].val != 0; i = (i + 1) & mask {
		if t.places[i].key() == h {
			return i
		}
	}
	return -1
}

// full says whether the next add will grow the table.
func (t *table[V]) full() bool { return (int(t.used)+1)*4 > len(t.places)*3 }

// add puts in an h that is not there yet.
func (t *table[V]) add(h uint64, v V) {
	if t.full() {
		t.grow()
	}
	t.place(h, v)
	t.used++
}

func (t *table[V]) place(h uint64, v V) {
	mask := len(t.places) - 1
	i := t.home(h)
	for t.places[i].val != 0 {
		i = (i + 1) & mask
	}
	t.places[i] = entry[V]{uint32(h), uint32(h >> 32), v}
}

func (t *table[V]) grow() {
	old := t.places
	n := max(minPlaces, 2*len(old))
	t.places = make([]entry[V], n)
	t.shift = uint8(65 - bits.Len(uint(n)))
	for i := range old {
		if e := &old[i]; e.val != 0 {
			t.place(e.key(), e.val)
		}
	}
}

// each gives every entry's key, and its value to change; 0 is none.
func (t *table[V]) each(change func(h uint64, v *V)) {
	for i := range t.places {
		if e := &t.places[i]; e.val != 0 {
			change(e.key(), &e.val)
		}
	}
}

// sweep deletes every entry that drop accepts.
func (t *table[V]) sweep(drop func(h uint64, v V) bool) {
	for i := range t.places {
		for t.places[i].val != 0 && drop(t.places[i].key(), t.places[i].val) {
			t.remove(i)
		}
	}
}

// remove empties place i and shifts back the entries that were pushed past it.
func (t *table[V]) remove(i int) {
	mask := len(t.places) - 1
	t.used--
	for j := i; ; {
		t.places[i].val = 0
		for {
			j = (j + 1) & mask
			if t.places[j].val == 0 {
				return
			}
			// The entry at j may move to i only if its home is not inside (i, j].
			if home := t.home(t.places[j].key()); (j-home)&mask >= (j-i)&mask {
				break
			}
		}
		t.places[i] = t.places[j]
		i = j
	}
}

// clear empties the table and keeps its memory.
func (t *table[V]) clear() {
	clear(t.places)
	t.used = 0
}
