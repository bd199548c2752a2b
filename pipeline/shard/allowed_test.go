package shard_test

import (
	"math"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
)

const usual = `id: usual
title: More than usual
group_by: agent
baseline: [{feature: "count(calls, 1h)"}]
warmup: {calls: 20, slots: 5}
budget: `

const hard = `id: hard
title: More than ever
group_by: agent
when: count(calls, 1h) > 1000
`

// What is allowed is that of the days, calls and sessions in which the detector could have fired for nothing.
func TestABudgetAllowsForWhatKnownEntitiesDid(t *testing.T) {
	const days, perDay = 30, 10
	a := call(0, "a", 0)
	for budget, per := range map[string]float64{"1 per 1000 agent-days": 1000, "2 per 1000 agent-days": 500, "1 per 100000 calls": 100_000} {
		s := newStage(t, usual+budget+"\n", hard)
		known := map[string]float64{} // of that detector, by how the budget counts
		for d := range days {
			knew := false
			for i := range perDay {
				s.call("a", time.Duration(d)*24*time.Hour+time.Duration(i)*time.Hour)
				if s.calls.Known("usual", detector.ByAgent, &a.Call) {
					knew = true
					known["calls"]++
				}
			}
			if knew {
				known["days"]++
			}
		}
		count, open := known["days"], 1.
		if budget == "1 per 100000 calls" {
			count, open = known["calls"], 100 // blocks are of a thousandth of the budget
		}
		got := s.calls.Allowed[0] * per
		if count < 20 || got > count || got < count-2*open {
			t.Errorf("%s: so many were allowed for: %v; known were %v", budget, got, count)
		}
		if s.calls.Allowed[1] != 0 {
			t.Errorf("a hard limit has no budget, and was allowed %v", s.calls.Allowed[1])
		}
	}
}

func TestABudgetOfSessionsAllowsForThoseThatEnded(t *testing.T) {
	s := newStage(t, within)
	s.honestSessions(230)
	// One is open, and before thirty have ended after the warm-up of fifty calls nothing is judged.
	if got := math.Round(s.calls.Allowed[0] * 100); got < 170 || got > 185 {
		t.Errorf("so many sessions were allowed for: %v", got)
	}
	s.calls.Reload(s.plan)
	if s.calls.Allowed[0] != 0 {
		t.Errorf("a new plan begins with %v allowed", s.calls.Allowed[0])
	}
}
