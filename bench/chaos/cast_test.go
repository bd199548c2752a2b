package chaos

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
)

func TestTheCastIsAFunctionOfTheSeed(t *testing.T) {
	equal := func(a, b *cast) bool { return cmp.Equal(a, b, cmp.AllowUnexported(cast{}, call{})) }
	if !equal(newCast(3, time.Minute, 50, 30), newCast(3, time.Minute, 50, 30)) {
		t.Error("the same seed gives another cast")
	}
	if equal(newCast(3, time.Minute, 50, 30), newCast(4, time.Minute, 50, 30)) {
		t.Error("another seed gives the same cast")
	}
}

// played is the cast as a log of one partition.
type played struct{ cast *cast }

func (played) Partitions() int { return 1 }

func (p played) Read(_ context.Context, each func(backtest.Entry) error) error {
	start := time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)
	for i := range p.cast.calls {
		c := p.cast.calls[i].telemetry(start)
		src := shard.Source{Topic: "estop.calls", Offset: int64(i), Appended: max(c.Time, start.UnixNano())}
		if err := each(backtest.Entry{Source: src, Call: c}); err != nil {
			return err
		}
	}
	return nil
}

func TestEverySuspectBreaksItsDetectorAndNoHonestAgentDoes(t *testing.T) {
	set, errs := detector.Load(detectorFiles())
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		c := newCast(seed, time.Minute, 100, 60)
		report, err := backtest.Run(t.Context(), played{c}, set, backtest.Options{Examples: math.MaxInt})
		if err != nil {
			t.Fatal(err)
		}
		broke, kinds := map[string]bool{}, map[string]int{}
		for _, d := range report.Detectors {
			for i := range d.Examples {
				broke[detection(&d.Examples[i].Detection).Target] = true
				kinds[d.ID]++
			}
		}
		for _, s := range c.suspects {
			if broke[s.Target] == s.Honest {
				t.Errorf("seed %d: %s: honest %v, breach %v", seed, s.Target, s.Honest, broke[s.Target])
			}
			delete(broke, s.Target)
		}
		if len(broke) > 0 || len(kinds) != 3 {
			t.Errorf("seed %d: others break detectors: %v; detections by detector: %v", seed, broke, kinds)
		}
	}
}

func TestTheNumbersOfAnAgentsCallsFollowTheirOrder(t *testing.T) {
	next := map[string]int{}
	for _, x := range newCast(1, time.Minute, 100, 60).calls {
		if x.number != next[x.key()] || !strings.HasPrefix(x.id(), x.key()+"#") {
			t.Fatalf("call %s, want number %d", x.id(), next[x.key()])
		}
		next[x.key()]++
	}
}
