package shard_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const graded = `
id: graded
title: A graded answer
when: count(calls, 1s) > 2
mode: enforce
response:
  - {action: throttle, scope: agent, for: 5m}
  - {action: restrict, scope: agent, for: 15m}
  - {action: revoke, scope: agent, for: 1h}
escalate: {within: 1h}
`

// steps plays bursts that break the detector, one at each of some times, and returns the steps that they took.
func steps(t *testing.T, text string, at ...time.Duration) []int {
	t.Helper()
	var calls []sent
	for _, at := range at {
		calls = append(calls, burst(3, "a", at, 10*time.Millisecond)...)
	}
	calls = number(calls)
	p := newPair(plan(t, text), small)
	for i := range calls {
		p.take(&calls[i])
	}
	var steps []int
	for _, d := range p.found {
		steps = append(steps, d.Step)
	}
	return steps
}

func TestEachDetectionInTimeTakesTheNextStep(t *testing.T) {
	const end = 20 * time.Millisecond // of a burst, where the detector breaks
	for name, c := range map[string]struct {
		text string
		at   []time.Duration
		want []int
	}{
		"the last step repeats":           {graded, []time.Duration{0, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 3*time.Hour + 50*time.Minute}, []int{1, 2, 3, 3, 3}},
		"nothing fires while it is quiet": {graded, []time.Duration{0, 4 * time.Minute, 6 * time.Minute, 20 * time.Minute, 22 * time.Minute}, []int{1, 2, 3}},
		"just in time":                    {graded, []time.Duration{0, 65*time.Minute - end}, []int{1, 2}},
		"too late":                        {graded, []time.Duration{0, 65 * time.Minute}, []int{1, 1}},
		"the time begins anew at each":    {graded, []time.Duration{0, 64 * time.Minute, 138 * time.Minute}, []int{1, 2, 3}},
		"a shorter quiet":                 {graded + "quiet: 10s\n", []time.Duration{0, 11 * time.Second, 22 * time.Second, time.Hour, 3 * time.Hour}, []int{1, 2, 3, 3, 1}},
		"observed":                        {replace(graded, "mode: enforce", "mode: observe"), []time.Duration{0, 10 * time.Minute}, []int{1, 2}},
		"another mode begins anew":        {graded + "schedule: {hours: \"09:20-24:00\", outside: alert}\n", []time.Duration{0, 10 * time.Minute, 21 * time.Minute, 40 * time.Minute}, []int{1, 2, 1, 2}},
		"one response":                    {cut(replace(graded, "\n  - {action: throttle, scope: agent, for: 5m}", " {action: throttle, scope: agent, for: 5m}", "\n  - {action: restrict, scope: agent, for: 15m}", "", "\n  - {action: revoke, scope: agent, for: 1h}", ""), "escalate"), []time.Duration{0, 10 * time.Minute}, []int{0, 0}},
	} {
		if diff := cmp.Diff(c.want, steps(t, c.text, c.at...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Whoever dates a call a day back is neither forgotten nor new.
func TestACallThatIsDatedBackTakesTheNextStep(t *testing.T) {
	calls := number(burst(1, "a", 0, 1), burst(1, "a", 10*time.Minute, 1), burst(1, "a", 40*time.Minute, 1))
	calls[1].Time -= int64(24 * time.Hour)
	p := newPair(plan(t, replace(graded, "count(calls, 1s) > 2", "depth(chain) > 1")), small)
	for i := range calls {
		calls[i].Chain = [][]byte{[]byte("b"), []byte("a")}
	}
	var steps []int
	for i := range calls {
		p.take(&calls[i])
	}
	for _, d := range p.found {
		steps = append(steps, d.Step)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, steps); diff != "" {
		t.Error(diff)
	}
}

func TestTheStepSurvivesARestart(t *testing.T) {
	calls := number(burst(3, "a", 0, 10*time.Millisecond), burst(3, "a", 10*time.Minute, 10*time.Millisecond), burst(3, "a", 40*time.Minute, 10*time.Millisecond))
	p := newPair(plan(t, graded), small)
	for i := range calls {
		p.take(&calls[i])
		p.restart(t, small)
	}
	for i, d := range p.found {
		if d.Step != i+1 {
			t.Errorf("detection %d takes step %d", i, d.Step)
		}
	}
	if len(p.found) != 3 {
		t.Errorf("%d detections, want 3", len(p.found))
	}
}
