package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/history"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// tables are the topics whose every record is a row, with the column of ClickHouse that names it.
var tables = []struct{ topic, table, id string }{
	{pipeline.TopicCalls, "calls", "id"},
	{pipeline.TopicDetections, "detections", "id"},
	{pipeline.TopicRevocations, "revocations", "id"},
	{pipeline.TopicAcks, "acks", "revocation"},
}

// behind says how far a group is from the ends of topics; "" if it is there.
func (k *kafkaCluster) behind(ctx context.Context, group string, topics ...string) (string, error) {
	cl, err := kgo.NewClient(k.seeds()...)
	if err != nil {
		return "", err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	_, ends, err := bounds(ctx, admin, topics)
	if err != nil {
		return "", err
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return "", fmt.Errorf("cannot ask where group %s is: %w", group, err)
	}
	text := ""
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := committed.Lookup(end.Topic, end.Partition)
		if end.Offset > 0 && (!ok || at.At < end.Offset) {
			text = fmt.Sprintf("group %s is at %d of %d in %s/%d", group, at.At, end.Offset, end.Topic, end.Partition)
		}
	})
	return text, nil
}

func bounds(ctx context.Context, admin *kadm.Client, topics []string) (starts, ends kadm.ListedOffsets, err error) {
	starts, ends = kadm.ListedOffsets{}, kadm.ListedOffsets{}
	for _, topic := range topics {
		s, e, err := pipeline.Bounds(ctx, admin, topic)
		if err != nil {
			return nil, nil, err
		}
		starts[topic], ends[topic] = s[topic], e[topic]
	}
	return starts, ends, nil
}

// records returns all records of a topic, those of each partition in order.
func (k *kafkaCluster) records(ctx context.Context, topic string) ([]*kgo.Record, error) {
	cl, err := kgo.NewClient(k.seeds()...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	starts, ends, err := bounds(ctx, kadm.NewClient(cl), []string{topic})
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{} // where each partition that is not read yet ends
	from := map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if s, _ := starts.Lookup(topic, end.Partition); s.Offset < end.Offset {
			left[end.Partition], from[end.Partition] = end.Offset, kgo.NewOffset().At(s.Offset)
		}
	})
	reader, err := kgo.NewClient(append(k.seeds(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer reader.Close()
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cannot read %s, of which %d partitions are left: %w", topic, len(left), ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, ok := left[r.Partition]; ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all, nil
}

// read returns the records of a topic as values.
func read[T any](records []*kgo.Record) ([]T, error) {
	all := make([]T, len(records))
	for i, r := range records {
		if err := json.Unmarshal(r.Value, &all[i]); err != nil {
			return nil, fmt.Errorf("cannot read %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	return all, nil
}

// collect reads from the engines what the history says of them.
func (c *Cluster) collect(ctx context.Context, h *check.History) error {
	store, err := ch.Open(&ch.Options{Addr: []string{c.clickhouse}, Protocol: ch.HTTP, Auth: ch.Auth{Database: "estop", Username: "default"}})
	if err != nil {
		return fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	defer store.Close()
	for _, t := range tables {
		records, err := c.kafka.records(ctx, t.topic)
		if err != nil {
			return err
		}
		topic := check.Topic{Name: t.topic}
		for _, r := range records {
			id, err := idOf(r)
			if err != nil {
				return err
			}
			topic.Records = append(topic.Records, check.Row{Place: check.Place{Partition: r.Partition, Offset: r.Offset}, ID: id})
		}
		if topic.Rows, err = rows(ctx, store, t.table, t.id); err != nil {
			return err
		}
		h.Topics = append(h.Topics, topic)
		if err := addDecisions(h, t.topic, records); err != nil {
			return err
		}
	}
	h.Reference, err = c.kafka.reference(ctx)
	return err
}

// idOf returns the id that a record's row must have.
func idOf(r *kgo.Record) (string, error) {
	if r.Topic == pipeline.TopicCalls {
		var d telemetry.Decoder
		var call telemetry.Call
		d.Start(pipeline.FormatOf(r), r.Value)
		if err := d.Next(&call); err != nil {
			return "", fmt.Errorf("cannot read the call at %d/%d: %w", r.Partition, r.Offset, err)
		}
		return string(call.ID), nil
	}
	var named struct{ ID, Revocation string }
	if err := json.Unmarshal(r.Value, &named); err != nil {
		return "", fmt.Errorf("cannot read %s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	if r.Topic == pipeline.TopicAcks {
		return named.Revocation, nil
	}
	return named.ID, nil
}

func rows(ctx context.Context, store ch.Conn, table, id string) ([]check.Row, error) {
	found, err := store.Query(ctx, fmt.Sprintf("SELECT partition, offset, part, %s FROM %s", id, table))
	if err != nil {
		return nil, fmt.Errorf("cannot read table %s: %w", table, err)
	}
	defer found.Close()
	var all []check.Row
	for found.Next() {
		var r check.Row
		if err := found.Scan(&r.Partition, &r.Offset, &r.Part, &r.ID); err != nil {
			return nil, fmt.Errorf("cannot read a row of table %s: %w", table, err)
		}
		all = append(all, r)
	}
	return all, found.Err()
}

// addDecisions takes detections and revocations into the history.
func addDecisions(h *check.History, topic string, records []*kgo.Record) error {
	switch topic {
	case pipeline.TopicDetections:
		all, err := read[detector.Detection](records)
		if err != nil {
			return err
		}
		for i := range all {
			h.Detections = append(h.Detections, detection(&all[i]))
		}
	case pipeline.TopicRevocations:
		all, err := read[revoke.Record](records)
		if err != nil {
			return err
		}
		for _, r := range all {
			h.Revocations = append(h.Revocations, check.Revocation{ID: r.ID, Target: target(r.Tenant, r.Scope, r.Subject)})
		}
	}
	return nil
}

// detection is a detection as the checker sees it. Each of this campaign's detectors stops somebody.
func detection(d *detector.Detection) check.Detection {
	scope, subject := revoke.Agent, d.Agent
	if d.EntityBy == "session" {
		scope, subject = revoke.Session, d.Session
	}
	return check.Detection{
		ID: d.ID, Detector: d.Detector, Target: target(d.Tenant, scope, subject), Call: d.CallID,
		At: check.Place{Partition: d.Partition, Offset: d.Offset}, Reason: d.Reason, Evidence: d.LogEvidence, Revocation: d.Revocation,
	}
}

// reference is what an undisturbed replay of the log of calls finds, by the code of estop backtest.
func (k *kafkaCluster) reference(ctx context.Context) ([]check.Detection, error) {
	log, err := history.OpenKafka(ctx, k.seeds())
	if err != nil {
		return nil, err
	}
	set, errs := detector.Load(detectorFiles())
	if err := errs.Err(); err != nil {
		return nil, fmt.Errorf("cannot load the detectors: %w", err)
	}
	report, err := backtest.Run(ctx, log, set, backtest.Options{Examples: math.MaxInt})
	if err != nil {
		return nil, fmt.Errorf("cannot replay the log: %w", err)
	}
	var all []check.Detection
	for _, d := range report.Detectors {
		for i := range d.Examples {
			r := detection(&d.Examples[i].Detection)
			r.Revocation = ""
			all = append(all, r)
		}
	}
	return all, nil
}

// recovered waits until the groups have read all that there is, and says what did not.
func (c *Cluster) recovered(ctx context.Context, groups map[string][]string) (behind []string) {
	end := time.Now().Add(recoverLimit)
	for group, topics := range groups {
		last := ""
		err := until(ctx, max(time.Second, time.Until(end)), "group "+group+" is at the end", func(ctx context.Context) error {
			text, err := c.kafka.behind(ctx, group, topics...)
			if err == nil && text != "" {
				err = errors.New(text)
			}
			if err != nil {
				last = err.Error()
			}
			return err
		})
		if err != nil {
			behind = append(behind, last)
		}
	}
	slices.Sort(behind)
	return behind
}

// judging and keeping are the groups of the roles, with their topics.
var (
	judging = map[string][]string{pipeline.Group: {pipeline.TopicCalls, pipeline.TopicExchange}}
	keeping = map[string][]string{archive.DefaultGroup: archive.Topics()}
)
