package backtest

import (
	"fmt"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Outcome is how a test of a detector ended.
type Outcome struct {
	Detections []detector.Detection
	Offsets    []time.Duration // of the detections, from the start of the test
	Known      bool            // of the last call's entity, at the end
	Failure    string          // empty if the test holds
}

// Test runs one test of the detector with index i in the set. Other detectors of the set
// see the same calls and do not count.
func Test(set *detector.Set, i int, t detector.Test) Outcome {
	r := NewRunner(set.Plan, shard.Options{})
	d := set.Plan.Detectors[i]
	var o Outcome
	var c telemetry.Call
	n := 0
	for tc := range t.Expand() {
		fill(&c, &tc, t, n)
		n++
		for _, found := range r.Call(&c) {
			if found.Index == i {
				if d.Canary { // a test says what the detector does once it is live
					mode, _ := d.For(found.Tenant).ModeAt(found.Time.UnixNano())
					found.Mode = mode.String()
				}
				o.Detections = append(o.Detections, found.Detection)
				o.Offsets = append(o.Offsets, tc.Offset)
			}
		}
	}
	o.Known = n > 0 && r.Known(d.Key(), d.GroupBy, &c)
	o.Failure = judge(t.Expect, o)
	return o
}

// judge compares an outcome with what was expected and says what differs.
func judge(want detector.Expect, got Outcome) string {
	n := len(got.Detections)
	if !want.Holds(n) {
		return fmt.Sprintf("%d detections, want %s %d", n, want.Bound, want.Count)
	}
	if want.Known != nil && *want.Known != got.Known {
		return fmt.Sprintf("known is %v at the end, want %v", got.Known, *want.Known)
	}
	if n == 0 {
		return ""
	}
	for i, step := range want.Steps { // as many as there are detections
		if got := got.Detections[i].Step; got != step {
			return fmt.Sprintf("detection %d takes step %d, want %d", i+1, got, step)
		}
	}
	if first := got.Offsets[0]; want.HasFirst && (first < want.FirstFrom || first > want.FirstTo) {
		return fmt.Sprintf("first detection at %v, want %v to %v", first, want.FirstFrom, want.FirstTo)
	}
	if m := got.Detections[0].Mode; want.Mode != "" && m != want.Mode {
		return fmt.Sprintf("first detection is in mode %s, want %s", m, want.Mode)
	}
	if e := got.Detections[0].Entity; want.Entity != "" && e != want.Entity {
		return fmt.Sprintf("first detection is of %q, want %q", e, want.Entity)
	}
	return ""
}

var outcomes = map[string]telemetry.Outcome{"denied": telemetry.OutcomeDenied, "error": telemetry.OutcomeError}

func fill(c *telemetry.Call, tc *detector.TestCall, t detector.Test, n int) {
	c.Reset()
	c.ID = fmt.Appendf(nil, "call-%d", n)
	c.Time = t.Start.Add(tc.Offset).UnixNano()
	c.Tenant, c.Agent, c.Identity, c.Session = []byte(tc.Tenant), []byte(tc.Agent), []byte(tc.Identity), []byte(tc.Session)
	for _, m := range tc.Chain {
		c.Chain = append(c.Chain, []byte(m))
	}
	c.Action, c.Resource = []byte(tc.Action), []byte(tc.Resource)
	c.Outcome, c.Latency = outcomes[tc.Outcome], tc.Latency
	c.BytesIn, c.BytesOut = tc.BytesIn, tc.BytesOut
	for _, p := range tc.Context {
		c.Context = append(c.Context, telemetry.Pair{Key: []byte(p.Key), Value: []byte(p.Value)})
	}
}

// Results are the outcomes of all tests of a set.
type Results struct {
	Passed int          `json:"passed"`
	Failed int          `json:"failed"`
	Tests  []TestResult `json:"tests"`
}

// TestResult is how one test ended.
type TestResult struct {
	Detector   string               `json:"detector"`
	Name       string               `json:"name"`
	File       string               `json:"file"`
	Line       int                  `json:"line"`
	Failure    string               `json:"failure,omitempty"`
	Detections []detector.Detection `json:"detections,omitempty"`
}

// TestAll runs every test of every detector.
func TestAll(set *detector.Set) Results {
	var r Results
	for i, d := range set.Plan.Detectors {
		for _, t := range set.Sources[i].Tests {
			o := Test(set, i, t)
			r.Tests = append(r.Tests, TestResult{d.ID, t.Name, set.Sources[i].File, t.Line, o.Failure, o.Detections})
			if o.Failure == "" {
				r.Passed++
			} else {
				r.Failed++
			}
		}
	}
	return r
}
