package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/revoke"
)

// features projects samples: a record holds one, or an array of them.
type features struct {
	*batch
	ts                                               *column[time.Time]
	tenant, entityBy, entity, detector, feature      *column[string]
	observed, expected, low, high, logP, logEvidence *column[float64]
	known                                            *column[bool]
}

func newFeatures(log string) *features {
	b := newBatch("features", log)
	return &features{
		batch:       b,
		ts:          addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"),
		tenant:      addColumn[string](b, "tenant", "LowCardinality(String)"),
		entityBy:    addColumn[string](b, "entity_by", "LowCardinality(String)"),
		entity:      addColumn[string](b, "entity", "LowCardinality(String)"),
		detector:    addColumn[string](b, "detector", "LowCardinality(String)"),
		feature:     addColumn[string](b, "feature", "LowCardinality(String)"),
		observed:    addColumn[float64](b, "observed", "Float64"),
		known:       addColumn[bool](b, "known", "Bool"),
		expected:    addColumn[float64](b, "expected", "Float64"),
		low:         addColumn[float64](b, "low", "Float64"),
		high:        addColumn[float64](b, "high", "Float64"),
		logP:        addColumn[float64](b, "log_p", "Float64"),
		logEvidence: addColumn[float64](b, "log_evidence", "Float64"),
	}
}

func (f *features) add(r *kgo.Record) error {
	var samples []detector.Sample
	if value := bytes.TrimLeft(r.Value, " \t\r\n"); len(value) > 0 && value[0] == '[' {
		if err := parseJSON(r, &samples); err != nil {
			return err
		}
	} else {
		samples = make([]detector.Sample, 1)
		if err := parseJSON(r, &samples[0]); err != nil {
			return err
		}
	}
	for part := range samples {
		f.row(r, part, &samples[part])
	}
	return nil
}

func (f *features) row(r *kgo.Record, part int, s *detector.Sample) {
	f.begin(r, part, len(s.Entity)+len(s.Feature))
	f.ts.add(eventTime(s.Time))
	f.tenant.add(s.Tenant)
	f.entityBy.add(s.EntityBy)
	f.entity.add(s.Entity)
	f.detector.add(s.Detector)
	f.feature.add(s.Feature)
	f.observed.add(s.Observed)
	f.known.add(s.Known)
	f.expected.add(s.Expected)
	f.low.add(s.Low)
	f.high.add(s.High)
	f.logP.add(s.LogP)
	f.logEvidence.add(s.LogEvidence)
}

// detections projects detections, one a record. Their samples stay together, as JSON, and so do the signs
// of a correlation and what the access graph knew.
type detections struct {
	*batch
	ts                    *column[time.Time]
	texts                 []*column[string]
	tags, chain           *column[[]string]
	partition             *column[int32]
	offset                *column[int64]
	logEvidence, logLevel *column[float64]
	canary                *column[bool]
	step                  *column[int32]
	late                  *column[int64]
}

func newDetections(log string) *detections {
	b := newBatch("detections", log)
	d := &detections{
		batch:       b,
		ts:          addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"),
		tags:        addColumn[[]string](b, "tags", "Array(LowCardinality(String))"),
		chain:       addColumn[[]string](b, "chain", "Array(String)"),
		partition:   addColumn[int32](b, "source_partition", "Int32"),
		offset:      addColumn[int64](b, "source_offset", "Int64"),
		logEvidence: addColumn[float64](b, "log_evidence", "Float64"),
		logLevel:    addColumn[float64](b, "log_level", "Float64"),
		canary:      addColumn[bool](b, "canary", "Bool"),
		step:        addColumn[int32](b, "step", "Int32"),
		late:        addColumn[int64](b, "late_ns", "Int64"),
	}
	for _, c := range [][2]string{
		{"id", "String"}, {"detector", lowText}, {"version", lowText}, {"mode", lowText},
		{"severity", lowText}, {"tenant", lowText}, {"entity_by", lowText}, {"entity", "String"},
		{"agent", "String"}, {"identity", "String"}, {"session", "String"}, {"action", lowText},
		{"resource", "String"}, {"call_id", "String"}, {"source_topic", lowText}, {"reason", "String"},
		{"budget", lowText}, {"first_bad", "String"}, {"features", "String"}, {"signs", "String"}, {"graph", "String"}, {"revocation", "String"},
	} {
		d.texts = append(d.texts, addColumn[string](b, c[0], c[1]))
	}
	return d
}

const lowText = "LowCardinality(String)"

func (d *detections) add(r *kgo.Record) error {
	var v detector.Detection
	if err := parseJSON(r, &v); err != nil {
		return err
	}
	samples, err := json.Marshal(v.Features)
	if err != nil {
		return fmt.Errorf("cannot keep the samples of detection %q: %w", v.ID, err)
	}
	signs, err := jsonUnless(len(v.Signs) == 0, v.Signs)
	if err != nil {
		return fmt.Errorf("cannot keep the signs of detection %q: %w", v.ID, err)
	}
	known, err := jsonUnless(v.Graph == nil, v.Graph)
	if err != nil {
		return fmt.Errorf("cannot keep the access graph of detection %q: %w", v.ID, err)
	}
	d.begin(r, 0, len(r.Value))
	d.ts.add(eventTime(v.Time))
	d.tags.add(v.Tags)
	d.chain.add(v.Chain)
	d.partition.add(v.Partition)
	d.offset.add(v.Offset)
	d.logEvidence.add(v.LogEvidence)
	d.logLevel.add(v.LogLevel)
	d.canary.add(v.Canary)
	d.step.add(int32(v.Step))
	d.late.add(int64(v.Late))
	for i, text := range []string{
		v.ID, v.Detector, v.Version, v.Mode, v.Severity, v.Tenant, v.EntityBy, v.Entity,
		v.Agent, v.Identity, v.Session, v.Action, v.Resource, v.CallID, v.Topic, v.Reason,
		v.Budget, v.FirstBad, string(samples), signs, known, v.Revocation,
	} {
		d.texts[i].add(text)
	}
	return nil
}

// jsonUnless writes a value as JSON, or nothing where it is empty.
func jsonUnless(empty bool, v any) (string, error) {
	if empty {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// revocations projects signed revocations, one a record.
type revocations struct {
	*batch
	issuedAt, until *column[time.Time]
	validAfter      *column[*time.Time]
	texts           []*column[string]
}

func newRevocations(log string) *revocations {
	b := newBatch("revocations", log)
	v := &revocations{
		batch:      b,
		issuedAt:   addColumn[time.Time](b, "issued_at", "DateTime64(9, 'UTC')"),
		validAfter: addColumn[*time.Time](b, "valid_after", "Nullable(DateTime64(9, 'UTC'))"),
		until:      addColumn[time.Time](b, "until", "DateTime64(9, 'UTC')"),
	}
	for _, c := range [][2]string{
		{"id", "String"}, {"tenant", lowText}, {"scope", lowText}, {"subject", "String"}, {"action", lowText},
		{"detector", lowText}, {"detection", "String"}, {"reason", "String"}, {"initiator", lowText},
		{"by", "String"}, {"releases", "String"}, {"token", "String"},
	} {
		v.texts = append(v.texts, addColumn[string](b, c[0], c[1]))
	}
	return v
}

func (v *revocations) add(r *kgo.Record) error {
	var k revoke.Record
	if err := parseJSON(r, &k); err != nil {
		return err
	}
	v.begin(r, 0, len(r.Value))
	v.issuedAt.add(eventTime(k.IssuedAt))
	v.until.add(eventTime(k.Until))
	var after *time.Time
	if !k.ValidAfter.IsZero() {
		t := eventTime(k.ValidAfter)
		after = &t
	}
	v.validAfter.add(after)
	for i, text := range []string{
		k.ID, k.Tenant, string(k.Scope), k.Subject, string(k.Action),
		k.Detector, k.Detection, k.Reason, k.Initiator, k.By, k.Releases, k.SET,
	} {
		v.texts[i].add(text)
	}
	return nil
}

// acks projects the guards' acknowledgements, one a record.
type acks struct {
	*batch
	revocation, guard, tenant *column[string]
	appliedAt                 *column[time.Time]
	cancelled, latency        *column[int64]
	firstDenied               *column[*time.Time]
}

func newAcks(log string) *acks {
	b := newBatch("acks", log)
	return &acks{
		batch:       b,
		revocation:  addColumn[string](b, "revocation", "String"),
		guard:       addColumn[string](b, "guard", lowText),
		tenant:      addColumn[string](b, "tenant", lowText),
		appliedAt:   addColumn[time.Time](b, "applied_at", "DateTime64(9, 'UTC')"),
		cancelled:   addColumn[int64](b, "cancelled", "Int64"),
		latency:     addColumn[int64](b, "latency_ns", "Int64"),
		firstDenied: addColumn[*time.Time](b, "first_denied_at", "Nullable(DateTime64(9, 'UTC'))"),
	}
}

func (a *acks) add(r *kgo.Record) error {
	var k revoke.Ack
	if err := parseJSON(r, &k); err != nil {
		return err
	}
	a.begin(r, 0, len(r.Value))
	a.revocation.add(k.Revocation)
	a.guard.add(k.Guard)
	a.tenant.add(k.Tenant)
	a.appliedAt.add(eventTime(k.AppliedAt))
	a.cancelled.add(int64(k.Cancelled))
	a.latency.add(int64(k.Latency))
	var denied *time.Time
	if k.Report() {
		t := eventTime(k.FirstDenied)
		denied = &t
	}
	a.firstDenied.add(denied)
	return nil
}

// deadLetters projects what could not be decoded. Any record is good here.
type deadLetters struct {
	*batch
	reason, detail, topic, contentType, value *column[string]
	partition                                 *column[int32]
	offset, index                             *column[int64]
}

func newDeadLetters(log string) *deadLetters {
	b := newBatch("dlq", log)
	return &deadLetters{
		batch:       b,
		reason:      addColumn[string](b, "reason", lowText),
		detail:      addColumn[string](b, "detail", "String"),
		topic:       addColumn[string](b, "source_topic", lowText),
		partition:   addColumn[int32](b, "source_partition", "Int32"),
		offset:      addColumn[int64](b, "source_offset", "Int64"),
		index:       addColumn[int64](b, "source_index", "Int64"),
		contentType: addColumn[string](b, "content_type", lowText),
		value:       addColumn[string](b, "bytes", "String"),
	}
}

func (d *deadLetters) add(r *kgo.Record) error {
	d.begin(r, 0, len(r.Value))
	d.reason.add(header(r, headerReason))
	d.detail.add(header(r, headerDetail))
	d.topic.add(header(r, headerTopic))
	d.partition.add(int32(number(header(r, headerPartition), 32)))
	d.offset.add(number(header(r, headerOffset), 64))
	d.index.add(number(header(r, headerIndex), 64))
	d.contentType.add(header(r, "content-type"))
	d.value.add(string(r.Value))
	return nil
}

// number reads a header's number; -1 says that there is none.
func number(text string, bits int) int64 {
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return -1
	}
	return n
}
