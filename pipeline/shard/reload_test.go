package shard_test

import (
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
)

func TestAnotherBudgetHoldsFromTheNextCallOn(t *testing.T) {
	s := newStage(t, deployed)
	s.paced(0, 400, 2, "1")
	before := s.last.Level
	s.plan = s.plan.ScaleBudget(10)
	want := s.plan.Detectors[0].Level
	s.calls.Reload(s.plan)
	if got := s.call("a", 4000*time.Second, version("1")).Level; got != want || got >= before {
		t.Errorf("after a reload with ten times the budget the level is %v, want %v; before it was %v", got, want, before)
	}
	s.plan = s.plan.ScaleBudget(0.001)
	s.restart(t, shard.Options{Judged: func(j shard.Judgement) { s.last = j }})
	want = s.plan.Detectors[0].Level
	if got := s.call("a", 4001*time.Second, version("1")).Level; got != want {
		t.Errorf("after a restart with a thousandth of the budget the level is %v, want %v", got, want)
	}
}
