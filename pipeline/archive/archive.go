// Package archive projects Kafka into ClickHouse: every record of estop's topics becomes
// rows of a table, each row once, whatever crashes in between. docs/archive.md says what the
// tables hold, docs/decisions/0006-archive-exactly-once.md why it is done so.
//
// One worker for each partition cuts batches of consecutive records. Before it inserts a
// batch it commits, with the batch's first offset, which offset the batch ends at (intent.go).
// Whoever has the partition next finds that and repeats the very same batch with the same
// token, and ClickHouse drops what it has already (insert.go). Where ClickHouse claims to
// have what it has not, after a crash, the rows are put back (repair.go).
package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrTopicRecreated says that a topic was deleted and made again while it was archived. A
// new Run archives the new topic from its start; the rows of the old one stay.
var ErrTopicRecreated = errors.New("topic was deleted and made again")

// Archiver is one member of the group that archives. Any number may run.
type Archiver struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	outage  outage
	inserts chan struct{} // holds a value for each insert under way

	kafka     *kgo.Client
	connected chan struct{} // closed once kafka is set: callbacks begin before NewClient has returned
	store     driver.Conn

	mu      sync.Mutex
	workers map[place]*worker
	count   atomic.Int32 // of workers

	failed chan error // what ends Run

	hooks hooks
}

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return p.topic + "/" + strconv.Itoa(int(p.partition)) }

// hooks let tests crash an archiver where it hurts most. An error ends the worker at once.
type hooks struct {
	beforeInsert, afterInsert func(place, int64) error
}

// New checks the options. It connects to nothing; Run does.
func New(options Options) (*Archiver, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Archiver{
		options: options,
		log:     options.Logger,
		metrics: newMetrics(options.Registerer),
		inserts: make(chan struct{}, options.MaxInserts),
		workers: map[place]*worker{},
		failed:  make(chan error, 1),

		connected: make(chan struct{}),
	}
	a.outage = outage{log: a.log, clock: options.Clock}
	return a, nil
}

// Run archives until ctx ends; then it finishes the inserts under way, commits, leaves the
// group and returns nil. While ClickHouse is away it waits. It may be called once.
func (a *Archiver) Run(ctx context.Context) error {
	store, err := clickhouse.Open(&a.options.ClickHouse)
	if err != nil {
		return fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	defer store.Close()
	a.store = store
	if !a.migrate(ctx) {
		return nil
	}
	client, err := kgo.NewClient(a.consumer()...)
	if err != nil {
		return fmt.Errorf("cannot open Kafka: %w", err)
	}
	a.kafka = client
	close(a.connected)
	err = a.poll(ctx)
	client.CloseAllowingRebalance() // stops the workers by way of revoked
	a.stop(a.remove(nil), true)
	return err
}

// migrate applies the migrations as soon as ClickHouse lets it. It is false if ctx ended
// before.
func (a *Archiver) migrate(ctx context.Context) bool {
	for pause := newBackoff(); ; {
		began := a.options.Clock()
		err := Migrate(ctx, a.options.ClickHouse)
		if err == nil {
			a.outage.over(began)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		a.outage.failed(err)
		a.metrics.retries.Inc()
		if !pause.wait(ctx.Done()) {
			return false
		}
	}
}

// poll hands what Kafka has to the workers.
func (a *Archiver) poll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-a.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	for {
		fetches := a.kafka.PollRecords(ctx, a.options.MaxRows)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				a.log.Warn("cannot fetch", "topic", topic, "partition", partition, "error", err)
			}
		})
		err := a.dispatch(fetches)
		a.kafka.AllowRebalance()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		}
	}
}

// dispatch queues fetched records.
func (a *Archiver) dispatch(fetches kgo.Fetches) error {
	var failure error
	fetches.EachTopic(func(t kgo.FetchTopic) {
		t.EachPartition(func(p kgo.FetchPartition) {
			w := a.worker(place{t.Topic, p.Partition})
			if w == nil || len(p.Records) == 0 {
				return
			}
			if t.TopicID != w.topicID {
				failure = fmt.Errorf("cannot go on with topic %q: %w", t.Topic, ErrTopicRecreated)
				return
			}
			w.highWatermark.Store(p.HighWatermark)
			w.push(p.Records)
		})
	})
	return failure
}

// fail ends Run with err.
func (a *Archiver) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

func (a *Archiver) worker(at place) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[at]
}

// buffered returns how many bytes are fetched and in no batch yet.
func (a *Archiver) buffered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, w := range a.workers {
		n += w.queue.size()
	}
	return n
}

// share is how many bytes one partition may have queued.
func (a *Archiver) share() int {
	return max(1<<16, a.options.MaxBuffered/max(1, int(a.count.Load())))
}

// outage says once that ClickHouse is away, and once that it is back.
type outage struct {
	log   *slog.Logger
	clock func() time.Time

	mu    sync.Mutex
	since time.Time // of the first failure; zero: no outage
	last  time.Time // of the last failure
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = o.clock()
	if !o.since.IsZero() {
		return
	}
	o.since = o.last
	o.log.Warn("ClickHouse does not take rows; they wait in Kafka until it does", "error", err)
}

// over says that an attempt which began at a time has succeeded. One that began before the
// last failure was only quick enough: ClickHouse may be gone all the same.
func (o *outage) over(began time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || !began.After(o.last) {
		return
	}
	o.log.Info("ClickHouse takes rows again", "after", o.clock().Sub(o.since).Round(time.Millisecond))
	o.since = time.Time{}
}
