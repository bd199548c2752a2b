package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
)

// ClickHouse is what the archive has of the audited topics. It keeps each call whole; of
// other records the log commits to bytes that its columns do not hold, so that only their
// places are compared.
type ClickHouse struct {
	store  driver.Conn
	reader *archive.Reader
	kafka  *Kafka // how far the archive is; nil: as far as the log
	call   []byte
}

// NewClickHouse reads over an open connection. With Kafka it knows what the archive has yet
// to store.
func NewClickHouse(store driver.Conn, kafka *Kafka) *ClickHouse {
	return &ClickHouse{store: store, reader: archive.NewReader(store), kafka: kafka}
}

// Name is clickhouse.
func (c *ClickHouse) Name() string { return "clickhouse" }

// tables of the audited topics.
var tables = map[string]string{
	pipeline.TopicCalls: "calls", pipeline.TopicDetections: "detections", pipeline.TopicRevocations: "revocations",
	pipeline.TopicDecisions: "decisions", pipeline.TopicAcks: "acks", pipeline.TopicChanges: "changes",
}

// Bounds reach as far as the archive's group has committed.
func (c *ClickHouse) Bounds(_ context.Context, s Span) (first, end int64, ok bool, err error) {
	if c.kafka == nil {
		return 0, math.MaxInt64, true, nil
	}
	at := source{s.TopicID, s.Partition}
	if _, live := c.kafka.ids[s.TopicID]; !live {
		return 0, math.MaxInt64, true, nil // the topic was made again; this one was archived or never will be
	}
	return 0, c.kafka.archived[at], true, nil
}

// Demands is false for what became a dead letter: it has no row.
func (c *ClickHouse) Demands(l *StoredLeaf) bool { return l.Subject != Subject{} }

// logOf is how the archive writes the id of a topic.
func logOf(id [16]byte) string { return base64.StdEncoding.EncodeToString(id[:]) }

// Rows gives the rows of a span.
func (c *ClickHouse) Rows(ctx context.Context, s Span, each func(Row) error) error {
	if s.Topic == pipeline.TopicCalls {
		return c.calls(ctx, archive.CallsQuery{Span: &archive.Span{
			LogPartition: archive.LogPartition{Log: logOf(s.TopicID), Partition: s.Partition}, First: s.First, Last: s.Last,
		}}, each)
	}
	rows, err := c.store.Query(ctx, "SELECT offset, part FROM "+tables[s.Topic]+" WHERE log = ? AND partition = ? AND offset BETWEEN ? AND ?",
		logOf(s.TopicID), s.Partition, s.First, s.Last)
	if err != nil {
		return fmt.Errorf("cannot read the rows of %s: %w", s.Topic, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Row
		if err := rows.Scan(&r.Offset, &r.Part); err != nil {
			return fmt.Errorf("cannot read the rows of %s: %w", s.Topic, err)
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *ClickHouse) calls(ctx context.Context, q archive.CallsQuery, each func(Row) error) error {
	return c.reader.Calls(ctx, q, func(s archive.Stored) error {
		c.call = AppendCall(c.call[:0], s.Call)
		return each(Row{
			Offset: s.Offset, Part: s.Part, Whole: true, Appended: s.Appended.UnixMilli(), Payload: c.call,
			Subject: Subject{string(s.Call.Tenant), "agent", string(s.Call.Agent)},
		})
	})
}

// Payloads finds the payloads of calls by their places.
func (c *ClickHouse) Payloads(ctx context.Context, topic string, subject Subject, places []Place) (map[Place][]byte, error) {
	found := map[Place][]byte{}
	if topic != pipeline.TopicCalls {
		return found, nil
	}
	return found, spans(topic, places, func(s Span, wanted map[spot]bool) error {
		q := archive.CallsQuery{Tenant: subject.Tenant, Agent: subject.Name, Span: &archive.Span{
			LogPartition: archive.LogPartition{Log: logOf(s.TopicID), Partition: s.Partition}, First: s.First, Last: s.Last,
		}}
		return c.calls(ctx, q, func(r Row) error {
			if wanted[spot{r.Offset, r.Part}] {
				found[Place{s.TopicID, s.Partition, r.Offset, r.Part}] = append([]byte{}, r.Payload...)
			}
			return nil
		})
	})
}

// Beyond looks for rows of partitions and offsets that the log does not cover. What Kafka
// has not got to yet cannot be in ClickHouse.
func (c *ClickHouse) Beyond(ctx context.Context, covered map[string]map[source]Span) (added []Finding, unproved int64, err error) {
	for _, topic := range Topics() {
		spans := map[archive.LogPartition]Span{}
		for at, s := range covered[topic] {
			spans[archive.LogPartition{Log: logOf(at.id), Partition: at.partition}] = s
		}
		more, n, err := c.beyond(ctx, topic, spans)
		if err != nil {
			return nil, 0, err
		}
		added, unproved = append(added, more...), unproved+n
	}
	return added, unproved, nil
}

func (c *ClickHouse) beyond(ctx context.Context, topic string, spans map[archive.LogPartition]Span) (added []Finding, unproved int64, err error) {
	last, err := c.reader.LastOffsets(ctx, tables[topic])
	if err != nil {
		return nil, 0, err
	}
	for at := range last {
		span, known := spans[at]
		if !known {
			span = Span{Topic: topic, First: 0, Last: -1, Partition: at.Partition}
			if id, err := base64.StdEncoding.DecodeString(at.Log); err == nil && len(id) == 16 {
				span.TopicID = [16]byte(id)
			}
		}
		rows, err := c.store.Query(ctx, "SELECT offset, part FROM "+tables[topic]+" WHERE log = ? AND partition = ? AND (offset < ? OR offset > ?) ORDER BY offset, part",
			at.Log, at.Partition, span.First, span.Last)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot read the rows of %s: %w", topic, err)
		}
		for rows.Next() {
			var offset int64
			var part uint32
			if err := rows.Scan(&offset, &part); err != nil {
				rows.Close()
				return nil, 0, fmt.Errorf("cannot read the rows of %s: %w", topic, err)
			}
			if why := c.impossible(span, offset); why != "" {
				added = append(added, Finding{Added, c.Name(), topic, Place{span.TopicID, at.Partition, offset, part}, why})
				continue
			}
			unproved++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, 0, fmt.Errorf("cannot read the rows of %s: %w", topic, err)
		}
	}
	return added, unproved, nil
}

// impossible says why Kafka cannot have had a row's record; empty: it can.
func (c *ClickHouse) impossible(s Span, offset int64) string {
	if offset < 0 {
		return "no offset is negative"
	}
	if c.kafka == nil {
		return ""
	}
	b, ok := c.kafka.bounds[source{s.TopicID, s.Partition}]
	switch {
	case !ok && s.Last < 0:
		return "neither Kafka nor the log knows its partition"
	case !ok && offset > s.Last:
		return "the log ends before it, and the topic is gone"
	case ok && offset >= b[1]:
		return fmt.Sprintf("Kafka ends at offset %d", b[1]-1)
	}
	return ""
}

// Find returns where the call with an id is; the newest of several.
func (c *ClickHouse) Find(ctx context.Context, id string) (Place, error) {
	var log string
	var at Place
	row := c.store.QueryRow(ctx, "SELECT log, partition, offset, part FROM calls WHERE id = ? ORDER BY ingested_at DESC, offset DESC LIMIT 1", id)
	if err := row.Scan(&log, &at.Partition, &at.Offset, &at.Part); err != nil {
		return at, fmt.Errorf("cannot find the call %q in ClickHouse: %w", id, err)
	}
	raw, err := base64.StdEncoding.DecodeString(log)
	if err != nil || len(raw) != len(at.TopicID) {
		return at, fmt.Errorf("the call %q is of a topic %q that Kafka cannot have", id, log)
	}
	at.TopicID = [16]byte(raw)
	return at, nil
}
