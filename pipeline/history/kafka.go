package history

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/backtest"
)

// Kafka is the topic of calls, from the earliest record that is kept to the last one that was there when
// it was opened.
type Kafka struct {
	opts     []kgo.Opt
	parts    []part
	Progress Progress
}

// part is the stretch of a partition that is read.
type part struct {
	partition int32
	from, to  int64 // to is not read
}

// OpenKafka asks where the topic begins and ends.
func OpenKafka(ctx context.Context, opts []kgo.Opt) (*Kafka, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, ends, err := pipeline.Bounds(ctx, admin, pipeline.TopicCalls)
	if err != nil {
		return nil, err
	}
	k := &Kafka{opts: opts}
	starts.Each(func(o kadm.ListedOffset) {
		end, _ := ends.Lookup(o.Topic, o.Partition)
		k.parts = append(k.parts, part{o.Partition, o.Offset, end.Offset})
	})
	slices.SortFunc(k.parts, func(a, b part) int { return int(a.partition - b.partition) })
	return k, nil
}

// Partitions returns how many the topic has.
func (k *Kafka) Partitions() int { return max(1, len(k.parts)) }

// Read gives the records by the time of their append; of one millisecond, by partition.
func (k *Kafka) Read(ctx context.Context, each func(backtest.Entry) error) error {
	g, ctx := errgroup.WithContext(ctx)
	total := int64(0)
	var heads []*head
	for _, p := range k.parts {
		if p.from >= p.to {
			continue
		}
		total += p.to - p.from
		h := &head{part: p, in: make(chan []*kgo.Record, 2)}
		heads = append(heads, h)
		g.Go(func() error { return k.consume(ctx, h) })
	}
	g.Go(func() error { return k.merge(ctx, heads, total, each) })
	return g.Wait()
}

// head is the next records of a partition.
type head struct {
	part
	in   chan []*kgo.Record
	next []*kgo.Record
}

// consume reads one partition. It holds a few fetches at most.
func (k *Kafka) consume(ctx context.Context, h *head) error {
	defer close(h.in)
	cl, err := pipeline.PartitionReader(k.opts, pipeline.TopicCalls, h.partition, h.from)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("cannot read %s/%d: %w", pipeline.TopicCalls, h.partition, err)
		}
		for _, f := range fetches.Errors() {
			return fmt.Errorf("cannot read %s/%d: %w", f.Topic, f.Partition, f.Err)
		}
		records := fetches.Records()
		last := len(records) > 0 && records[len(records)-1].Offset >= h.to-1
		records = slices.DeleteFunc(records, func(r *kgo.Record) bool { return r.Offset >= h.to || r.Attrs.IsControl() })
		if len(records) > 0 {
			select {
			case h.in <- records:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if last {
			return nil
		}
	}
}

// merge gives the records of all partitions in one order.
func (k *Kafka) merge(ctx context.Context, heads []*head, total int64, each func(backtest.Entry) error) error {
	done := int64(0)
	heads = slices.DeleteFunc(heads, func(h *head) bool { return !h.fill() })
	for len(heads) > 0 {
		first := heads[0]
		for _, h := range heads[1:] {
			if h.next[0].Timestamp.Before(first.next[0].Timestamp) {
				first = h
			}
		}
		r := first.next[0]
		e := backtest.Entry{Source: pipeline.SourceOf(r), Format: pipeline.FormatOf(r), Raw: r.Value, Key: r.Key}
		if e.Key == nil {
			e.Key = []byte{} // it has none, so its calls are strays
		}
		if err := each(e); err != nil {
			return err
		}
		if done++; k.Progress != nil {
			k.Progress(done, total)
		}
		if first.next = first.next[1:]; !first.fill() {
			heads = slices.DeleteFunc(heads, func(h *head) bool { return h == first })
		}
	}
	return ctx.Err()
}

// fill waits for further records; it returns false at the end.
func (h *head) fill() bool {
	if len(h.next) > 0 {
		return true
	}
	records, ok := <-h.in
	h.next = records
	return ok
}
