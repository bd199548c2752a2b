package shard_test

import (
	"slices"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// A detector without a baseline scored 0, which was taken for normal: beenuar/AiSOC#606.
func TestComplaint10AColdStartIsNotKnownAndNeverNormal(t *testing.T) {
	p := plan(t, learned)
	attack := burst(400, "rookie", 0, 10*time.Millisecond)
	cold := judged(t, p, attack)
	if cold.calls.Known("learned", detector.ByAgent, &attack[0].Call) {
		t.Error("an agent of four seconds is known")
	}
	if len(cold.found) != 0 {
		t.Errorf("%d detections of an agent that is not known", len(cold.found))
	}
	if cold.calls.Known("learned", detector.ByAgent, &telemetry.Call{Tenant: []byte("t1"), Agent: []byte("never seen")}) {
		t.Error("an agent that was never seen is known")
	}
	// A sample of it says that nothing is known, and gives no expectation that could be
	// mistaken for one.
	run := newPair(p, shard.Options{SampleEvery: time.Second})
	calls := number(burst(20, "rookie", 0, 3*time.Second))
	for i := range calls {
		run.take(&calls[i])
	}
	if len(run.samples) == 0 {
		t.Fatal("no samples")
	}
	for _, s := range run.samples {
		if s.Known || s.Expected != 0 || s.Low != 0 || s.High != 0 || s.LogP != 0 {
			t.Errorf("sample of an agent that is not known: %+v", s)
		}
	}
	// Once it is known, the same attack is seen.
	warm := judged(t, p, number(habit(400), burst(400, "a", 2010*time.Second, 10*time.Millisecond)))
	if len(warm.found) != 1 || !warm.calls.Known("learned", detector.ByAgent, &habit(1)[0].Call) {
		t.Errorf("%d detections of a known agent, want 1", len(warm.found))
	}
}

// Nothing that an entity did before it is known speaks for it or against it afterwards, as a p-value of 1 or of nearly 0
// would. Calls of a steady agent earn it no credit, those of an unsteady one no guilt.
func TestComplaint10WhatComesBeforeAnEntityIsKnownIsNoEvidence(t *testing.T) {
	for name, loud := range map[string]int{"steady": 1, "unsteady": 40} {
		var known, unknown []float64 // evidence
		s := newStage(t, learned)
		p := newPair(s.plan, shard.Options{
			Judged: func(j shard.Judgement) {
				if j.Known {
					known = append(known, j.Evidence)
				} else {
					unknown = append(unknown, j.Evidence)
				}
			},
		})
		n := 0
		for slot := range 80 {
			for i := range 1 + (loud-1)*truth(slot%4 == 0 && slot < 40) {
				c := call(n, "a", time.Duration(slot)*10*time.Second+time.Duration(i)*10*time.Millisecond)
				p.take(&c)
				n++
			}
		}
		if len(p.found) > 0 || len(unknown) < 20 || len(known) < 20 {
			t.Fatalf("%s: %d detections, %d calls before it is known, %d after", name, len(p.found), len(unknown), len(known))
		}
		if known[0] != 0 {
			t.Errorf("%s: evidence %v at the first call after the warm-up", name, known[0])
		}
		if most := slices.Max(unknown); (most > 1) != (loud > 1) {
			t.Errorf("%s: evidence reached %v before it was known", name, most)
		}
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
