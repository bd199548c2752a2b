package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// Call returns a call of the agent in tenant t1 at a time, with the id that is given.
func Call(id, agent, resource string, at time.Time) *telemetry.Call {
	return &telemetry.Call{
		ID: []byte(id), Time: at.UnixNano(), Tenant: []byte("t1"), Agent: []byte(agent), Identity: []byte("role/" + agent),
		Session: []byte("s-" + agent), Action: []byte("read"), Resource: []byte(resource), BytesOut: 100,
	}
}

// Record is the call's record in the topic of calls.
func Record(c *telemetry.Call) *kgo.Record {
	return &kgo.Record{
		Topic: pipeline.TopicCalls, Key: telemetry.Key(c), Value: telemetry.AppendJSON(nil, c),
		Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeJSON)}},
	}
}

// Send appends calls and waits until Kafka has them.
func (r *Rig) Send(calls ...*telemetry.Call) {
	r.t.Helper()
	records := make([]*kgo.Record, len(calls))
	for i, c := range calls {
		records[i] = Record(c)
	}
	r.SendRecords(records...)
}

// SendRecords appends records and waits until Kafka has them.
func (r *Rig) SendRecords(records ...*kgo.Record) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		r.t.Fatalf("cannot append: %v", err)
	}
}

// Produce appends a record and does not wait; lost tells of one that Kafka never took.
func (r *Rig) Produce(record *kgo.Record, lost func(error)) {
	r.producer.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			lost(err)
		}
	})
}

// Flush waits until Kafka has all that was produced.
func (r *Rig) Flush() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.producer.Flush(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// Records returns all records of a topic, partition by partition.
func (r *Rig) Records(topic string) []*kgo.Record {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin := kadm.NewClient(r.producer)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []*kgo.Record
	for p := range int32(len(ends[topic])) {
		start, _ := starts.Lookup(topic, p)
		end, _ := ends.Lookup(topic, p)
		all = append(all, r.partition(ctx, topic, p, start.Offset, end.Offset)...)
	}
	return all
}

func (r *Rig) partition(ctx context.Context, topic string, p int32, start, end int64) []*kgo.Record {
	r.t.Helper()
	if start >= end {
		return nil
	}
	cl, err := kgo.NewClient(append(r.Seeds(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(start)}}))...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for next := start; next < end; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("cannot read %s/%d from %d to %d: %v", topic, p, next, end, fetches.Err())
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			all = append(all, rec)
			next = rec.Offset + 1
		})
	}
	return all
}

// Read returns the records of a topic as values of their type.
func Read[T detector.Detection | revoke.Record | revoke.Decision | revoke.Ack](t testing.TB, r *Rig, topic string) []T {
	t.Helper()
	var all []T
	for _, rec := range r.Records(topic) {
		var v T
		if err := json.Unmarshal(rec.Value, &v); err != nil {
			t.Fatalf("%s/%d@%d: %v", topic, rec.Partition, rec.Offset, err)
		}
		all = append(all, v)
	}
	return all
}

// Detections returns the records of the topic of detections.
func (r *Rig) Detections() []detector.Detection {
	r.t.Helper()
	return Read[detector.Detection](r.t, r, pipeline.TopicDetections)
}

// Revocations returns the records of the topic of revocations.
func (r *Rig) Revocations() []revoke.Record {
	r.t.Helper()
	return Read[revoke.Record](r.t, r, pipeline.TopicRevocations)
}

// Lag says how far a group is from the end of topics, nil if it is there.
func (r *Rig) Lag(group string, topics ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	admin := kadm.NewClient(r.producer)
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	var behind error
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := committed.Lookup(end.Topic, end.Partition)
		if end.Offset > 0 && (!ok || at.At < end.Offset) {
			behind = fmt.Errorf("group %s is at %d of %d in %s/%d", group, at.At, end.Offset, end.Topic, end.Partition)
		}
	})
	return behind
}

// Committed returns how many records of a topic a group has committed, over all partitions.
func (r *Rig) Committed(group, topic string) (n int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	committed, err := kadm.NewClient(r.producer).FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.t.Fatal(err)
	}
	for _, at := range committed[topic] {
		n += max(0, at.At)
	}
	return n
}

// Judged waits until the detect role has committed all calls and all of the exchange.
func (r *Rig) Judged() {
	r.t.Helper()
	Await(r.t, time.Minute, func() error {
		if err := r.Lag(pipeline.Group, pipeline.TopicCalls); err != nil {
			return err // the exchange fills while calls are behind
		}
		return r.Lag(pipeline.Group, pipeline.TopicExchange)
	})
}
