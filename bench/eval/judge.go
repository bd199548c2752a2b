package eval

import (
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// judge is a plan at work on calls, and how suspicious it found the last one: how far, in nats, the
// evidence of the detector that is nearest to firing is beyond the level at which it fires.
type judge struct {
	*backtest.Runner
	plan  *detector.Plan
	score float64 // -Inf where no detector knows an entity of the call well enough to speak
}

// newJudge begins with nothing, or where a checkpoint ends.
func newJudge(plan *detector.Plan, from *backtest.Checkpoint) (*judge, error) {
	j := &judge{plan: plan, score: math.Inf(-1)}
	opt := shard.Options{Judged: j.judged, RestAfter: restAfter}
	if from == nil {
		j.Runner = backtest.NewRunner(plan, opt)
		return j, nil
	}
	var err error
	j.Runner, err = backtest.Resume(plan, opt, from)
	return j, err
}

func (j *judge) judged(v shard.Judgement) {
	if v.Known && len(v.Detector.Evidence) > 0 {
		j.score = max(j.score, v.Evidence-v.Level)
	}
}

// call judges a call and returns the detections that it led to, valid until the next call.
func (j *judge) call(c *telemetry.Call) []shard.Detected {
	j.score = math.Inf(-1)
	found := j.Call(c)
	for _, d := range found {
		if d.Reason != "evidence" { // a hard limit
			j.score = math.Inf(1)
		}
	}
	return found
}

// Score judges a call and returns how suspicious it is.
func (j *judge) Score(c *telemetry.Call) float64 {
	j.call(c)
	return j.score
}

// settler lets a runner settle now and then.
type settler struct {
	runner *backtest.Runner
	into   *backtest.Checkpoint
	last   int64
}

// after is called after each call.
func (s *settler) after(c *telemetry.Call) {
	if c.Time > s.last+int64(settleAfter) {
		s.last = c.Time
		s.runner.Settle(s.into)
	}
}

// learn plays calls and returns what a runner has learned from them.
func learn(plan *detector.Plan, calls func(yield func(*telemetry.Call) bool)) *backtest.Checkpoint {
	var cp backtest.Checkpoint
	s := settler{runner: backtest.NewRunner(plan, shard.Options{RestAfter: restAfter}), into: &cp}
	for c := range calls {
		s.runner.Call(c)
		s.after(c)
	}
	s.runner.Settle(&cp)
	return &cp
}
