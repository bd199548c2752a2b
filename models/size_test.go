package models

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// The sizes are those that the types' comments state, on a 64-bit machine.
func TestTypesAreAsSmallAsTheySay(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"Window", unsafe.Sizeof(Window{}), 56},
		{"Peak", unsafe.Sizeof(Peak{}), 56},
		{"Crest", unsafe.Sizeof(Crest{}), 24},
		{"Distinct", unsafe.Sizeof(Distinct{}), 104},
		{"CountBaseline", unsafe.Sizeof(CountBaseline{}), 96},
		{"Novelty", unsafe.Sizeof(Novelty{}), 72},
		{"EDetector", unsafe.Sizeof(EDetector{}), 16},
		{"sketch", unsafe.Sizeof(sketch{}), 6450},
		{"season", unsafe.Sizeof(season{}), 344},
		{"SeasonalCount", unsafe.Sizeof(SeasonalCount{}), 512},
		{"SizeBaseline", unsafe.Sizeof(SizeBaseline{}), 368},
		{"Conformal", unsafe.Sizeof(Conformal{}), 40},
		{"Spot", unsafe.Sizeof(Spot{}), 88},
		{"Markov", unsafe.Sizeof(Markov{}), 104},
		{"a context of Markov", unsafe.Sizeof(context{}), 24},
		{"Session", unsafe.Sizeof(Session{}), 296},
		{"SessionBaseline", unsafe.Sizeof(SessionBaseline{}), 280},
		{"Loop", unsafe.Sizeof(Loop{}), 104},
		{"Progress", unsafe.Sizeof(Progress{}), 136},
		{"an edge of EdgeBurst", unsafe.Sizeof(burstPlace[[0]tally]{}), 32},
		{"a node of EdgeBurst", unsafe.Sizeof(burstPlace[[2]tally]{}), 64},
	} {
		if c.got != c.want {
			t.Errorf("%s takes %d bytes, its comment says %d", c.name, c.got, c.want)
		}
	}
}

func TestUpdatesAllocateNothingOnceGrown(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w, bytes := NewWindow(time.Minute, 60), NewWindow(time.Minute, 60)
	few, many := NewDistinct(time.Minute, 60, 64), NewDistinct(time.Minute, 60, 64)
	c := NewCountBaseline(CountPrior{Mean: 5, Weight: 10, Memory: 500})
	known, unknown := NewNovelty(0.3, 1, 256), NewNovelty(0.3, 1, 256)
	var d EDetector
	var crest Crest
	top := NewPeak(time.Minute, 60)
	now := int64(0)
	step := func() {
		now += 300e6
		h := rng.Uint64()
		w.Add(now, 1)
		bytes.Add(now, 1e10+0.5)
		sinkFloat = w.Sum(now) + bytes.Sum(now-1e9)
		few.Add(now, mix(h%40))
		many.Add(now, h)
		sinkFloat = few.Count(now) + many.Count(now)
		n := float64(1 + h%30)
		d.Set(LogEFromLogP(c.LogTail(n)))
		known.Learn(mix(h % 40))
		d.Mul(LogENovel(unknown.Seen(h), unknown.PNew()))
		unknown.Learn(h)
		c.Learn(n)
		d.Close()
		crest.Learn(d.Log())
		sinkFloat = crest.LogTail(n, 1) + crest.Level(0.01, 1)
		top.Add(now, n)
		sinkFloat = top.Max(now)
	}
	for range 5000 {
		step()
	}
	if got := testing.AllocsPerRun(20_000, step); got != 0 {
		t.Errorf("%v allocations for each step", got)
	}
}
