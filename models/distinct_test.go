package models

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// slowDistinct counts the hashes whose last time is in the slots that Distinct promises.
func slowDistinct(last map[uint64]int64, newest, slots int64) (n float64) {
	for _, slot := range last {
		if slot >= newest-slots && slot <= newest {
			n++
		}
	}
	return n
}

func TestDistinctIsExactWhileFew(t *testing.T) {
	for _, slots := range []int64{1, 10, 127} {
		rng := rand.New(rand.NewPCG(5, uint64(slots)))
		d := NewDistinct(time.Duration(slots)*time.Second, int(slots), 500)
		last := map[uint64]int64{}
		newest := int64(0)
		for range 6000 {
			if rng.IntN(4) == 0 {
				newest += rng.Int64N(3)
			}
			if rng.IntN(1000) == 0 {
				newest += rng.Int64N(2 * slots)
			}
			d.Count(newest * 1e9)
			h := mix(uint64(rng.IntN(150)) + uint64(newest)/64*100) // old kinds fall out of use
			slot := newest - rng.Int64N(slots+3)*rng.Int64N(2)
			d.Add(slot*1e9+rng.Int64N(1e9), h)
			if was, ok := last[h]; slot >= newest-slots && (!ok || slot > was) {
				last[h] = slot
			}
			if got, want := d.Count(newest*1e9), slowDistinct(last, newest, slots); !d.Exact() || got != want {
				t.Fatalf("%d slots: count is %v, want %v (exact: %v)", slots, got, want, d.Exact())
			}
		}
		if places := len(d.table.places); places > 4*500 {
			t.Errorf("%d slots: the table grew to %d places for at most 500 hashes", slots, places)
		}
	}
}

// The estimate's error is held against the standard error of HyperLogLog, 1.04/√256, over
// independent repetitions; the exact number is known by construction.
func TestDistinctEstimatesWithinTheStandardErrorOfHyperLogLog(t *testing.T) {
	const sigma, runs = 1.04 / 16, 60
	for _, n := range []int{70, 200, 700, 2000, 20_000} {
		var sum, squares float64
		for run := range runs {
			rng := rand.New(rand.NewPCG(uint64(run), uint64(n)))
			d := NewDistinct(10*time.Second, 10, 64)
			for range 300 { // these leave the window again
				d.Add(1e9, rng.Uint64())
			}
			for i := range n {
				d.Add(int64(20+i*10/n)*1e9, rng.Uint64())
			}
			if d.Exact() {
				t.Fatalf("%d hashes are counted exactly with a table of 64", n)
			}
			e := d.Count(29e9)/float64(n) - 1
			sum += e
			squares += e * e
		}
		bias, rms := sum/runs, math.Sqrt(squares/runs)
		if math.Abs(bias) > 4*sigma/math.Sqrt(runs) || rms > 1.4*sigma {
			t.Errorf("%d hashes: bias %.3f, root mean square error %.3f; the standard error is %.3f", n, bias, rms, sigma)
		}
	}
}

func TestDistinctSlidesWhileEstimating(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	d := NewDistinct(10*time.Second, 10, 64)
	// 1000 new hashes in each slot: 11 slots are live, also after many rebases of the codes.
	for slot := range int64(1000) {
		for range 1000 {
			d.Add(slot*1e9, rng.Uint64())
		}
		if slot < 11 || slot%50 != 0 {
			continue
		}
		if got := d.Count(slot * 1e9); math.Abs(got/11_000-1) > 5*1.04/16 {
			t.Fatalf("slot %d: count is %v, want about 11000", slot, got)
		}
	}
	// Nothing more comes: the count falls with every slot.
	was := d.Count(999e9)
	for slot := int64(1000); slot <= 1010; slot++ {
		got := d.Count(slot * 1e9)
		if got >= was {
			t.Fatalf("slot %d: the count did not fall: %v after %v", slot, got, was)
		}
		was = got
	}
	if was != 0 || d.sketch != nil {
		t.Errorf("an empty window counts %v, and still estimates: %v", was, d.sketch != nil)
	}
}

// One sketch with codes must be the union of one HyperLogLog for each live slot.
func TestSketchIsTheUnionOfTheLiveSlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	d := NewDistinct(20*time.Second, 20, 0)
	perSlot := map[int64]*[registers]uint8{}
	newest := int64(0)
	for range 40_000 {
		if rng.IntN(30) == 0 {
			newest++
		}
		h, slot := rng.Uint64(), newest-rng.Int64N(20)
		d.Count(newest * 1e9)
		d.Add(slot*1e9, h)
		if perSlot[slot] == nil {
			perSlot[slot] = new([registers]uint8)
		}
		rank := uint8(1)
		for bit := uint64(1) << 55; h&bit == 0 && rank < ranks; bit >>= 1 {
			rank++
		}
		perSlot[slot][h>>56] = max(perSlot[slot][h>>56], rank)
	}
	var union [registers]uint8
	for slot := newest - 20; slot <= newest; slot++ {
		if regs := perSlot[slot]; regs != nil {
			for i, v := range regs {
				union[i] = max(union[i], v)
			}
		}
	}
	if d.sketch.top != union {
		t.Errorf("registers differ from the union of the slots")
	}
}

func TestDistinctBecomesExactAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	d := NewDistinct(10*time.Second, 10, 64)
	for range 1000 {
		d.Add(0, rng.Uint64())
	}
	for slot := int64(1); slot <= 11; slot++ {
		for h := range uint64(20) {
			d.Add(slot*1e9, mix(h))
		}
		if want := slot == 11; d.Exact() != want {
			t.Errorf("slot %d: exact is %v, want %v", slot, d.Exact(), want)
		}
	}
	if got := d.Count(11e9); got != 20 || d.sketch != nil {
		t.Errorf("count is %v, want 20; the sketch is still held: %v", got, d.sketch != nil)
	}
}
