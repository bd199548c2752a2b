package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options say what the audit role reads and where its log is.
type Options struct {
	WriterOptions
	Kafka      []kgo.Opt
	Log        *slog.Logger          // default: slog.Default()
	Registerer prometheus.Registerer // default: nobody collects
}

// The times of the role.
const (
	refreshEvery = 30 * time.Second // looks for new partitions, and topics that were made again
	firstPause   = 100 * time.Millisecond
	mostPause    = 30 * time.Second
)

// Run keeps the log until ctx ends. Where the log cannot be written, or Kafka not be read,
// it says so, waits and goes on at the last checkpoint: records wait in Kafka. Only what no
// waiting heals ends it: another writer, a wrong key, a log that was tampered with.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	m := newMetrics(o.Registerer)
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		began := time.Now()
		err := once(ctx, o, m)
		if ctx.Err() != nil || err == nil {
			return nil
		}
		for _, final := range []error{ErrLocked, ErrTampered, ErrCheckpoint, errKey, errLeaves, errChunk} {
			if errors.Is(err, final) {
				return err
			}
		}
		if time.Since(began) > mostPause {
			pause = firstPause
		}
		m.failures.Inc()
		o.Log.Error("the audit log does not grow; records wait in Kafka until it does", "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// once opens the log and extends it until something fails or ctx ends.
func once(ctx context.Context, o Options, m *metrics) (err error) {
	w, err := OpenWriter(o.WriterOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	k, err := kgo.NewClient(append([]kgo.Opt{
		kgo.FetchMaxBytes(16 << 20), kgo.FetchMaxPartitionBytes(2 << 20), kgo.MaxConcurrentFetches(2),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, o.Kafka...)...)
	if err != nil {
		return fmt.Errorf("cannot open Kafka: %w", err)
	}
	defer k.Close()
	r := &reading{w: w, kafka: k, admin: kadm.NewClient(k), log: o.Log, metrics: m, ids: map[string][16]byte{}, taken: map[source]bool{}}
	o.Log.Info("audit role starts", "dir", o.Dir, "chunks", w.Size(), "origin", w.signer.name)
	return r.run(ctx)
}

// reading is one turn of the role.
type reading struct {
	w       *Writer
	kafka   *kgo.Client
	admin   *kadm.Client
	log     *slog.Logger
	metrics *metrics
	ids     map[string][16]byte // of topics, by name
	taken   map[source]bool
}

func (r *reading) run(ctx context.Context) error {
	var refreshed time.Time
	for {
		if time.Since(refreshed) > refreshEvery {
			if err := r.refresh(ctx); err != nil {
				return err
			}
			refreshed = time.Now()
		}
		if err := r.poll(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil || r.w.Due() <= 0 {
			if err := r.publish(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// errTopicRecreated says that a topic was made again: its offsets begin anew.
var errTopicRecreated = errors.New("a topic was deleted and made again")

// refresh begins to read the partitions that are not read yet, where the log ends.
func (r *reading) refresh(ctx context.Context) error {
	topics, err := r.admin.ListTopics(ctx, Topics()...)
	if err != nil {
		return fmt.Errorf("cannot read the topics' ids: %w", err)
	}
	add := map[string]map[int32]kgo.Offset{}
	for name, t := range topics {
		if t.Err != nil {
			continue // not made yet
		}
		id := [16]byte(t.ID)
		if was, known := r.ids[name]; known && was != id {
			return fmt.Errorf("cannot go on with topic %q: %w", name, errTopicRecreated)
		}
		r.ids[name] = id
		for _, p := range t.Partitions {
			at := source{id, p.Partition}
			if r.taken[at] {
				continue
			}
			r.taken[at] = true
			from := kgo.NewOffset().AtStart()
			if next, ok := r.w.Next(id, p.Partition); ok {
				from = kgo.NewOffset().At(next)
			}
			if add[name] == nil {
				add[name] = map[int32]kgo.Offset{}
			}
			add[name][p.Partition] = from
		}
	}
	if len(add) > 0 {
		r.kafka.AddConsumePartitions(add)
	}
	return nil
}

// poll takes what Kafka has, and waits for it no longer than the pending chunks may.
func (r *reading) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(time.Millisecond, min(r.w.Due(), refreshEvery)))
	defer cancel()
	fetches := r.kafka.PollRecords(ctx, 1<<13)
	var failure error
	fetches.EachTopic(func(t kgo.FetchTopic) {
		id := r.ids[t.Topic]
		t.EachPartition(func(p kgo.FetchPartition) {
			if t.TopicID != id && len(p.Records) > 0 {
				failure = fmt.Errorf("cannot go on with topic %q: %w", t.Topic, errTopicRecreated)
				return
			}
			for _, record := range p.Records {
				r.warnOfGap(id, record)
				r.w.Add(id, record)
			}
		})
	})
	fetches.EachError(func(topic string, partition int32, err error) {
		if ctx.Err() == nil {
			r.log.Warn("cannot fetch", "role", "audit", "topic", topic, "partition", partition, "err", err)
		}
	})
	return failure
}

// warnOfGap says where Kafka dropped records before the log had them.
func (r *reading) warnOfGap(id [16]byte, record *kgo.Record) {
	next, known := r.w.Pending(id, record.Partition)
	if !known || record.Offset <= next || compacted(record.Topic) {
		return
	}
	r.metrics.gaps.Add(float64(record.Offset - next))
	r.log.Debug("offsets without a record", "topic", record.Topic, "partition", record.Partition, "from", next, "to", record.Offset)
}

// publish publishes what is pending and then tells Kafka how far the log is. That word is
// for lag and retention: the log itself says where it goes on.
func (r *reading) publish() error {
	leaves, began := r.w.leaves, time.Now()
	if leaves == 0 {
		return nil
	}
	if err := r.w.Publish(); err != nil {
		return err
	}
	r.metrics.leaves.Add(float64(leaves))
	r.metrics.checkpoints.Inc()
	r.metrics.chunks.Set(float64(r.w.Size()))
	r.metrics.seconds.Observe(time.Since(began).Seconds())
	offsets := kadm.Offsets{}
	for topic, id := range r.ids {
		for at := range r.taken {
			if next, ok := r.w.Next(id, at.partition); ok && at.id == id {
				offsets.AddOffset(topic, at.partition, next, -1)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if answers, err := r.admin.CommitOffsets(ctx, Group, offsets); errors.Join(err, answers.Error()) != nil {
		r.log.Warn("cannot tell Kafka how far the audit log is; the next time will do", "err", errors.Join(err, answers.Error()))
	}
	return nil
}

// Metrics registers the role's metrics, as Run does.
func Metrics(r prometheus.Registerer) { newMetrics(r) }

// metrics are what the role counts.
type metrics struct {
	leaves, checkpoints, failures, gaps prometheus.Counter
	chunks                              prometheus.Gauge
	seconds                             prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "estop_audit_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		leaves:      counter("leaves_total", "Leaves that were published in the audit log."),
		checkpoints: counter("checkpoints_total", "Checkpoints of the audit log that were published."),
		failures:    counter("failures_total", "Times that the audit log could not grow; records waited in Kafka."),
		gaps:        counter("missing_offsets_total", "Offsets that had no record when the audit role came to them."),
		chunks:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "estop_audit_chunks", Help: "Chunks that the audit log has."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "estop_audit_publish_seconds", Help: "How long it takes to publish a checkpoint.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	r.MustRegister(m.chunks, m.seconds)
	return m
}
