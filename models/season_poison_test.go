package models

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// ramp is an agent whose traffic is negative binomial within the hour and whose hours and
// days are busier or quieter than usual as a whole: events in one slot are far from
// independent.
type ramp struct {
	profile func(h int) float64 // events in an hour of the week
	begin   int                 // the week in which it begins to grow by 1 % an hour; 0 for never
}

// around draws a factor with mean 1 and the variance 1/k.
func around(rng *rand.Rand, k float64) float64 {
	return distuv.Gamma{Alpha: k, Beta: k, Src: rng}.Rand()
}

// play runs the agent for weeks through a detector of counts in slots of step, with a budget
// of one false alarm in 1000 agent-days, learning frozen while log evidence is above half of
// the level. It returns the alarms before the ramp, and after how many hours of it the first
// alarm came, -1 for none.
func (a ramp) play(seed uint64, weeks int, step time.Duration, memory, warmup float64) (before int, caught float64) {
	const monday = int64(1767571200e9)
	rng := rand.New(rand.NewPCG(seed, 31))
	b := NewSeasonalCount(CountPrior{Mean: 1, Weight: 2, Memory: memory})
	level := AlarmLevel(1000*24*time.Hour, step)
	var d EDetector
	n, slot, day, quiet := 0.0, int64(0), 1.0, false
	for h := range weeks * hoursOfWeek {
		t := monday + int64(h)*hourOfTime
		if s := slotOf(t, int64(step)); s != slot {
			if n >= 1 && !quiet {
				if d.Log() <= level/2 {
					b.Learn(n, slot*int64(step))
				}
				d.Close()
			}
			n, slot, quiet = 0, s, false
		}
		if h%hoursOfDay == 0 {
			day = around(rng, 10)
		}
		growth, hours := 1.0, float64(h-a.begin*hoursOfWeek)
		attack := a.begin > 0 && hours >= 0
		if attack {
			growth = math.Pow(1.01, hours)
		}
		n += distuv.Poisson{Lambda: a.profile(hourOfWeek(slotOf(t, hourOfTime))) * growth * day * around(rng, 8) * around(rng, 4), Src: rng}.Rand()
		if n < 1 || quiet || b.slots < warmup {
			continue
		}
		d.Set(LogEFromLogP(LogMidP(b.LogTails(n, slot*int64(step)))))
		if d.Log() >= level {
			if attack {
				return before, hours + 1
			}
			before++
			d.Reset()
			quiet = true
		}
	}
	return before, -1
}

var rampProfiles = map[string]func(h int) float64{
	"flat":   func(int) float64 { return 20 },
	"office": office,
	"tides":  func(h int) float64 { return 30 * math.Exp(1.2*math.Sin(2*math.Pi*float64(h-9)/24)) },
}

// Which slot and memory catch an agent that raises its rate by 1 % an hour for two weeks,
// after four honest ones, and keep silent about an honest one? This simulation says:
//
//	slot     memory  false alarms in 10 080 honest days   caught after, median and 0.9 quantile, grown to
//	1 day    200     0                                    6 … 9 days, 8 … 9 days, 4 … 8 times
//	1 day    10      0                                    7 … 9 days, 8 … 11 days, 5 … 12 times; 1 of 180 never
//	6 hours  1000    14                                   4 … 7 days, 5 … 8 days, 3 … 6 times
//	1 hour   1000    150                                  3 … 5 days, 4 … 8 days, 2 … 6 times
//
// (60 agents of each profile; memories of 30, 60 and 1000 days are like that of 200.) Days
// that are busier as a whole make the shorter slots of one day lean the same way, each of
// them counted as evidence of its own, and that breaks the budget of 10: a slot must be as
// long as what honest traffic hangs together. Where days are independent an hour is enough, and
// faster. The memory matters little once it is some weeks, since learning stops at half the
// level, long before the baseline has followed. So a detector of ramps wants a slot of a day,
// a memory of 200 slots and a warm-up of 14; no further model is needed.
func TestASlowRampIsCaughtAndHonestAgentsAreNot(t *testing.T) {
	const agents = 20
	for name, profile := range rampProfiles {
		false8, before := 0, 0
		var hours []float64
		for seed := range uint64(agents) {
			f, _ := ramp{profile: profile}.play(1000+seed, 2+8, 24*time.Hour, 200, 14)
			false8 += f
			f, caught := ramp{profile, 4}.play(seed, 6, 24*time.Hour, 200, 14)
			before += f
			if caught >= 0 {
				hours = append(hours, caught)
			}
		}
		slices.Sort(hours)
		if len(hours) < agents {
			t.Fatalf("%s: %d of %d ramps are caught", name, len(hours), agents)
		}
		median, last := hours[agents/2], hours[agents-1]
		t.Logf("%s: caught after %.0f hours (grown %.1f times), the last after %.0f (%.1f times)", name,
			median, math.Pow(1.01, median), last, math.Pow(1.01, last))
		if median > 9*24 || last > 11*24 {
			t.Errorf("%s: caught after %.0f hours, the last after %.0f", name, median, last)
		}
		if false8+before > 0 {
			t.Errorf("%s: %d alarms in %d honest days, %d in the %d days before the ramps", name, false8, agents*56, before, agents*14)
		}
	}
}
