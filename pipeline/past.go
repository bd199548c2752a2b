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
// that are there when it begins. Releases are among them.
func EachRevocation(ctx context.Context, kafka []kgo.Opt, since time.Time, each func(revoke.Revocation)) error {
	cl, err := kgo.NewClient(kafka...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := admin.ListOffsetsAfterMilli(ctx, since.UnixMilli(), TopicRevocations)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot find the revocations since %v: %w", since, err)
	}
	ends, err := admin.ListEndOffsets(ctx, TopicRevocations)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot find the end of the revocations: %w", err)
	}
	left := map[int32]int64{} // by partition, the offset to read up to
	from := map[int32]kgo.Offset{}
	starts.Each(func(start kadm.ListedOffset) {
		if end, ok := ends.Lookup(TopicRevocations, start.Partition); ok && start.Offset < end.Offset {
			left[start.Partition], from[start.Partition] = end.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	if len(left) == 0 {
		return nil
	}
	return readRevocations(ctx, kafka, from, left, each)
}

func readRevocations(ctx context.Context, kafka []kgo.Opt, from map[int32]kgo.Offset, left map[int32]int64, each func(revoke.Revocation)) error {
	cl, err := kgo.NewClient(slices.Concat(kafka, []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{TopicRevocations: from})})...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("cannot read the revocations: %w", err)
		}
		var broken error
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			var rec revoke.Record
			if err := json.Unmarshal(r.Value, &rec); err != nil {
				broken = fmt.Errorf("cannot read the revocation at %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
				return
			}
			each(rec.Revocation)
		})
		if broken != nil {
			return broken
		}
	}
	return nil
}
