package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/revoke"
)

// Options configure the detect role.
type Options struct {
	// Kafka are the options of every client: seed brokers and how to log in.
	Kafka []kgo.Opt
	Plan  *detector.Plan
	Shard shard.Options
	// Signer signs the revocations and Publisher sends them.
	Signer    *revoke.Signer
	Publisher *revoke.Publisher
	// CheckpointEvery is how often state and offsets are saved. Default 1 s.
	CheckpointEvery time.Duration
	// Now is the wall clock; it dates revocations and nothing else. Default time.Now.
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Detect is the detect role: it consumes calls, judges them, and answers detections.
type Detect struct {
	opt      Options
	plan     atomic.Pointer[detector.Plan]
	log      *slog.Logger
	metrics  *metrics
	client   *kgo.Client // consumes and commits
	producer *kgo.Client

	mu      sync.Mutex
	workers map[source]*worker
	failed  chan error
}

// NewDetect connects to Kafka. Run does the work and Close ends it.
func NewDetect(opt Options) (*Detect, error) {
	if opt.CheckpointEvery == 0 {
		opt.CheckpointEvery = time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	d := &Detect{opt: opt, log: opt.Log, metrics: newMetrics(opt.Registerer), workers: map[source]*worker{}, failed: make(chan error, 1)}
	d.plan.Store(opt.Plan)
	var err error
	if d.producer, err = kgo.NewClient(append(ProducerOptions(), opt.Kafka...)...); err != nil {
		return nil, fmt.Errorf("cannot make the producer: %w", err)
	}
	return d, nil
}

// Reload goes over to a new plan; each shard does so before its next records.
func (d *Detect) Reload(plan *detector.Plan) { d.plan.Store(plan) }

// Run works until ctx ends, then saves what it has and returns nil. An error means that
// the role could not go on; nothing is lost, the next run takes up at the last checkpoint.
func (d *Detect) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	opts := append(consumerOptions(), d.opt.Kafka...)
	opts = append(opts,
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { d.assigned(work, m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { d.revoked(m, true) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { d.revoked(m, false) }),
	)
	var err error
	if d.client, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("cannot make the consumer: %w", err)
	}
	err = d.poll(ctx)
	if err != nil {
		cancel() // nothing more may be committed
	}
	d.client.CloseAllowingRebalance() // revokes, so every worker saves
	d.producer.Close()
	return err
}

func (d *Detect) poll(ctx context.Context) error {
	polling, stop := context.WithCancel(ctx)
	defer stop()
	var failure error
	go func() {
		select {
		case failure = <-d.failed:
			stop()
		case <-polling.Done():
		}
	}()
	for {
		fetches := d.client.PollFetches(polling)
		if polling.Err() != nil {
			if ctx.Err() != nil {
				return nil
			}
			return failure
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			d.log.Warn("cannot fetch", "topic", topic, "partition", partition, "err", err)
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				d.hand(polling, source{p.Topic, p.Partition}, p.Records)
			}
		})
		d.client.AllowRebalance()
	}
}

// hand gives records to the worker of their partition.
func (d *Detect) hand(ctx context.Context, src source, records []*kgo.Record) {
	d.mu.Lock()
	w := d.workers[src]
	d.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.in <- records:
	case <-w.done:
	case <-ctx.Done():
	}
}

func (d *Detect) assigned(ctx context.Context, m map[string][]int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for topic, partitions := range m {
		for _, p := range partitions {
			w := newWorker(d, source{topic, p})
			d.workers[w.source] = w
			go w.run(ctx)
		}
	}
}

// revoked ends the workers of partitions that go to another process, or were lost to one.
func (d *Detect) revoked(m map[string][]int32, save bool) {
	var ended []*worker
	d.mu.Lock()
	for topic, partitions := range m {
		for _, p := range partitions {
			if w := d.workers[source{topic, p}]; w != nil {
				ended = append(ended, w)
				delete(d.workers, w.source)
			}
		}
	}
	d.mu.Unlock()
	for _, w := range ended {
		w.end(save)
	}
	for _, w := range ended {
		<-w.done
	}
}

// errCommit is wrapped where an offset could not be committed: Kafka does not answer, or the
// group is handing out its partitions anew. What the offset stands for is safe.
var errCommit = errors.New("cannot commit")

// commit writes the offset of a partition to its group.
func (d *Detect) commit(ctx context.Context, src source, next int64) error {
	var failed error
	offsets := map[string]map[int32]kgo.EpochOffset{src.topic: {src.partition: {Epoch: -1, Offset: next}}}
	d.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = commitError(resp, err)
	})
	if failed != nil {
		return fmt.Errorf("%w %s/%d at %d: %w", errCommit, src.topic, src.partition, next, failed)
	}
	return nil
}

// commitError returns the first error of a commit.
func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
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

func (d *Detect) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// jsonRecord writes v as the value of a record.
func jsonRecord(topic, key string, v any) *kgo.Record {
	value, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("pipeline: cannot write %T as JSON: %v", v, err)) // our own types, all finite
	}
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
}

func (w watermarks) clone() watermarks { return maps.Clone(w) }
