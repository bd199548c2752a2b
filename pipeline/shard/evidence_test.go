package shard_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const day = 24 * time.Hour

// stage plays calls through shards one by one and keeps the last judgement.
type stage struct {
	*pair
	n    int
	last shard.Judgement
	fire func(at time.Duration, d *detector.Detection) // may be nil
}

func newStage(t testing.TB, texts ...string) *stage {
	t.Helper()
	s := &stage{}
	s.pair = newPair(plan(t, texts...), shard.Options{
		SampleEvery: time.Second,
		Judged:      func(j shard.Judgement) { s.last = j },
	})
	return s
}

// call plays a call of an agent, changed by what is given, and returns what is thought of the agent then.
func (s *stage) call(agent string, at time.Duration, change ...func(*telemetry.Call)) shard.Judgement {
	c := call(s.n, agent, at)
	for _, f := range change {
		f(&c.Call)
	}
	s.n++
	before := len(s.found)
	s.take(&c)
	for i := range s.found[before:] {
		if s.fire != nil {
			s.fire(at, &s.found[before+i])
		}
	}
	return s.last
}

// alarms counts the detections of an agent.
func (s *stage) alarms(agent string) (n int) {
	for i := range s.found {
		if s.found[i].Agent == agent {
			n++
		}
	}
	return n
}

// expected is what the latest sample of an agent says is normal.
func (s *stage) expected(agent string) float64 {
	for i := len(s.samples) - 1; i >= 0; i-- {
		if s.samples[i].Entity == agent {
			return s.samples[i].Expected
		}
	}
	return 0
}

func on(resource string) func(*telemetry.Call) {
	return func(c *telemetry.Call) { c.Resource = []byte(resource) }
}

// around draws a factor with mean 1 and the variance 1/k.
func around(rng *rand.Rand, k float64) float64 { return distuv.Gamma{Alpha: k, Beta: k, Src: rng}.Rand() }

// slow is what a detector of slow ramps needs: slots as long as what honest traffic hangs together.
const slow = `id: slow
title: More calls a day than for months
group_by: agent
baseline: [{feature: "count(calls, 1d)", season: hour-of-week, memory: 200d}]
slot: 24h
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 14}
`

// worker is an agent whose traffic is negative binomial within the hour, and whose hours and
// days are busier or quieter as a whole.
type worker struct {
	name    string
	profile func(hour int) float64 // calls in an hour, counted from t0, a Monday at nine
	grows   int                    // the hour from which on it makes 1 % more in each; 0: never
	busy    float64                // today's factor
}

func (w *worker) calls(rng *rand.Rand, hour int) int {
	if hour%24 == 0 {
		w.busy = around(rng, 10)
	}
	rate := w.profile(hour) * w.busy * around(rng, 8) * around(rng, 4)
	if w.grows > 0 && hour >= w.grows {
		rate *= math.Pow(1.01, float64(hour-w.grows))
	}
	return int(distuv.Poisson{Lambda: rate, Src: rng}.Rand())
}

var profiles = map[string]func(hour int) float64{
	"flat": func(int) float64 { return 10 },
	"office": func(hour int) float64 {
		if hour%24 < 9 && hour/24%7 < 5 { // nine to six
			return 25
		}
		return 0.5
	},
	"tides": func(hour int) float64 { return 12 * math.Exp(1.2*math.Sin(2*math.Pi*float64(hour)/24)) },
}

func TestARampOfOnePercentAnHourForTwoWeeksIsCaughtAndHonestAgentsAreNot(t *testing.T) {
	if testing.Short() {
		t.Skip("plays months of calls")
	}
	const each, honestDays, weeks = 5, 35, 7
	for _, kind := range []string{"flat", "office", "tides"} {
		rng := rand.New(rand.NewPCG(5, uint64(len(kind))))
		s := newStage(t, slow)
		var workers []*worker
		for i := range 2 * each {
			w := &worker{name: fmt.Sprint("honest-", i), profile: profiles[kind]}
			if i >= each {
				w.name, w.grows = fmt.Sprint("ramp-", i), honestDays*24
			}
			workers = append(workers, w)
		}
		caught := map[string]time.Duration{}
		s.fire = func(at time.Duration, d *detector.Detection) {
			if caught[d.Agent] == 0 {
				caught[d.Agent] = at
			}
		}
		for hour := range weeks * 7 * 24 {
			for _, w := range workers {
				if caught[w.name] > 0 {
					continue // stopped
				}
				n := w.calls(rng, hour)
				for i := range n {
					s.call(w.name, time.Duration(hour)*time.Hour+time.Duration(i)*time.Hour/time.Duration(n))
				}
			}
		}
		var after []float64
		for _, w := range workers {
			at, is := caught[w.name]
			switch hours := at.Hours() - honestDays*24; {
			case w.grows == 0 && is:
				t.Errorf("%s: honest %s is stopped after %v", kind, w.name, at)
			case w.grows > 0 && !is:
				t.Errorf("%s: %s is not caught in two weeks", kind, w.name)
			case w.grows > 0 && hours < 0:
				t.Errorf("%s: %s is stopped %v hours before its ramp", kind, w.name, -hours)
			case w.grows > 0:
				after = append(after, hours)
			}
		}
		if len(after) == 0 {
			continue
		}
		slices.Sort(after)
		median, last := after[len(after)/2], after[len(after)-1]
		t.Logf("%s: caught after %.1f days (grown %.1f times), the last after %.1f (%.1f times); %d honest agent-days without an alarm", kind,
			median/24, math.Pow(1.01, median), last/24, math.Pow(1.01, last), each*weeks*7+each*honestDays)
	}
}
