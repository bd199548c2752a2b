package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/statefile"
)

// beginCheckpoint saves, beside the work that goes on, what was processed so far.
func (w *worker) beginCheckpoint(ctx context.Context) {
	if w.saving != nil || w.next == w.committed {
		return
	}
	c := checkpoint{next: w.next, states: w.shard.Dirty(), origins: maps.Clone(w.origins)}
	if s, ok := w.access.state(); ok {
		c.states = append(c.states, w.access.records(s)...)
	}
	if l := w.local; l != nil && !l.broken && l.file.Bloated() {
		c.stored = w.shard.Places()
	}
	out := w.outputs
	w.outputs = &outputs{}
	w.committed = c.next
	saving := make(chan saved, 1)
	w.saving = saving
	go func() { saving <- w.save(ctx, c, out) }()
}

// saved is how a checkpoint ended.
type saved struct {
	err    error
	states []shard.EntityState
	broken bool            // the local file could not be written
	places []int64         // of the states in the local file; nil where they are in none
	anew   *statefile.File // the local file, if it was written anew,
	moved  []int64         // and where the states of all entities lie in it
}

// take takes in how a checkpoint ended.
func (w *worker) take(s saved) {
	if s.broken {
		w.local.broken = true
	}
	if s.places == nil {
		return
	}
	if s.anew != nil {
		w.local.file.Close()
		w.local.file = s.anew
		w.shard.Moved(s.moved)
	}
	w.shard.Stored(s.states, s.places)
}

// lastCheckpoint saves all that was processed, before the partition goes to somebody else.
// A commit that fails is no loss: the marker in the state tells how far it goes.
func (w *worker) lastCheckpoint(ctx context.Context) {
	w.flushSamples(ctx)
	for range 2 { // what is on its way, and what came since
		if w.saving != nil {
			s := <-w.saving
			w.take(s)
			if w.saving = nil; s.err != nil && !errors.Is(s.err, errCommit) {
				w.fail(ctx, s.err)
				return
			}
		}
		w.beginCheckpoint(ctx)
	}
}

// save makes a checkpoint safe, in the order that the comment on worker gives.
func (w *worker) save(ctx context.Context, c checkpoint, out *outputs) (s saved) {
	if s.err = out.wait(ctx); s.err != nil {
		return s
	}
	states, marker := w.records(c)
	if s.err = w.keep(ctx, states...); s.err != nil {
		return s
	}
	if s.err = w.keep(ctx, marker); s.err != nil {
		return s
	}
	w.copyLocally(c, &mark{marker.Offset, marker.Value}, &s)
	s.err = w.commit(ctx, c.next)
	return s
}

// copyLocally writes to the local file what the state topic now has. Without it nothing is lost: entities stay in
// memory, and the next start reads from the topic what the file lacks.
func (w *worker) copyLocally(c checkpoint, m *mark, s *saved) {
	l := w.local
	if l == nil || l.broken {
		return
	}
	places, err := l.write(c.states, m)
	if s.broken = err != nil; s.broken {
		w.detect.metrics.localFailed.Inc()
		w.log.Error("the local state file is not written any more, and no agent is put away, until the next start", "err", err)
		return
	}
	s.states, s.places = c.states, places
	if c.stored == nil {
		return
	}
	if s.anew, err = l.compact(c.stored, s.places); err != nil {
		w.log.Warn("the local state file stays as long as it is", "err", err)
		return
	}
	s.moved = c.stored
}

// keep writes records to the state topic. They go by the worker's context: once somebody else has the partition, a
// state that is late must not come after his. Another worker's end takes those along that wait in a batch with its own;
// they are written again.
func (w *worker) keep(ctx context.Context, records ...*kgo.Record) error {
	for {
		err := w.detect.producer.ProduceSync(ctx, records...).FirstErr()
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil || w.detect.sending.Err() != nil {
			return err
		}
	}
}

// wait returns when all outputs are acknowledged.
func (o *outputs) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { o.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errCommit is wrapped where an offset could not be committed: Kafka does not answer, or the
// group is handing out its partitions anew. What the offset stands for is safe.
var errCommit = errors.New("cannot commit")

// commit writes the offset of the worker's partition to the group.
func (w *worker) commit(ctx context.Context, next int64) error {
	var failed error
	offsets := map[string]map[int32]kgo.EpochOffset{w.topic: {w.partition: {Epoch: -1, Offset: next}}}
	w.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = CommitError(resp, err)
	})
	if failed != nil {
		return fmt.Errorf("%w %s/%d at %d: %w", errCommit, w.topic, w.partition, next, failed)
	}
	return nil
}

// CommitError returns the first error of a commit of offsets.
func CommitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
