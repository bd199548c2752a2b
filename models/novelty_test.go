package models

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// crp draws from a Pitman–Yor process by the Chinese restaurant scheme, with plain slices.
type crp struct {
	discount, concentration float64
	counts                  []float64
	n                       float64
}

func (c *crp) pNew() float64 {
	return (c.concentration + c.discount*float64(len(c.counts))) / (c.concentration + c.n)
}

func (c *crp) draw(rng *rand.Rand) (h uint64, isNew bool) {
	u := rng.Float64() * (c.concentration + c.n)
	c.n++
	for i, count := range c.counts {
		if u -= count - c.discount; u < 0 {
			c.counts[i]++
			return mix(uint64(i + 1)), false
		}
	}
	c.counts = append(c.counts, 1)
	return mix(uint64(len(c.counts))), true
}

func TestNoveltyIsPitmanYorOrGoodTuring(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	stream := crp{discount: 0.3, concentration: 5}
	v := NewNovelty(0.3, 5, 1<<12)
	if got := v.LogNew(); got != 0 {
		t.Errorf("before any draw log P(new) is %v, want 0", got)
	}
	for range 5000 {
		if v.Draws() > 0 {
			singles := 0.0
			for _, c := range stream.counts {
				if c == 1 {
					singles++
				}
			}
			want := min(1, max(stream.pNew(), (singles+1)/(stream.n+1)))
			if got := math.Exp(v.LogNew()); math.Abs(got-want) > 1e-12 {
				t.Fatalf("after %v draws P(new) is %v, want %v", stream.n, got, want)
			}
		}
		h, isNew := stream.draw(rng)
		if v.Seen(h) == isNew {
			t.Fatalf("after %v draws: seen is %v", stream.n, !isNew)
		}
		v.Learn(h)
	}
	if v.Kinds() != len(stream.counts) || v.Draws() != stream.n {
		t.Errorf("%d kinds, %v draws; want %d, %v", v.Kinds(), v.Draws(), len(stream.counts), stream.n)
	}
}

func TestNoveltyWithHeldDrawsPredictsAsIfTheyWereLearned(t *testing.T) {
	for _, cap := range []int{1 << 10, 80} { // 80: kinds were forgotten, and the held ones fit
		rng := rand.New(rand.NewPCG(3, 4))
		stream := crp{discount: 0.6, concentration: 2}
		v := NewNovelty(0.6, 2, cap)
		for v.Draws() < 600 || v.Kinds() > cap-10 {
			h, _ := stream.draw(rng)
			v.Learn(h)
		}
		got := math.Log(v.PNewAfter(4, 7, 2))
		for i, times := range []int{1, 1, 2, 3} {
			for range times {
				v.Learn(mix(uint64(1e9) + uint64(i)))
			}
		}
		if want := v.LogNew(); math.Abs(got-want) > 1e-12 {
			t.Errorf("cap %d: held draws predict %v, learned ones %v", cap, got, want)
		}
	}
}

func TestNoveltyProbabilitiesAddUpToOne(t *testing.T) {
	for _, cap := range []int{1 << 10, 40} { // with room, and with forgetting
		rng := rand.New(rand.NewPCG(3, 4))
		stream := crp{discount: 0.5, concentration: 2}
		v := NewNovelty(0.5, 2, cap)
		for range 400 {
			h, _ := stream.draw(rng)
			v.Learn(h)
		}
		sum := math.Exp(v.LogNew())
		for i := range stream.counts {
			if h := mix(uint64(i + 1)); v.Seen(h) {
				sum += math.Exp(v.LogProb(h))
			}
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("cap %d: the probabilities add up to %v", cap, sum)
		}
		if v.LogProb(12345) != v.LogNew() {
			t.Errorf("cap %d: an unknown kind is not as probable as a new one", cap)
		}
	}
}

// Which kinds are new is known by construction. The predicted probabilities must add up to
// at least the number that came, also where the stream follows no Pitman–Yor process and
// kinds are forgotten; where it does follow one, to not much more.
func TestNoveltyIsCalibrated(t *testing.T) {
	streams := map[string]func(rng *rand.Rand, i int) uint64{
		"everything new":   func(rng *rand.Rand, i int) uint64 { return mix(uint64(i)) },
		"uniform on 300":   func(rng *rand.Rand, i int) uint64 { return mix(uint64(rng.IntN(300))) },
		"half new":         func(rng *rand.Rand, i int) uint64 { return mix(uint64(i * rng.IntN(2))) },
		"heavy tail":       func(rng *rand.Rand, i int) uint64 { return mix(uint64(math.Pow(rng.Float64(), -1.5))) },
		"one, rarely new":  func(rng *rand.Rand, i int) uint64 { return mix(uint64(i * max(0, rng.IntN(200)-198))) },
		"5000 kinds, even": func(rng *rand.Rand, i int) uint64 { return mix(uint64(rng.IntN(5000))) },
	}
	for name, draw := range streams {
		for _, cap := range []int{1 << 14, 64} {
			expected, came := 0.0, 0.0
			for run := range uint64(20) {
				rng := rand.New(rand.NewPCG(run, 5))
				v := NewNovelty(0.2, 1, cap)
				for i := range 3000 {
					h := draw(rng, i)
					expected += math.Exp(v.LogNew())
					if !v.Seen(h) {
						came++
					}
					v.Learn(h)
				}
			}
			if came > expected+3*math.Sqrt(expected) {
				t.Errorf("%s, cap %d: %v new ones came, %.0f were expected", name, cap, came, expected)
			}
		}
	}
}

func TestNoveltyForgetsTheRarestAndStaysBounded(t *testing.T) {
	const cap = 100
	rng := rand.New(rand.NewPCG(6, 7))
	v := NewNovelty(0.1, 1, cap)
	often := make([]uint64, 50)
	for i := range often {
		often[i] = rng.Uint64()
		for range 10 {
			v.Learn(often[i])
		}
	}
	for range 10_000 {
		v.Learn(rng.Uint64())
		if v.Kinds() > cap {
			t.Fatalf("%d kinds are held", v.Kinds())
		}
	}
	for _, h := range often {
		if !v.Seen(h) {
			t.Fatal("a kind that was drawn ten times was forgotten for one that was drawn once")
		}
	}
	if places := len(v.table.places); places > cap*8/3 {
		t.Errorf("the table has %d places", places)
	}
	if p := math.Exp(v.LogNew()); p < 0.9 {
		t.Errorf("after 10000 draws of which all were new P(new) is %v", p)
	}
}

func TestNoveltyForgetsInTheSameWayWhateverTheOrderInItsTable(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		kinds := make([]uint64, 60)
		for i := range kinds {
			kinds[i] = rng.Uint64()
		}
		a, b := NewNovelty(0.1, 1, 60), NewNovelty(0.1, 1, 60)
		for i := range kinds {
			a.Learn(kinds[i])
			b.Learn(kinds[len(kinds)-1-i])
		}
		a.Learn(1)
		b.Learn(1)
		for _, h := range kinds {
			if a.Seen(h) != b.Seen(h) {
				t.Fatalf("seed %d: %x was forgotten in one only", seed, h)
			}
		}
		if a.Kinds() > 57 || a.Kinds() < 31 {
			t.Errorf("seed %d: about a quarter of 60 was to be forgotten; %d kinds are left", seed, a.Kinds())
		}
	}
}

// A table must do what a map does, with hashes chosen to collide.
func TestTableEqualsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	var tab table[uint32]
	want := map[uint64]uint32{}
	for step := range 20_000 {
		h := rng.Uint64N(40) << (60 * rng.IntN(2))
		if i := tab.find(h); (i >= 0) != (want[h] != 0) || i >= 0 && tab.places[i].val != want[h] {
			t.Fatalf("step %d: lookup of %x differs from the map", step, h)
		}
		switch value := uint32(rng.IntN(9) + 1); {
		case rng.IntN(30) == 0:
			tab.sweep(func(_ uint64, v uint32) bool { return v == value })
			for h, v := range want {
				if v == value {
					delete(want, h)
				}
			}
		case want[h] == 0:
			tab.add(h, value)
			want[h] = value
		}
		if int(tab.used) != len(want) {
			t.Fatalf("step %d: %d entries, want %d", step, tab.used, len(want))
		}
	}
}

func TestHashesAreThoseOfAllKindsThatAreKnown(t *testing.T) {
	v := NewNovelty(0.25, 1, 64)
	for i := range uint64(500) {
		v.Learn(mix(i % 90))
	}
	hashes := v.Hashes()
	if len(hashes) != v.Kinds() || !slices.IsSorted(hashes) {
		t.Errorf("%d hashes of %d kinds, in order: %v", len(hashes), v.Kinds(), slices.IsSorted(hashes))
	}
	for _, h := range slices.Compact(hashes) {
		if !v.Seen(h) {
			t.Errorf("hash %x is of no known kind", h)
		}
	}
}
