package archive

import (
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics that are archived, each into one table.
const (
	TopicCalls       = "estop.calls"
	TopicFeatures    = "estop.features"
	TopicDetections  = "estop.detections"
	TopicRevocations = "estop.revocations"
	TopicDecisions   = "estop.decisions"
	TopicAcks        = "estop.acks"
	TopicGuards      = "estop.guards"
	TopicChanges     = "estop.changes"
	TopicDLQ         = "estop.calls.dlq"
)

// projection turns the records of one partition into rows.
type projection interface {
	// add appends the rows of a record to the batch, or none and an error if the record
	// cannot be read.
	add(r *kgo.Record) error
	built() *batch
}

// projections makes, for each topic, the projection of one partition. log is the topic's id.
var projections = map[string]func(log string, m *metrics) projection{
	TopicCalls:       func(log string, m *metrics) projection { return newCalls(log, m.skipped) },
	TopicFeatures:    func(log string, _ *metrics) projection { return newFeatures(log) },
	TopicDetections:  func(log string, _ *metrics) projection { return newDetections(log) },
	TopicRevocations: func(log string, _ *metrics) projection { return newRevocations(log) },
	TopicDecisions:   func(log string, _ *metrics) projection { return newDecisions(log) },
	TopicAcks:        func(log string, _ *metrics) projection { return newAcks(log) },
	TopicGuards:      func(log string, _ *metrics) projection { return newGuards(log) },
	TopicChanges:     func(log string, _ *metrics) projection { return newChanges(log) },
	TopicDLQ:         func(log string, _ *metrics) projection { return newDeadLetters(log) },
}

// Topics returns the topics that are archived.
func Topics() []string {
	return []string{TopicCalls, TopicFeatures, TopicDetections, TopicRevocations, TopicDecisions, TopicAcks, TopicGuards, TopicChanges, TopicDLQ}
}

func (b *batch) built() *batch { return b }

// parseJSON reads the value of a record that estop itself wrote.
func parseJSON(r *kgo.Record, into any) error {
	if err := json.Unmarshal(r.Value, into); err != nil {
		return fmt.Errorf("cannot read record %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return nil
}

// header returns the first header of that name; empty if there is none.
func header(r *kgo.Record, name string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}
