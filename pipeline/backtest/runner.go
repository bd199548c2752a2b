// Package backtest runs detectors over calls that are already there, through the same
// shards as production: the tests in detector files, and history.
package backtest

import (
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Runner is the detect role without Kafka: one shard for the calls and one for the
// exchange, fed one call at a time.
type Runner struct {
	calls, exchange *shard.Shard
	offset          int64
}

// NewRunner returns a runner that has seen nothing.
func NewRunner(plan *detector.Plan, opt shard.Options) *Runner {
	return &Runner{calls: shard.New(plan, opt), exchange: shard.New(plan, opt)}
}

// Call judges a call as if it had been appended at its own time, and returns the
// detections that it led to. The slice is valid until the next Call.
func (r *Runner) Call(c *telemetry.Call) []shard.Detected {
	src := shard.Source{Topic: "estop.calls", Offset: r.offset, Appended: c.Time}
	r.offset++
	r.calls.Detections = r.calls.Detections[:0]
	r.exchange.Detections = r.exchange.Detections[:0]
	r.calls.Samples, r.exchange.Samples = r.calls.Samples[:0], r.exchange.Samples[:0]
	groups := r.calls.Call(c, src)
	for by := range groups.All() {
		r.exchange.Grouped(by, c, src, src.Offset)
	}
	r.calls.Detections = append(r.calls.Detections, r.exchange.Detections...)
	return r.calls.Detections
}

// Known reports whether the detector's baseline of the call's entity has seen enough to speak.
func (r *Runner) Known(detectorID string, by detector.Entity, c *telemetry.Call) bool {
	s := r.exchange
	if by == detector.ByAgent {
		s = r.calls
	}
	return s.Known(detectorID, by, c)
}

// Outcome is how a test of a detector ended.
type Outcome struct {
	Detections []detector.Detection
	Offsets    []time.Duration // of the detections, from the start of the test
	Known      bool            // of the last call's entity, at the end
	Failure    string          // empty if the test holds
}
