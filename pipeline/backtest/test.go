package backtest

import (
	"fmt"
	"strconv"
	"strings"
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
	Unmet      []Unmet         // empty if the test holds
	Failure    string          // the same in one line

	firstBad time.Duration   // when the first bad call of the first detection came
	response detector.Action // that answers the first detection in enforce; 0: none
	learns   bool            // the detector has a baseline
}

// Test runs one test of the detector with index i in the set. Other detectors of the set
// see the same calls and do not count.
func Test(set *detector.Set, i int, t detector.Test) Outcome {
	r := NewRunner(set.Plan, shard.Options{})
	d := set.Plan.Detectors[i]
	o := Outcome{learns: len(d.Evidence) > 0}
	var c telemetry.Call
	var offsets []time.Duration // of all calls
	for tc := range t.Expand() {
		fill(&c, &tc, t, len(offsets))
		offsets = append(offsets, tc.Offset)
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
	o.Known = len(offsets) > 0 && r.Known(d.Key(), d.GroupBy, &c)
	if len(o.Detections) > 0 {
		o.firstBad = offsets[callNumber(o.Detections[0].FirstBad)]
		if supposed, ok := set.SupposedOf(i, &o.Detections[0]); ok {
			o.response = supposed.Action()
		}
	}
	o.Unmet = judge(&t.Expect, &o)
	o.Failure = joined(o.Unmet)
	return o
}

// callPrefix begins the ids of a test's calls, which go by their numbers.
const callPrefix = "call-"

func callNumber(id string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(id, callPrefix))
	if err != nil {
		panic(fmt.Sprintf("a test has no call %q", id)) // it named all of them
	}
	return n
}

var outcomes = map[string]telemetry.Outcome{"denied": telemetry.OutcomeDenied, "error": telemetry.OutcomeError}

func fill(c *telemetry.Call, tc *detector.TestCall, t detector.Test, n int) {
	c.Reset()
	c.ID = fmt.Appendf(nil, callPrefix+"%d", n)
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
	Unmet      []Unmet              `json:"unmet,omitempty"` // what of the expectation is not met
	Detections []detector.Detection `json:"detections,omitempty"`
}

// TestAll runs every test of every detector.
func TestAll(set *detector.Set) Results {
	var r Results
	for i, d := range set.Plan.Detectors {
		for _, t := range set.Sources[i].Tests {
			o := Test(set, i, t)
			r.Tests = append(r.Tests, TestResult{
				Detector: d.ID, Name: t.Name, File: set.Sources[i].File, Line: t.Line,
				Failure: o.Failure, Unmet: o.Unmet, Detections: o.Detections,
			})
			if o.Failure == "" {
				r.Passed++
			} else {
				r.Failed++
			}
		}
	}
	return r
}
