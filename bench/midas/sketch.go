package midas

import "math"

// sketch is a count-min sketch (Cormode and Muthukrishnan 2005) of rows × columns numbers.
type sketch struct {
	columns uint64
	seeds   []uint64 // one for each row
	cells   []float32
}

func newSketch(o Options, part uint64) sketch {
	s := sketch{columns: uint64(o.Columns), seeds: make([]uint64, o.Rows), cells: make([]float32, o.Rows*o.Columns)}
	for i := range s.seeds {
		s.seeds[i] = mix(o.Seed + mix(part<<32+uint64(i)))
	}
	return s
}

// like returns an empty sketch with the same layout: a key has the same cells in both.
func (s *sketch) like() sketch {
	return sketch{columns: s.columns, seeds: s.seeds, cells: make([]float32, len(s.cells))}
}

// locate writes the cells of the key into at, one for each row.
func (s *sketch) locate(at []int, key uint64) {
	for i, seed := range s.seeds {
		at[i] = i*int(s.columns) + int(mix(key^seed)%s.columns)
	}
}

func (s *sketch) add(at []int) {
	for _, i := range at {
		s.cells[i]++
	}
}

func (s *sketch) set(at []int, v float32) {
	for _, i := range at {
		s.cells[i] = v
	}
}

// least returns the estimate: the smallest of the key's cells.
func (s *sketch) least(at []int) float32 {
	v := float32(math.Inf(1))
	for _, i := range at {
		v = min(v, s.cells[i])
	}
	return v
}

func (s *sketch) scale(by float32) {
	for i := range s.cells {
		s.cells[i] *= by
	}
}

// mix is the finaliser of MurmurHash3 (Appleby).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// pair is one key for the edge.
func pair(src, dst uint64) uint64 { return mix(src+0x9E3779B97F4A7C15) + dst }
