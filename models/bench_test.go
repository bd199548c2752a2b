package models

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Results go here, so that the compiler keeps the work.
var (
	sinkFloat float64
	sinkBool  bool
)

func BenchmarkWindowAddAndSum(b *testing.B) {
	b.ReportAllocs()
	w := NewWindow(time.Minute, 60)
	w.Add(0, 1)
	now := int64(0)
	for b.Loop() {
		now += 50e6
		w.Add(now, 1)
		sinkFloat = w.Sum(now)
	}
}

func BenchmarkWindowAddOfBytes(b *testing.B) {
	b.ReportAllocs()
	w := NewWindow(time.Minute, 60)
	w.Add(0, 1<<40)
	now := int64(0)
	for b.Loop() {
		now += 50e6
		w.Add(now, 12345)
		sinkFloat = w.Sum(now)
	}
}

// benchmarkDistinct draws from kinds hashes, of which a minute of 10000 calls holds most.
func benchmarkDistinct(b *testing.B, kinds int, count bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, 1<<14)
	for i := range hashes {
		hashes[i] = mix(rng.Uint64N(uint64(kinds)) + 1)
	}
	d := NewDistinct(time.Minute, 60, 64)
	now := int64(0)
	step := func(i int) {
		now += 6e6
		d.Add(now, hashes[i%len(hashes)])
		if count {
			sinkFloat = d.Count(now)
		}
	}
	for i := range hashes {
		step(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		step(i)
	}
}

func BenchmarkDistinctAddExact(b *testing.B)         { benchmarkDistinct(b, 20, false) }
func BenchmarkDistinctAddEstimating(b *testing.B)    { benchmarkDistinct(b, 5000, false) }
func BenchmarkDistinctCountExact(b *testing.B)       { benchmarkDistinct(b, 20, true) }
func BenchmarkDistinctCountEstimating(b *testing.B)  { benchmarkDistinct(b, 5000, true) }
func BenchmarkCountBaselineTailBelow(b *testing.B)   { benchmarkTail(b, 0, 1) }
func BenchmarkCountBaselineTailBeyond(b *testing.B)  { benchmarkTail(b, 2, 6) }
func BenchmarkCountBaselineTailFarOut(b *testing.B)  { benchmarkTail(b, 10, 1000) }
func BenchmarkNoveltyNew(b *testing.B)               { benchmarkNovelty(b, 40) }
func BenchmarkNoveltyNewWithForgetting(b *testing.B) { benchmarkNovelty(b, 1<<20) }

// benchmarkTail calls LogTail with another n each time, from low to high means.
func benchmarkTail(b *testing.B, low, high float64) {
	base := trained(30)
	from, to := low*base.Mean(), high*base.Mean()
	n := from
	b.ReportAllocs()
	for b.Loop() {
		if n++; n > to {
			n = from + 1
		}
		sinkFloat = base.LogTail(n)
	}
}

func trained(rate int) CountBaseline {
	rng := rand.New(rand.NewPCG(1, 2))
	b := NewCountBaseline(CountPrior{Mean: 5, Weight: 10, Memory: 500})
	for range 1000 {
		b.Learn(1 + float64(rng.IntN(2*rate)))
	}
	return b
}

func BenchmarkCountBaselineLearn(b *testing.B) {
	base := trained(30)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		base.Learn(float64(1 + i%60))
	}
}

// benchmarkNovelty asks and learns; with 2^20 kinds every draw is new and a quarter of the
// table is forgotten again and again.
func benchmarkNovelty(b *testing.B, kinds int) {
	rng := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, 1<<14)
	for i := range hashes {
		hashes[i] = mix(rng.Uint64N(uint64(kinds)))
	}
	v := NewNovelty(0.2, 1, 512)
	for _, h := range hashes {
		v.Learn(h)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h := hashes[i%len(hashes)]
		sinkBool = v.Seen(h)
		sinkFloat = v.LogNew()
		v.Learn(h)
	}
}

func BenchmarkEDetectorSetAndClose(b *testing.B) {
	var d EDetector
	b.ReportAllocs()
	for b.Loop() {
		d.Set(-0.5)
		sinkFloat = d.Log()
		d.Close()
	}
}

func BenchmarkLogEFromLogP(b *testing.B) {
	b.ReportAllocs()
	logp := 0.0
	for b.Loop() {
		if logp -= 0.37; logp < -60 {
			logp = 0
		}
		sinkFloat = LogEFromLogP(logp)
	}
}

func BenchmarkLogENovel(b *testing.B) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sinkFloat = LogENovel(i%50 == 0, 0.007)
	}
}
