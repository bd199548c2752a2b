package models

import (
	"math"
	"math/bits"
)

// FadingEdges counts the uses of edges while calls come. A use counts 1 at its tick and half of
// that halfLife ticks later:
//
//	weight(t) = Σ_uses 2^-((t - t_use)/halfLife)
//
// so an edge that was used once falls below w after halfLife·log2(1/w) ticks. A use that comes
// late counts as if it had come at the edge's last tick. Weights are whole numbers of 1/256, so that
// it does not matter whether the uses of one tick are counted one by one or together; they
// grow to 2^24 and no further.
//
// It is an open-addressed table, shared by the agents of a shard, of at most cap edges; what to do
// when it is full is its owner's to say. Cost: Add and Has O(1), 10–30 ns where the place is in
// the cache; Sweep O(places), about 3 ns each; CopyTo a copy of them. Bytes: 16 for each place, at most
// 8/3 places an edge, and 32 KiB.
type FadingEdges struct {
	halfLife float64
	cap      int
	fades    []float64 // 2^-(age/halfLife) of the ages below maxFades; never changed
	places   []fadingEdge
	used     int
	shift    uint8 // 64 - log2(len(places))
}

// fadingEdge is a place of the table; a weight of 0 marks an empty one.
type fadingEdge struct {
	from, to uint32
	weight   uint32 // in 1/256
	tick     uint32
}

const oneUse = 256

const maxEdges = 1 << 28

// NewFadingEdges returns an empty table. It panics where halfLife is not positive and finite or
// cap is not within 1 … 2^28, which only a programmer's error can cause.
func NewFadingEdges(halfLife float64, cap int) FadingEdges {
	if !(halfLife > 0 && halfLife <= math.MaxFloat64) || cap < 1 || cap > maxEdges {
		panic("models: fading edges need a positive half-life and a cap of 1 … 2^28 edges")
	}
	f := FadingEdges{halfLife: halfLife, cap: cap, fades: make([]float64, maxFades)}
	for age := range f.fades {
		f.fades[age] = math.Exp2(-float64(age) / halfLife)
	}
	return f
}

// maxFades is how many fades are kept at hand: at a tick of 5 minutes those of two weeks.
const maxFades = 1 << 12

// Len returns how many edges there are.
func (f *FadingEdges) Len() int { return f.used }

// Full says that no new edge will be taken in.
func (f *FadingEdges) Full() bool { return f.used >= f.cap }

// home returns where the search for an edge begins. Node numbers are small and dense, so
// they are mixed.
func (f *FadingEdges) home(from, to uint32) int {
	return int(mix(uint64(from)<<32|uint64(to)) >> f.shift)
}

// find returns the place of an edge, or the empty one where it belongs. The table is not empty.
func (f *FadingEdges) find(from, to uint32) *fadingEdge {
	mask := len(f.places) - 1
	for i := f.home(from, to); ; i = (i + 1) & mask {
		e := &f.places[i]
		if e.weight == 0 || e.from == from && e.to == to {
			return e
		}
	}
}

// Has says whether there is an edge.
func (f *FadingEdges) Has(from, to uint32) bool {
	return f.used > 0 && f.find(from, to).weight != 0
}

// Use counts uses of an edge that is there, and reports whether it is.
func (f *FadingEdges) Use(from, to, tick, uses uint32) bool {
	if f.used == 0 {
		return false
	}
	e := f.find(from, to)
	if e.weight == 0 {
		return false
	}
	if tick > e.tick {
		e.weight = uint32(math.RoundToEven(f.weight(e, tick) * oneUse))
		e.tick = tick
	}
	e.weight = uint32(min(uint64(e.weight)+uint64(uses)*oneUse, math.MaxUint32))
	return true
}

// Add puts in an edge that is not there, with its first use. It panics where the table is full.
func (f *FadingEdges) Add(from, to, tick uint32) { f.put(fadingEdge{from, to, oneUse, tick}) }

func (f *FadingEdges) put(e fadingEdge) {
	if f.Full() {
		panic("models: more fading edges than the table takes")
	}
	if (f.used+1)*4 > len(f.places)*3 {
		f.grow()
	}
	*f.find(e.from, e.to) = e
	f.used++
}

func (f *FadingEdges) grow() {
	old := f.places
	f.places = make([]fadingEdge, max(minPlaces, 2*len(old)))
	f.shift = uint8(65 - bits.Len(uint(len(f.places))))
	for _, e := range old {
		if e.weight != 0 {
			*f.find(e.from, e.to) = e
		}
	}
}

// Sweep deletes the edges whose weight at tick is below least, and tells gone of each.
func (f *FadingEdges) Sweep(tick uint32, least float64, gone func(from, to uint32)) {
	for i := range f.places {
		for {
			e := f.places[i]
			if e.weight == 0 || f.weight(&e, tick) >= least {
				break
			}
			f.remove(i)
			gone(e.from, e.to)
		}
	}
}

// weight returns the weight of an edge at tick, in uses.
func (f *FadingEdges) weight(e *fadingEdge, tick uint32) float64 {
	w := float64(e.weight) / oneUse
	if tick > e.tick {
		w *= f.fade(tick - e.tick)
	}
	return w
}

func (f *FadingEdges) fade(age uint32) float64 {
	if age < uint32(len(f.fades)) {
		return f.fades[age]
	}
	return math.Exp2(-float64(age) / f.halfLife)
}

// remove empties place i and shifts back the edges that were pushed past it, as table.remove.
func (f *FadingEdges) remove(i int) {
	mask := len(f.places) - 1
	f.used--
	for j := i; ; {
		f.places[i].weight = 0
		for {
			j = (j + 1) & mask
			if f.places[j].weight == 0 {
				return
			}
			if home := f.home(f.places[j].from, f.places[j].to); (j-home)&mask >= (j-i)&mask {
				break
			}
		}
		f.places[i] = f.places[j]
		i = j
	}
}

// Append appends the edges to es, with their weights at tick, in no order that means anything.
func (f *FadingEdges) Append(es []AccessEdge, tick uint32) []AccessEdge {
	for i := range f.places {
		if e := &f.places[i]; e.weight != 0 {
			es = append(es, AccessEdge{e.from, e.to, float32(f.weight(e, tick))})
		}
	}
	return es
}

// CopyTo makes into a copy, in the memory that into has where that is enough. The copy may be read
// while this table goes on changing.
func (f *FadingEdges) CopyTo(into *FadingEdges) {
	places := append(into.places[:0], f.places...)
	*into = *f
	into.places = places
}

// Renumber gives every node another number: node n becomes number[n]. Different nodes must get
// different numbers.
func (f *FadingEdges) Renumber(number []uint32) {
	old := f.places
	f.places = make([]fadingEdge, len(old))
	for _, e := range old {
		if e.weight != 0 {
			e.from, e.to = number[e.from], number[e.to]
			*f.find(e.from, e.to) = e
		}
	}
}
