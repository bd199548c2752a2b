package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/revoke"
)

// Options configure the detect role.
type Options struct {
	// Kafka are the options of every client: seed brokers and how to log in.
	Kafka []kgo.Opt
	Plan  *detector.Plan
	Shard shard.Options
	// Graph is the access graph that explains detections; nil: none. It runs a few computations at
	// a time for all partitions, unless Run says otherwise.
	Graph *graph.Options
	// Signer signs the revocations and Publisher sends them.
	Signer    *revoke.Signer
	Publisher *revoke.Publisher
	// Risks sends how high the risks of agents are; nil: nobody is told.
	Risks *revoke.RiskPublisher
	// Interlock is the publisher's; nil: none. Census tells it how many agents there are.
	Interlock *revoke.Interlock
	Census    *Census
	// StateDir is the folder of the local state files, from which a restart goes on at once; empty: it reads the state
	// topic. Memory bounds what the entities of all shards take together, in bytes: past it those that are idle longest
	// are read back from those files when they are needed. 0, or without files: no bound.
	StateDir string
	Memory   int64
	slack    int64 // of those files, if it is not their default
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
	risks    *risks // nil: nobody is told
	producer *kgo.Client
	// sending ends when the role gives up. What workers send goes by it and not by a context of their own: a
	// batch holds records of several workers, and one whose context ends takes the others along.
	sending context.Context

	used atomic.Int64 // bytes that the entities of all shards take

	mu      sync.Mutex
	workers map[source]*worker
	failed  chan error
}

// NewDetect makes the role. Run does the work.
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
	if opt.Shard.MaxAhead == 0 {
		opt.Shard.MaxAhead = time.Minute // the graph's calls are held to the same bound
	}
	if opt.Graph != nil {
		opt.Graph = poolOf(*opt.Graph)
	}
	d := &Detect{opt: opt, log: opt.Log, metrics: newMetrics(opt.Registerer), workers: map[source]*worker{}, failed: make(chan error, 1)}
	d.plan.Store(opt.Plan)
	if opt.Risks != nil {
		d.opt.Shard.Risk = true
		d.risks = newRisks(d.opt, d.metrics)
	}
	var err error
	if d.producer, err = kgo.NewClient(append(ProducerOptions(), opt.Kafka...)...); err != nil {
		return nil, fmt.Errorf("cannot make the producer: %w", err)
	}
	return d, nil
}

// poolOf returns the options with a pool of a quarter of the processors for the computations of
// snapshots: that of a large graph takes seconds, and the calls come first.
func poolOf(o graph.Options) *graph.Options {
	o.Keep = true
	if o.Run == nil {
		pool := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/4))
		o.Run = func(compute func()) {
			go func() {
				pool <- struct{}{}
				defer func() { <-pool }()
				compute()
			}()
		}
	}
	return &o
}

// Reload goes over to a new plan; each shard does so before its next records.
func (d *Detect) Reload(plan *detector.Plan) { d.plan.Store(plan) }

// Refuse says how many detector files are wrong now.
func (d *Detect) Refuse(files int) { d.metrics.refusedFiles.Set(float64(files)) }

// Run works until ctx ends, then saves what it has and returns nil. An error means that
// the role could not go on; nothing is lost, the next run takes up at the last checkpoint.
func (d *Detect) Run(ctx context.Context) error {
	defer d.producer.Close()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d.sending = work
	opts := append(consumerOptions(), d.opt.Kafka...)
	opts = append(opts,
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, m map[string][]int32) { d.assigned(work, cl, m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { d.revoked(m, true) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { d.revoked(m, false) }),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("cannot make the consumer: %w", err)
	}
	if d.risks != nil {
		var done sync.WaitGroup
		defer done.Wait()
		risking, stop := context.WithCancel(ctx)
		defer stop()
		done.Go(func() { d.risks.run(risking) })
	}
	err = d.poll(ctx, client)
	if err != nil {
		cancel() // nothing more may be committed
	}
	client.CloseAllowingRebalance() // revokes, so every worker saves
	return err
}

func (d *Detect) poll(ctx context.Context, client *kgo.Client) error {
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
		fetches := client.PollFetches(polling)
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
		client.AllowRebalance()
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

// assigned starts a worker for each partition. It may be called before NewClient returns, so
// the client is the one that calls.
func (d *Detect) assigned(ctx context.Context, client *kgo.Client, m map[string][]int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for topic, partitions := range m {
		for _, p := range partitions {
			w := newWorker(d, client, source{topic, p})
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
