// Package backtest runs detectors over calls that are already there, through the same
// shards as production: the tests in detector files, and history.
package backtest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Runner is the detect role without Kafka: one shard for the calls and one for the
// exchange, fed one call at a time.
type Runner struct {
	calls    *shard.Shard
	exchange exchange
	offset   int64
}

// NewRunner returns a runner that has seen nothing.
func NewRunner(plan *detector.Plan, opt shard.Options) *Runner {
	return &Runner{calls: shard.New(plan, opt), exchange: newExchange(plan, opt, 1)}
}

// Call judges a call as if it had been appended at its own time, and returns the
// detections that it led to. The slice is valid until the next Call.
func (r *Runner) Call(c *telemetry.Call) []shard.Detected {
	src := shard.Source{Topic: "estop.calls", Offset: r.offset, Appended: c.Time}
	r.offset++
	return r.exchange.deliver(r.calls, r.calls.Call(c, src), c, src)
}

// Known reports whether the detector's baseline of the call's entity has seen enough to speak.
func (r *Runner) Known(detectorID string, by detector.Entity, c *telemetry.Call) bool {
	s := r.exchange.shards[0]
	if by.Local() {
		s = r.calls
	}
	return s.Known(detectorID, by, c)
}

// Checkpoint is what a runner has learned so far, as production writes it to the state topic.
// Any number of runners can go on from it.
type Checkpoint struct {
	offset, sent    int64
	calls, exchange map[string][]byte // by entity
}

// Settle does what happens at a checkpoint in production: what changed is written, and who has
// been quiet for long rests. A runner of many calls needs it from time to time, or it holds on to
// all of them. What is written goes into the checkpoint, which must be given to all calls of Settle or
// to none; nil drops it.
func (r *Runner) Settle(into *Checkpoint) {
	calls, exchange := r.calls.Dirty(), r.exchange.shards[0].Dirty()
	if into == nil {
		return
	}
	if into.calls == nil {
		into.calls, into.exchange = map[string][]byte{}, map[string][]byte{}
	}
	into.offset, into.sent = r.offset, r.exchange.sent
	for _, s := range calls {
		into.calls[s.Key] = s.Value
	}
	for _, s := range exchange {
		into.exchange[s.Key] = s.Value
	}
}

// Resume returns a runner that goes on from a checkpoint, as production does after a restart.
func Resume(plan *detector.Plan, opt shard.Options, from *Checkpoint) (*Runner, error) {
	r := NewRunner(plan, opt)
	r.offset, r.exchange.sent = from.offset, from.sent
	for s, states := range map[*shard.Shard]map[string][]byte{r.calls: from.calls, r.exchange.shards[0]: from.exchange} {
		for _, key := range slices.Sorted(maps.Keys(states)) {
			if err := s.Restore(shard.EntityState{Key: key, Value: states[key]}); err != nil {
				return nil, fmt.Errorf("cannot go on from a checkpoint: %w", err)
			}
		}
	}
	return r, nil
}
