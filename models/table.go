package models

import "math/bits"

// table maps 64-bit hashes to non-zero values: open addressing with linear probing, at
// most three quarters full, deletion by shifting back (Knuth, TAOCP 3, 6.4, algorithm R).
//
// Cost: find and add O(1) expected, sweep O(size). Bytes: 8+sizeof(V) for each place; the
// number of places is a power of two, at most 8/3 of the entries plus 4.
type table[V uint8 | uint32] struct {
	keys  []uint64
	vals  []V // 0 marks an empty place
	used  int32
	shift uint8 // 64 - log2(len(keys))
}

const minPlaces = 4

// home returns where the search for h begins. The multiplication (Fibonacci hashing)
// spreads hashes whose high bits are alike.
func (t *table[V]) home(h uint64) int { return int(h * 0x9E3779B97F4A7C15 >> t.shift) }

// find returns the place of h, or -1.
func (t *table[V]) find(h uint64) int {
	if t.used == 0 {
		return -1
	}
	mask := len(t.keys) - 1
	for i := t.home(h); t.vals[i] != 0; i = (i + 1) & mask {
		if t.keys[i] == h {
			return i
		}
	}
	return -1
}

// full says whether the next add will grow the table.
func (t *table[V]) full() bool { return (int(t.used)+1)*4 > len(t.keys)*3 }

// add puts in an h that is not there yet.
func (t *table[V]) add(h uint64, v V) {
	if t.full() {
		t.grow()
	}
	t.place(h, v)
	t.used++
}

func (t *table[V]) place(h uint64, v V) {
	mask := len(t.keys) - 1
	i := t.home(h)
	for t.vals[i] != 0 {
		i = (i + 1) & mask
	}
	t.keys[i], t.vals[i] = h, v
}

func (t *table[V]) grow() {
	keys, vals := t.keys, t.vals
	n := max(minPlaces, 2*len(keys))
	t.keys, t.vals = make([]uint64, n), make([]V, n)
	t.shift = uint8(65 - bits.Len(uint(n)))
	for i, v := range vals {
		if v != 0 {
			t.place(keys[i], v)
		}
	}
}

// sweep deletes every entry that drop accepts.
func (t *table[V]) sweep(drop func(h uint64, v V) bool) {
	for i := range t.vals {
		for t.vals[i] != 0 && drop(t.keys[i], t.vals[i]) {
			t.remove(i)
		}
	}
}

// remove empties place i and shifts back the entries that were pushed past it.
func (t *table[V]) remove(i int) {
	mask := len(t.keys) - 1
	t.used--
	for j := i; ; {
		t.vals[i] = 0
		for {
			j = (j + 1) & mask
			if t.vals[j] == 0 {
				return
			}
			// The entry at j may move to i only if its home is not inside (i, j].
			if home := t.home(t.keys[j]); (j-home)&mask >= (j-i)&mask {
				break
			}
		}
		t.keys[i], t.vals[i] = t.keys[j], t.vals[j]
		i = j
	}
}

// clear empties the table and keeps its memory.
func (t *table[V]) clear() {
	clear(t.vals)
	t.used = 0
}
