package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
	out := w.outputs
	w.outputs = &outputs{}
	w.committed = c.next
	saving := make(chan error, 1)
	w.saving = saving
	go func() { saving <- w.save(ctx, c, out) }()
}

// lastCheckpoint saves all that was processed, before the partition goes to somebody else.
// A commit that fails is no loss: the marker in the state tells how far it goes.
func (w *worker) lastCheckpoint(ctx context.Context) {
	w.flushSamples(ctx)
	for range 2 { // what is on its way, and what came since
		if w.saving != nil {
			err := <-w.saving
			if w.saving = nil; err != nil && !errors.Is(err, errCommit) {
				w.fail(ctx, err)
				return
			}
		}
		w.beginCheckpoint(ctx)
	}
}

// save makes a checkpoint safe, in the order that the comment on worker gives.
func (w *worker) save(ctx context.Context, c checkpoint, out *outputs) error {
	if err := out.wait(ctx); err != nil {
		return err
	}
	states, marker := w.records(c)
	if err := w.keep(ctx, states...); err != nil {
		return err
	}
	if err := w.keep(ctx, marker); err != nil {
		return err
	}
	return w.commit(ctx, c.next)
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
