package notify

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// track keeps which records of a partition are done. Lanes finish in any order; what may be
// committed is what lies before the first that is not done.
type track struct {
	ctx  context.Context // ends when the partition goes to another process
	stop context.CancelFunc

	mu        sync.Mutex
	pending   []*entry // in the order of offsets
	next      kgo.EpochOffset
	committed int64
}

// entry is one record on its way.
type entry struct {
	offset int64
	epoch  int32
	done   bool
}

func newTrack(ctx context.Context) *track {
	t := &track{committed: -1, next: kgo.EpochOffset{Epoch: -1, Offset: -1}}
	t.ctx, t.stop = context.WithCancel(ctx)
	return t
}

func (t *track) begin(r *kgo.Record) *entry {
	e := &entry{offset: r.Offset, epoch: r.LeaderEpoch}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, e)
	return e
}

func (t *track) finish(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.done = true
	n := 0
	for ; n < len(t.pending) && t.pending[n].done; n++ {
		t.next = kgo.EpochOffset{Epoch: t.pending[n].epoch, Offset: t.pending[n].offset + 1}
	}
	clear(t.pending[:n]) // what is done need not stay in memory
	t.pending = t.pending[n:]
}

// position returns where to go on after a restart, and whether that is not committed yet.
func (t *track) position() (kgo.EpochOffset, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next, t.next.Offset > t.committed
}

func (t *track) saved(at kgo.EpochOffset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed = max(t.committed, at.Offset)
}

// committed returns what a group has committed. One that never was has committed nothing.
func committed(ctx context.Context, admin *kadm.Client, group string) (kadm.OffsetResponses, error) {
	have, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return kadm.OffsetResponses{}, nil
	}
	return have, err
}
