package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/revoke"
)

// EachRevocation calls each with the revocations that came to Kafka from a time on, in their order, up to those
// that are there when it begins. Releases are among them. A record that is none comes with an error; the others
// follow.
func EachRevocation(ctx context.Context, kafka []kgo.Opt, since time.Time, each func(revoke.Revocation, error)) error {
	return eachRecord(ctx, kafka, TopicRevocations, since, func(r *kgo.Record) error {
		var rec revoke.Record
		err := json.Unmarshal(r.Value, &rec)
		if err != nil {
			err = fmt.Errorf("cannot read the record at %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		each(rec.Revocation, err)
		return nil
	})
}

// Bounds returns where the partitions of a topic begin and end.
func Bounds(ctx context.Context, admin *kadm.Client, topic string) (starts, ends kadm.ListedOffsets, err error) {
	if starts, err = admin.ListStartOffsets(ctx, topic); err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot ask where %q begins: %w", topic, err)
	}
	if ends, err = admin.ListEndOffsets(ctx, topic); err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot ask where %q ends: %w", topic, err)
	}
	return starts, ends, nil
}

// PartitionReader returns a client that reads one partition from an offset on, control records too, so that its end is seen
// where a transaction stands there. It holds a few fetches at most.
func PartitionReader(kafka []kgo.Opt, topic string, partition int32, from int64) (*kgo.Client, error) {
	at := map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}
	cl, err := kgo.NewClient(slices.Concat(kafka, []kgo.Opt{
		kgo.ConsumePartitions(at), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxPartitionBytes(4 << 20), kgo.MaxConcurrentFetches(1),
	})...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	return cl, nil
}

// eachRecord calls each with the records of a topic from a time on, up to those that are there when it begins.
func eachRecord(ctx context.Context, kafka []kgo.Opt, topic string, since time.Time, each func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(kafka...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := admin.ListOffsetsAfterMilli(ctx, max(0, since.UnixMilli()), topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot find where in %q to begin: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot find the end of %q: %w", topic, err)
	}
	left := map[int32]int64{} // by partition, the offset to read up to
	from := map[int32]kgo.Offset{}
	starts.Each(func(start kadm.ListedOffset) {
		if end, ok := ends.Lookup(topic, start.Partition); ok && start.Offset < end.Offset {
			left[start.Partition], from[start.Partition] = end.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	if len(left) == 0 {
		return nil
	}
	return readRecords(ctx, kafka, topic, from, left, each)
}

func readRecords(ctx context.Context, kafka []kgo.Opt, topic string, from map[int32]kgo.Offset, left map[int32]int64, each func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(slices.Concat(kafka, []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})})...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("cannot read %q: %w", topic, err)
		}
		var broken error
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if err := each(r); err != nil && broken == nil {
				broken = fmt.Errorf("cannot read the record at %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
			}
		})
		if broken != nil {
			return broken
		}
	}
	return nil
}
