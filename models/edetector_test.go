package models

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

func TestEDetectorEqualsItsRecursion(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var d EDetector
	r := 0.0
	for range 2000 {
		e := math.Exp(rng.NormFloat64() - 0.5)
		d.Set(rng.NormFloat64())
		d.Set(math.Log(e))
		more := math.Exp(0.1 * rng.NormFloat64())
		d.Mul(math.Log(more))
		if got, want := math.Exp(d.Log()), (r+1)*e*more; math.Abs(got/want-1) > 1e-9 {
			t.Fatalf("open: R is %v, want %v", got, want)
		}
		d.Close()
		r = (r + 1) * e * more
		if got := math.Exp(d.Log()); math.Abs(got/(r+1)-1) > 1e-9 {
			t.Fatalf("closed: R+1 is %v, want %v", got, r+1)
		}
	}
	d.Reset()
	if d.Log() != 0 {
		t.Errorf("after a reset log R is %v, want 0", d.Log())
	}
}

func TestEDetectorStaysFinite(t *testing.T) {
	var d EDetector
	for _, e := range []float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e300, -1e300, 5e5} {
		for range 3000 {
			d.Set(e)
			d.Mul(e)
			if l := d.Log(); l-l != 0 {
				t.Fatalf("after %v log R is %v", e, l)
			}
			d.Close()
		}
	}
}

func TestAlarmLevelIsTheBudgetInSlots(t *testing.T) {
	for _, c := range []struct {
		budget, step time.Duration
		want         float64
	}{
		{1000 * 24 * time.Hour, 10 * time.Second, math.Log(8.64e6)},
		{time.Hour, time.Hour, 0},
		{time.Second, time.Hour, 0},
		{0, time.Hour, 0},
		{time.Hour, 0, 0},
	} {
		if got := AlarmLevel(c.budget, c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("budget %v, slot %v: level %v, want %v", c.budget, c.step, got, c.want)
		}
	}
	if got := AlarmLevelCalls(1e6); math.Abs(got-math.Log(1e6)) > 1e-12 {
		t.Errorf("a million calls: %v", got)
	}
	if AlarmLevelCalls(math.NaN()) != 0 || AlarmLevelCalls(-1) != 0 {
		t.Error("no budget is not the lowest level")
	}
}

// runLength returns in which slot the first alarm came, at most limit.
func runLength(limit int, level float64, slot func(d *EDetector) bool) int {
	var d EDetector
	for t := 1; t <= limit; t++ {
		if slot(&d) {
			return t
		}
		d.Close()
	}
	return limit
}

const (
	simulatedC = 200.0
	runCap     = 4000
	runCount   = 60
)

// checkRuns holds the mean run length, which the cap can only shorten, against the
// promise.
func checkRuns(t *testing.T, name string, runs []float64) {
	t.Helper()
	sum := 0.0
	for _, r := range runs {
		sum += r
	}
	mean := sum / float64(len(runs))
	t.Logf("%s: mean run length ≥ %.0f slots, promised %.0f", name, mean, simulatedC)
	if mean < simulatedC {
		t.Errorf("%s: mean run length %.0f slots, promised %.0f", name, mean, simulatedC)
	}
}

func TestFalseAlarmsOnCountsAreRarerThanPromised(t *testing.T) {
	level := AlarmLevelCalls(simulatedC)
	streams := map[string]func(rng *rand.Rand) float64{
		"Poisson, rate 3":        func(rng *rand.Rand) float64 { return distuv.Poisson{Lambda: 3, Src: rng}.Rand() },
		"Poisson, rate 200":      func(rng *rand.Rand) float64 { return distuv.Poisson{Lambda: 200, Src: rng}.Rand() },
		"Poisson, rate 0.01":     func(rng *rand.Rand) float64 { return distuv.Poisson{Lambda: 0.01, Src: rng}.Rand() },
		"negative binomial, 1":   func(rng *rand.Rand) float64 { return drawNB(rng, 20, 1) },
		"negative binomial, 0.3": func(rng *rand.Rand) float64 { return drawNB(rng, 20, 0.3) },
		"negative binomial, 10":  func(rng *rand.Rand) float64 { return drawNB(rng, 5, 10) },
	}
	for name, draw := range streams {
		runs := make([]float64, runCount)
		for i := range runs {
			rng := rand.New(rand.NewPCG(uint64(i), 77))
			b := NewCountBaseline(CountPrior{Mean: 5, Weight: 10, Memory: 500})
			for range 30 { // the warm-up of a detector
				b.Learn(1 + draw(rng))
			}
			runs[i] = float64(runLength(runCap, level, func(d *EDetector) bool {
				n := 1 + draw(rng)
				d.Set(LogEFromLogP(b.LogTail(n)))
				alarm := d.Log() >= level
				b.Learn(n)
				return alarm
			}))
		}
		checkRuns(t, name, runs)
	}
}

func TestFalseAlarmsOnNewKindsAreRarerThanPromised(t *testing.T) {
	level := AlarmLevelCalls(simulatedC)
	for _, p := range []struct{ discount, concentration float64 }{{0, 5}, {0.5, 1}, {0.9, 10}} {
		runs := make([]float64, runCount)
		for i := range runs {
			rng := rand.New(rand.NewPCG(uint64(i), 78))
			stream := crp{discount: p.discount, concentration: p.concentration}
			v := NewNovelty(p.discount, p.concentration, 1<<10)
			runs[i] = float64(runLength(1000, level, func(d *EDetector) bool {
				for range 1 + rng.IntN(3) { // several calls in a slot: products, early alarms
					h, isNew := stream.draw(rng)
					d.Mul(LogENovel(isNew, v.PNew()))
					v.Learn(h)
					if d.Log() >= level {
						return true
					}
				}
				return false
			}))
		}
		checkRuns(t, "Pitman–Yor stream", runs)
	}
}

func TestATenfoldRateIsFoundInItsFirstSlot(t *testing.T) {
	level := AlarmLevel(1000*24*time.Hour, 10*time.Second) // one false alarm in 1000 agent-days
	for _, rate := range []float64{5, 30, 300} {
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, 79))
			b := NewCountBaseline(CountPrior{Mean: 5, Weight: 10, Memory: 500})
			var d EDetector
			for range 500 {
				n := 1 + distuv.Poisson{Lambda: rate, Src: rng}.Rand()
				d.Set(LogEFromLogP(b.LogTail(n)))
				d.Close()
				b.Learn(n)
			}
			found := 0.0
			for n := 1.0; n <= 1+10*rate && found == 0; n++ { // call by call
				d.Set(LogEFromLogP(b.LogTail(n)))
				if d.Log() >= level {
					found = n
				}
			}
			if seed == 0 {
				t.Logf("rate %v: found at call %v of %v", rate, found, 1+10*rate)
			}
			if found == 0 {
				t.Errorf("rate %v, seed %d: ten times as many calls raise log R only to %v of %v", rate, seed, d.Log(), level)
			}
		}
	}
}
