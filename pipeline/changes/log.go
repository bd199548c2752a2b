package changes

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
)

// log is what Kafka holds of the changes, as far as it was read.
type log struct {
	opts  []kgo.Opt
	warn  *slog.Logger
	next  map[int32]int64  // by partition: the first offset that was not read
	state map[string]state // by key of the detector: its last record
}

// open connects, and reads on to the end of the topic.
func (l *log) open(ctx context.Context) (*kgo.Client, error) {
	cl, err := kgo.NewClient(slices.Concat(pipeline.ProducerOptions(), l.opts)...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	if err := l.catchUp(ctx, cl); err != nil {
		cl.Close()
		return nil, fmt.Errorf("cannot read the changes of detectors: %w", err)
	}
	return cl, nil
}

func (l *log) catchUp(ctx context.Context, cl *kgo.Client) error {
	admin := kadm.NewClient(cl)
	starts, ends, err := pipeline.Bounds(ctx, admin, pipeline.TopicChanges)
	if err != nil {
		return err
	}
	for p, end := range ends[pipeline.TopicChanges] {
		if l.next[p] > end.Offset {
			l.next = nil // the topic was made anew
		}
	}
	if l.next == nil {
		l.next, l.state = map[int32]int64{}, map[string]state{}
	}
	missing := map[int32]int64{} // by partition: the end
	from := map[int32]kgo.Offset{}
	for p, end := range ends[pipeline.TopicChanges] {
		start, _ := starts.Lookup(pipeline.TopicChanges, p)
		l.next[p] = max(l.next[p], start.Offset)
		if l.next[p] < end.Offset {
			missing[p], from[p] = end.Offset, kgo.NewOffset().At(l.next[p])
		}
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{pipeline.TopicChanges: from})
	for len(missing) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l.read(r)
			if l.next[r.Partition] = r.Offset + 1; r.Offset+1 >= missing[r.Partition] {
				delete(missing, r.Partition)
			}
		})
	}
	return nil
}

// read takes in a record. Where two processes gave two changes the same number, the last one counts.
func (l *log) read(r *kgo.Record) {
	var c detector.ChangeRecord
	if err := json.Unmarshal(r.Value, &c); err != nil || c.Detector == "" {
		l.warn.Warn("a record of a change of a detector cannot be read; it is passed over", "partition", r.Partition, "offset", r.Offset, "err", err)
		return
	}
	if c.Number >= l.state[c.Key()].number {
		l.state[c.Key()] = recorded(&c)
	}
}

// append writes changes down.
func (l *log) append(ctx context.Context, cl *kgo.Client, all []detector.ChangeRecord) error {
	var records []*kgo.Record
	for _, c := range all {
		value, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("cannot write a change of detector %q as JSON: %w", c.Detector, err)
		}
		records = append(records, &kgo.Record{Topic: pipeline.TopicChanges, Key: []byte(c.ID), Value: value})
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("cannot write the changes of detectors: %w", err)
	}
	return nil
}
