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
func around(rng *rand.Rand, k float64) float64 {
	return distuv.Gamma{Alpha: k, Beta: k, Src: rng}.Rand()
}

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

const hourly = `id: hourly
title: More calls in an hour than it ever made
group_by: agent
baseline: [{feature: "count(calls, 1h)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 24}
`

// hours plays an agent that makes so many calls in each hour.
func (s *stage) hours(agent string, from int, calls ...int) (last shard.Judgement) {
	for i, n := range calls {
		for k := range n {
			last = s.call(agent, time.Duration(from+i)*time.Hour+time.Duration(k)*time.Hour/time.Duration(n+1))
		}
	}
	return last
}

// Some busy hours in a row are more than the baseline allows for, which takes hours for independent. The
// days before say that they are usual. The same hours in any order need less.
func TestBurstsThatHangTogetherRaiseTheLevelOfTheirAgent(t *testing.T) {
	patient := replace(hourly, "slots: 24", "slots: 168, time: 14d")
	s := newStage(t, patient)
	rng := rand.New(rand.NewPCG(8, 1))
	const days = 40
	levels := map[string]float64{}
	highest := map[string]float64{}
	least := plan(t, patient).Detectors[0].Level
	for d := range days {
		calls := make([]int, 24)
		busy := 8 + rng.IntN(7)
		for h := range calls {
			calls[h] = 3 + rng.IntN(3)
			if h >= 8 && h < busy {
				calls[h] = 30 + rng.IntN(20)
			}
		}
		mixed := slices.Clone(calls)
		rng.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
		for agent, calls := range map[string][]int{"in a row": calls, "mixed": mixed} {
			for h, n := range calls {
				j := s.hours(agent, 24*d+h, n)
				if j.Level < least {
					t.Fatalf("%s: on day %d the level is %v, under the %v of the budget", agent, d, j.Level, least)
				}
				levels[agent] = j.Level
				if j.Known {
					highest[agent] = max(highest[agent], j.Evidence)
				}
			}
		}
	}
	t.Logf("levels %v, the budget's %.2f, evidence up to %v", levels, least, highest)
	if levels["in a row"] < highest["in a row"] || levels["in a row"] < 1.2*least {
		t.Errorf("busy hours in a row: evidence up to %v, the level is %v", highest["in a row"], levels["in a row"])
	}
	if levels["mixed"] > levels["in a row"]/2 {
		t.Errorf("the same hours mixed: the level is %v, in a row %v", levels["mixed"], levels["in a row"])
	}
	if n := len(s.found); n > 0 {
		t.Errorf("%d alarms", n)
	}
}

func TestABudgetInCallsLooksAtBlocksOfCalls(t *testing.T) {
	const text = `id: calls
title: Budget in calls
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 100000 calls
warmup: {calls: 50, slots: 10}
`
	compiled := plan(t, text).Detectors[0]
	if compiled.BlockCalls != 100 || compiled.Blocks != 1000 {
		t.Fatalf("%v blocks of %d calls, want 1000 of 100", compiled.Blocks, compiled.BlockCalls)
	}
	s := newStage(t, text)
	rng := rand.New(rand.NewPCG(8, 2))
	level, changed, at := compiled.Level, 0, 0
	for slot := range 4000 {
		n := 1 + rng.IntN(3)
		if slot/5%4 == 0 { // slots that hang together
			n *= 4
		}
		for range n {
			j := s.call("a", time.Duration(slot)*10*time.Second+time.Duration(rng.IntN(9999))*time.Millisecond)
			if j.Level != level {
				if changed > 0 && s.n-at < compiled.BlockCalls {
					t.Fatalf("the level changes at call %d and at call %d, within a block", at, s.n)
				}
				level, at = j.Level, s.n
				changed++
			}
		}
	}
	if changed < 10 || level < compiled.Level {
		t.Errorf("over %d calls the level changed %d times, to %v", s.n, changed, level)
	}
}

func TestWhileEvidenceIsHighNothingIsLearned(t *testing.T) {
	s := newStage(t, replace(hourly, "1 per 1000 agent", "1 per 100000 agent"))
	rng := rand.New(rand.NewPCG(8, 3))
	for h := range 400 {
		s.hours("a", h, 4+rng.IntN(5))
	}
	usual := s.expected("a")
	frozen, high := 0.0, 0
	for h := 400; s.alarms("a") == 0; h++ {
		if h > 600 {
			t.Fatal("twice as many calls for 200 hours are not found")
		}
		j := s.hours("a", h, 12)
		if j.Evidence <= j.Level/2 {
			continue
		}
		// The sample in the first high hour is of the slot before; those of the hours after show what is learned.
		if high++; high == 2 {
			frozen = s.expected("a")
		}
		if high > 2 && s.expected("a") != frozen {
			t.Errorf("hour %d: %v calls are expected, they were %v when evidence became high", h, s.expected("a"), frozen)
		}
	}
	if high < 3 || frozen > 1.5*usual {
		t.Errorf("evidence was high for %d hours; %v calls are expected then, before the attack %v", high, frozen, usual)
	}
}

func TestWhatLedToAnAlarmIsNotLearned(t *testing.T) {
	const text = `id: spree
title: One new resource after another
group_by: agent
baseline: [{feature: new(resource)}]
budget: 1 per 1000 agent-days
slot: 10s
warmup: {calls: 100, slots: 20}
quiet: 5m
`
	s := newStage(t, text)
	const every = 5 * time.Second
	at := time.Duration(0)
	use := func(resource string) {
		s.call("a", at, on(resource))
		at += every
	}
	for i := range 1000 {
		use(fmt.Sprint("doc-", i%3))
	}
	spree := func() int {
		before := s.alarms("a")
		for i := range 12 {
			use(fmt.Sprint("secret-", i))
		}
		at += 10 * time.Minute
		return s.alarms("a") - before
	}
	if first, again := spree(), spree(); first != 1 || again != 1 {
		t.Errorf("the same spree twice: %d alarms and %d, want one each", first, again)
	}
	// One new resource is no alarm, and known from then on.
	for i := range 100 {
		use(fmt.Sprint("doc-", i%3))
	}
	use("report")
	use("doc-0")
	if first, again := fresh(s, at, "draft"), fresh(s, at+every, "report"); first != 1 || again != 0 {
		t.Errorf("new(resource) is %v for what was never used and %v for what was", first, again)
	}
}

// fresh is the value of the detector's first feature at a call on a resource.
func fresh(s *stage, at time.Duration, resource string) float64 {
	return s.call("a", at, on(resource)).Values[0]
}

// In how many agent-days an honest agent, whose hours hang together in days that are busier or
// quieter as a whole, reaches the level that the budget asks of the baseline, which takes hours for
// independent; and in how many it is stopped, which takes that its past does not know of it either.
//
// Where days differ by no more than that, the past keeps the budget or nearly does. Where a job of six hours comes
// on one day of twenty, a mixture of two sorts of days, it is overdrawn: the past is taken for one of a
// single sort, and each hour of the job is an alarm once the day is.
func TestThePastKeepsTheBudgetWhereTheBaselineAloneWouldNot(t *testing.T) {
	if testing.Short() {
		t.Skip("plays years of calls")
	}
	const agents, days, warmup = 24, 84, 14
	batch := func(rng *rand.Rand) func(hour int) float64 { // now and then a job of six hours
		busy := 0
		return func(hour int) float64 {
			if hour%24 == 0 && rng.IntN(20) == 0 {
				busy = hour + 6
			}
			if hour < busy {
				return 80
			}
			return 5
		}
	}
	for _, kind := range []string{"flat", "office", "tides", "batch"} {
		for _, allowed := range []float64{10, 100} {
			patient := replace(hourly, "per 1000", fmt.Sprintf("per %.0f", allowed), "slots: 24", "slots: 168, time: 14d")
			least := plan(t, patient).Detectors[0].Level
			rng := rand.New(rand.NewPCG(21, uint64(allowed)))
			s := newStage(t, patient)
			var workers []*worker
			for i := range agents {
				profile := profiles[kind]
				if kind == "batch" {
					profile = batch(rng)
				}
				workers = append(workers, &worker{name: fmt.Sprint("a-", i), profile: profile})
			}
			crossed, stopped := 0, map[string]bool{}
			s.fire = func(at time.Duration, d *detector.Detection) { stopped[fmt.Sprint(d.Agent, int(at.Hours())/24)] = true }
			above := make([]bool, agents)
			for hour := range days * 24 {
				if hour%24 == 0 {
					clear(above)
				}
				for i, w := range workers {
					n := w.calls(rng, hour)
					for k := range n {
						j := s.call(w.name, time.Duration(hour)*time.Hour+time.Duration(k)*time.Hour/time.Duration(n))
						if j.Known && j.Evidence >= least && !above[i] {
							above[i] = true
							crossed++
						}
					}
				}
			}
			share := allowed / (agents * (days - warmup)) // of the budget, for each
			alone, kept, alarms := share*float64(crossed), share*float64(len(stopped)), share*float64(len(s.found))
			t.Logf("%-6s 1 in %3.0f agent-days: %.2f times as many would the baseline alone stop, %.2f are stopped, with %.2f alarms (of %d agent-days)",
				kind, allowed, alone, kept, alarms, agents*(days-warmup))
			most := 2.0 // of the few that the rarer budget allows, noise makes many
			if kind == "batch" {
				most = 4
			}
			if kept > most {
				t.Errorf("%s: %.2f times the budget of one in %v agent-days are stopped", kind, kept, allowed)
			}
		}
	}
}
