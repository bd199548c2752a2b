package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// A budget is spent by evidence alone, beside what it allowed in the days of agents that are known.
func TestMetricsSayWhatBudgetsAllowedAndWhatWasSpent(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	role := r.Detect(rig.Plan(t, `id: usual
title: More calls than usual, or than ever
group_by: agent
baseline: [{feature: "count(calls, 1h)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 20, slots: 5}
when: count(calls, 1h) > 2000
quiet: 1s
`, `id: ever
title: More calls than ever
group_by: agent
when: count(calls, 1h) > 2000
`))
	past := time.Now().Add(-40 * 24 * time.Hour).Truncate(24 * time.Hour)
	const days = 30
	var calls []*telemetry.Call
	for hour := range days * 24 {
		calls = append(calls, rig.Call("c", "agent", "doc", past.Add(time.Duration(hour)*time.Hour)))
	}
	for i := range 2100 {
		calls = append(calls, rig.Call("c", "agent", "doc", past.Add(days*24*time.Hour+time.Duration(i)*time.Second)))
	}
	r.Send(calls...)
	rig.Await(t, time.Minute, func() error {
		if n := role.Metric("estop_detect_records_total"); n < float64(len(calls)) {
			return fmt.Errorf("%v records of %d", n, len(calls))
		}
		return nil
	})
	role.Stop()
	evidence, limits := 0.0, 0
	for _, d := range rig.Read[detector.Detection](t, r, pipeline.TopicDetections) {
		if d.Reason == "evidence" {
			evidence++
		} else {
			limits++
		}
	}
	if got := role.Metric("estop_detect_budget_spent_total"); evidence == 0 || limits == 0 || got != evidence {
		t.Errorf("%v were spent; %v detections were made by evidence, %d by limits", got, evidence, limits)
	}
	// On the first day the agent is learned.
	if got := role.Metric("estop_detect_budget_allowed_total"); got < 0.001*(days-2) || got > 0.001*days+1e-9 {
		t.Errorf("%v were allowed in %d days", got, days)
	}
}
