package shard

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
)

// newLeveled is a rule with the level of 10⁵ slots and so many blocks, and its peers.
func newLeveled(blocks float64) (*rule, *peerRule) {
	r := &rule{Compiled: &detector.Compiled{Level: math.Log(1e5), Blocks: blocks}}
	return r, newPeerRule(r)
}

// steady is a past of so many blocks with crests around x.
func steady(blocks int, x float64) *models.Crest {
	var past models.Crest
	for i := range blocks {
		past.Learn(x * (1 + 0.1*float64(i%3-1)))
	}
	return &past
}

func TestTheLevelRisesToWhatPastDaysReachAndIsNeverBelowTheBudgets(t *testing.T) {
	r, peers := newLeveled(1000)
	last := 0.0
	for _, x := range []float64{0, 0.5, 2, 5, 10, 11} {
		level := r.level(steady(30, x), peers)
		if level < r.Level || level <= x {
			t.Errorf("days up to %v: the level is %v, want more, and %v at least", x, level, r.Level)
		}
		if level < last {
			t.Errorf("days up to %v have the level %v, lower ones %v", x, level, last)
		}
		last = level
	}
	if calm := r.level(steady(30, 0), peers); calm != r.Level {
		t.Errorf("where nothing ever rose the level is %v, want the budget's %v", calm, r.Level)
	}
	// A budget of fewer alarms asks for more of the same past.
	rare, _ := newLeveled(10_000)
	if often, seldom := r.level(steady(30, 5), peers), rare.level(steady(30, 5), peers); seldom <= often {
		t.Errorf("one in 10000 days: %v, one in 1000: %v", seldom, often)
	}
}

func TestAPastUnderSevenDaysIsThatOfThePeers(t *testing.T) {
	r, peers := newLeveled(1000)
	young := steady(leastPast-1, 8)
	if got := r.level(young, peers); got != r.Level {
		t.Errorf("six days and no peers: the level is %v, want the budget's %v", got, r.Level)
	}
	for i := range leastPeerBlocks - 1 {
		peers.crests.Learn(1 + 6 + float64(i%7))
	}
	if got := r.level(young, peers); got != r.Level {
		t.Errorf("%d days of peers are taken for enough", leastPeerBlocks-1)
	}
	peers.crests.Learn(1 + 6)
	got := r.level(young, peers)
	if got <= 12 || got != r.level(&models.Crest{}, peers) {
		t.Errorf("peers with days up to 12: the level is %v, want more, whatever the six days were", got)
	}
	if own := r.level(steady(leastPast+1, 0.1), peers); own >= got {
		t.Errorf("with a week of its own, calm one the level is %v, that of its peers was %v", own, got)
	}
}

func TestAPastThatJumpsAboutSilencesTheDetectorForThatEntityOnly(t *testing.T) {
	r, peers := newLeveled(1000)
	if got := r.level(steady(30, mostLevel*r.Level), peers); got != models.MaxLogE {
		t.Errorf("days up to %v: the level is %v, want one that nothing reaches", mostLevel*r.Level, got)
	}
	if got := r.level(steady(30, 1), peers); got > 2*r.Level {
		t.Errorf("another entity beside it has the level %v, the budget's is %v", got, r.Level)
	}
}

func TestWhatFiredIsLearnedAsIfItHadBeenJustBelowTheLevel(t *testing.T) {
	s := &Shard{peers: map[string]*peers{}}
	r, _ := newLeveled(1000)
	s.rules[detector.ByAgent] = []*rule{r}
	e := &entity{key: "\x00t\x00a", peers: s.peersAt(string([]byte{byte(groups)}) + "t")}
	learned := func(crests ...float64) (models.Crest, float64) {
		w := newWatch(r, newPeerRule(r))
		w.block.level = r.Level
		for _, x := range append(crests, make([]float64, recentBlocks)...) { // the latest are not learned yet
			if crest, cut, full := w.block.shift(x); full {
				s.learnCrest(r, e, &w, crest, cut)
			}
		}
		return w.block.past, r.level(&w.block.past, w.peers)
	}
	fired, level := learned(1, 2, 1, 3, 2, 1, 2, 3, 5000)
	below, want := learned(1, 2, 1, 3, 2, 1, 2, 3, r.Level)
	if fired != below || level != want {
		t.Errorf("after an alarm the level is %v, after a day just below it %v", level, want)
	}
	// Its peers hear of no more.
	crests := 0
	for _, told := range s.told {
		if told.what != toldCrest {
			continue
		}
		crests++
		if x := math.Float64frombits(told.value); x > r.Level {
			t.Errorf("peers are told of the crest %v, over the level %v", x, r.Level)
		}
	}
	if crests != 18 {
		t.Errorf("%d crests are told, want that of each day", crests)
	}
}

func TestABlockIsADayOrAsManyCallsAsTheBudgetSays(t *testing.T) {
	calls := &rule{Compiled: &detector.Compiled{BlockCalls: 3}}
	days := &rule{Compiled: &detector.Compiled{}}
	for name, c := range map[string]struct {
		r     *rule
		times []int64
		ends  []int // the calls before which a block ends
	}{
		"three calls":            {calls, []int64{0, 1, 2, 3, 4, 5, 6, 7}, []int{3, 6}},
		"three calls over years": {calls, []int64{0, 400 * blockTime, 401 * blockTime, 402 * blockTime}, []int{3}},
		"days":                   {days, []int64{blockTime - 1, blockTime, blockTime + 5, 2*blockTime - 1, 7 * blockTime}, []int{1, 4}},
		"days before 1970":       {days, []int64{-blockTime - 1, -blockTime, -1, 0}, []int{1, 3}},
	} {
		var b block
		var ends []int
		for i, t := range c.times {
			ended := b.ends(c.r, t)
			if ended {
				ends = append(ends, i)
			}
			if ended || !b.begun {
				b.begin(c.r, t)
			}
			if c.r.BlockCalls > 0 {
				b.at++
			}
		}
		if len(ends) != len(c.ends) {
			t.Errorf("%s: blocks end before the calls %v, want %v", name, ends, c.ends)
			continue
		}
		for i := range ends {
			if ends[i] != c.ends[i] {
				t.Errorf("%s: blocks end before the calls %v, want %v", name, ends, c.ends)
			}
		}
	}
}

// crestLaws draw log(1+crest) of a day around 0, in the ways in which real days differ.
var crestLaws = map[string]func(rng *rand.Rand) float64{
	"normal":  func(rng *rand.Rand) float64 { return 0.6 * rng.NormFloat64() },
	"laplace": func(rng *rand.Rand) float64 { return distuv.Laplace{Scale: 0.5, Src: rng}.Rand() },
	"pareto": func(rng *rand.Rand) float64 { // log-crests themselves with a power tail
		return 0.4 * (distuv.Pareto{Xm: 1, Alpha: 3, Src: rng}.Rand() - 1)
	},
	"outage": func(rng *rand.Rand) float64 { // once a month something fails
		y := 0.3 * rng.NormFloat64()
		if rng.Float64() < 1.0/30 {
			y += 2
		}
		return y
	},
}

// exceeded says in how many of the days of a tenant's agents the crest is above the level of one day
// in so many by their own past, alone or corrected by how often such levels were wrong. What is above it
// fires and is learned as if just below. The days of the first half, of which the tails learn, are not counted.
func exceeded(law func(*rand.Rand) float64, blocks float64, corrected bool) float64 {
	const agents, days = 200, 240
	rng := rand.New(rand.NewPCG(7, 7))
	peers := newPeerRule(&rule{Compiled: &detector.Compiled{}})
	past := make([]models.Crest, agents)
	n, over := 0.0, 0.0
	for day := range days {
		for i := range past {
			c := &past[i]
			x := math.Expm1(max(0, 2+law(rng)))
			if c.Blocks() >= leastPast {
				need := math.Log(blocks)
				if corrected {
					need = peers.need(blocks)
				}
				level := c.Level(math.Exp(-need), peers.square.mean)
				fires := x >= level
				x = min(x, level)
				if day >= days/2 {
					n++
					over += truth(fires)
				}
				peers.tails.add(-c.LogTail(x, peers.square.mean), fires)
				d := c.Deviation(x)
				peers.square.add(d * d)
			}
			c.Learn(x)
		}
	}
	return over / n
}

// The correction takes the tail of -log p for exponential. Where it is heavier still, it is not enough, but
// most of what was missing.
func TestPeersCorrectAPastWhoseCrestsHaveHeavyTails(t *testing.T) {
	for name, law := range crestLaws {
		for _, blocks := range []float64{100, 1000} {
			own, corrected := exceeded(law, blocks, false), exceeded(law, blocks, true)
			t.Logf("%-8s one day in %4.0f: %.2f times as many by their own past, %.2f corrected", name, blocks, own*blocks, corrected*blocks)
			if corrected*blocks > 4 {
				t.Errorf("%s: %.2f times as many days as one in %v are above the level", name, corrected*blocks, blocks)
			}
			if corrected > own {
				t.Errorf("%s: the correction makes %v of %v", name, corrected, own)
			}
			if name != "normal" && own*blocks < 1.5 {
				t.Errorf("%s: only %.2f times as many without the correction: the test shows nothing", name, own*blocks)
			}
		}
	}
}
