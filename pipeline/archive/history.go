package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Stored is a call with its place in Kafka.
type Stored struct {
	Call      *telemetry.Call
	Log       string // id of the topic
	Partition int32
	Offset    int64
	Part      uint32
	Appended  time.Time
}

// CallsQuery says which calls are read. Empty and zero mean all.
type CallsQuery struct {
	Tenant string
	Until  time.Time // by the calls' own time
	Before time.Time // that had come to Kafka by then, and not later
	Agent  string
	Span   *Span
}

// Span is a stretch of a partition, the last offset included.
type Span struct {
	LogPartition
	First, Last int64
}

// where returns the condition and its parameters.
func (q CallsQuery) where() (string, []any) {
	var terms []string
	var args []any
	if q.Tenant != "" {
		terms, args = append(terms, "tenant = @tenant"), append(args, clickhouse.Named("tenant", q.Tenant))
	}
	if !q.Until.IsZero() {
		terms, args = append(terms, "ts < fromUnixTimestamp64Nano(toInt64(@until))"), append(args, clickhouse.Named("until", q.Until.UnixNano()))
	}
	if !q.Before.IsZero() {
		terms, args = append(terms, "ingested_at <= fromUnixTimestamp64Milli(toInt64(@before))"), append(args, clickhouse.Named("before", q.Before.UnixMilli()))
	}
	if q.Agent != "" {
		terms, args = append(terms, "agent = @agent"), append(args, clickhouse.Named("agent", q.Agent))
	}
	if s := q.Span; s != nil {
		terms = append(terms, "log = @log AND partition = @partition AND offset BETWEEN @first AND @last")
		args = append(args, clickhouse.Named("log", s.Log), clickhouse.Named("partition", s.Partition), clickhouse.Named("first", s.First), clickhouse.Named("last", s.Last))
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

// CallsExtent is how much there is to be read.
type CallsExtent struct {
	Calls      uint64
	Partitions int
	Logs       uint64    // topics that the calls came from: more than one where it was made anew
	Last       time.Time // when the last of them came to Kafka
}

// CallsExtent returns how many calls there are.
func (r *Reader) CallsExtent(ctx context.Context, q CallsQuery) (CallsExtent, error) {
	var x CallsExtent
	var last int32
	where, args := q.where()
	row := r.store.QueryRow(ctx, "SELECT count(), max(partition), uniqExact(log), max(ingested_at) FROM calls"+where, args...)
	if err := row.Scan(&x.Calls, &last, &x.Logs, &x.Last); err != nil {
		return x, fmt.Errorf("cannot count the calls: %w", err)
	}
	x.Partitions = int(last) + 1
	return x, nil
}

// sortMemory is from how many bytes on ClickHouse sorts on disk.
const sortMemory = 256 << 20

// Calls gives the calls in the order in which they came to Kafka, as they are read.
func (r *Reader) Calls(ctx context.Context, q CallsQuery, each func(Stored) error) error {
	where, args := q.where()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_bytes_before_external_sort": sortMemory}))
	rows, err := r.store.Query(ctx, `SELECT log, partition, offset, part, ingested_at, id, ts, tenant, agent, identity, session, chain,
		action, resource, outcome, latency_ns, bytes_in, bytes_out, context, traceparent, sig FROM calls`+where+`
		ORDER BY ingested_at, partition, offset, part`, args...)
	if err != nil {
		return fmt.Errorf("cannot read the calls: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scanCall(rows)
		if err != nil {
			return fmt.Errorf("cannot read the calls: %w", err)
		}
		if err := each(s); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot read on in the calls: %w", err)
	}
	return nil
}

var outcomes = map[string]telemetry.Outcome{"denied": telemetry.OutcomeDenied, "error": telemetry.OutcomeError}

func scanCall(rows driver.Rows) (Stored, error) {
	var s Stored
	var id, tenant, agent, identity, session, action, resource, outcome, traceparent, sig string
	var ts time.Time
	var chain []string
	var entries map[string]string
	var latency int64
	c := &telemetry.Call{}
	err := rows.Scan(&s.Log, &s.Partition, &s.Offset, &s.Part, &s.Appended, &id, &ts, &tenant, &agent, &identity, &session, &chain,
		&action, &resource, &outcome, &latency, &c.BytesIn, &c.BytesOut, &entries, &traceparent, &sig)
	if err != nil {
		return s, err
	}
	c.Time, c.Latency, c.Outcome = ts.UnixNano(), time.Duration(latency), outcomes[outcome]
	c.ID, c.Tenant, c.Agent, c.Identity, c.Session = []byte(id), []byte(tenant), []byte(agent), []byte(identity), []byte(session)
	c.Action, c.Resource, c.Traceparent, c.Sig = []byte(action), []byte(resource), []byte(traceparent), []byte(sig)
	for _, member := range chain {
		c.Chain = append(c.Chain, []byte(member))
	}
	for key, value := range entries {
		c.Context = append(c.Context, telemetry.Pair{Key: []byte(key), Value: []byte(value)})
	}
	slices.SortFunc(c.Context, func(a, b telemetry.Pair) int { return strings.Compare(string(a.Key), string(b.Key)) })
	s.Call = c
	return s, nil
}

// Detection returns a detection by its id; ok is false where there is none.
func (r *Reader) Detection(ctx context.Context, id string) (d detector.Detection, ok bool, err error) {
	rows, err := r.store.Query(ctx, `SELECT id, ts, detector, version, canary, mode, severity, tags, tenant, entity_by, entity, agent, identity,
		session, action, resource, chain, call_id, source_topic, source_partition, source_offset, reason, log_evidence, log_level,
		budget, first_bad, features, signs, graph, step, late_ns, revocation FROM detections_once WHERE id = @id LIMIT 1`, clickhouse.Named("id", id))
	if err != nil {
		return d, false, fmt.Errorf("cannot read detection %q: %w", id, err)
	}
	defer rows.Close()
	if !rows.Next() {
		return d, false, rows.Err()
	}
	var features, signs, graph string
	var step int32
	err = rows.Scan(&d.ID, &d.Time, &d.Detector, &d.Version, &d.Canary, &d.Mode, &d.Severity, &d.Tags, &d.Tenant, &d.EntityBy, &d.Entity, &d.Agent, &d.Identity,
		&d.Session, &d.Action, &d.Resource, &d.Chain, &d.CallID, &d.Topic, &d.Partition, &d.Offset, &d.Reason, &d.LogEvidence, &d.LogLevel,
		&d.Budget, &d.FirstBad, &features, &signs, &graph, &step, (*int64)(&d.Late), &d.Revocation)
	if err == nil {
		err = unmarshal(features, &d.Features)
	}
	if err == nil {
		err = unmarshal(signs, &d.Signs)
	}
	if err == nil {
		err = unmarshal(graph, &d.Graph)
	}
	d.Step = int(step)
	if err != nil {
		return d, false, fmt.Errorf("cannot read detection %q: %w", id, err)
	}
	return d, true, nil
}

// unmarshal reads a column that holds JSON, or nothing.
func unmarshal(text string, into any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}
