package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

// Kind is what an event is about.
type Kind string

// The kinds.
const (
	Detection    Kind = "detection"
	Revocation   Kind = "revocation"
	Release      Kind = "release"
	Decision     Kind = "decision"     // what the interlock held back, and what people decided of it
	Verification Kind = "verification" // of a stream of security event tokens; never in Kafka
)

func kindWords() []string {
	return []string{string(Detection), string(Revocation), string(Release), string(Decision)}
}

// Event is a record of Kafka as the sinks get it. One of the pointers is set, for a
// verification none.
type Event struct {
	// ID is the same however often the event is sent, by whichever process: receivers know a
	// repetition by it.
	ID         string
	Kind       Kind
	Tenant     string
	Time       time.Time
	Detection  *detector.Detection
	Revocation *revoke.Revocation // also of a release
	Decision   *revoke.Decision
	State      string // of a verification that the receiver asked for: what it gave
}

// Topics are those that events come from.
func Topics() []string {
	return []string{pipeline.TopicDetections, pipeline.TopicRevocations, pipeline.TopicDecisions}
}

// readEvent reads the event of a record from a topic.
func readEvent(topic string, value []byte) (*Event, error) {
	switch topic {
	case pipeline.TopicDetections:
		var d detector.Detection
		if err := parse(value, &d); err != nil {
			return nil, err
		}
		return &Event{ID: eventID(Detection, d.ID), Kind: Detection, Tenant: d.Tenant, Time: d.Time, Detection: &d}, nil
	case pipeline.TopicRevocations:
		var r revoke.Record // its token is for guards and goes nowhere else
		if err := parse(value, &r); err != nil {
			return nil, err
		}
		kind := Revocation
		if r.Action == revoke.Release {
			kind = Release
		}
		return &Event{ID: eventID(kind, r.ID), Kind: kind, Tenant: r.Tenant, Time: r.IssuedAt, Revocation: &r.Revocation}, nil
	case pipeline.TopicDecisions:
		var d revoke.Decision
		if err := parse(value, &d); err != nil {
			return nil, err
		}
		return &Event{ID: eventID(Decision, d.Order.ID+"-"+string(d.Verdict)), Kind: Decision, Tenant: d.Order.Tenant, Time: d.At, Decision: &d}, nil
	}
	return nil, fmt.Errorf("topic %q has no events", topic)
}

func parse(value []byte, v any) error {
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(v); err != nil {
		return fmt.Errorf("cannot read the record: %w", err)
	}
	return nil
}

// plainID is what every header, log and data base takes as it is.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

func eventID(kind Kind, id string) string {
	if !plainID.MatchString(id) {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	return string(kind) + "-" + id
}

// place is where a record stands.
type place struct {
	topic     string
	partition int32
}

func placeOf(r *kgo.Record) place { return place{r.Topic, r.Partition} }

// isGlobal reports whether an event is of a stop of everything, which concerns every tenant.
func (e *Event) isGlobal() bool {
	return e.Revocation != nil && e.Revocation.Scope == revoke.Global || e.Decision != nil && e.Decision.Order.Scope == revoke.Global
}

// isDrill reports whether an event is of a rehearsal, and no news. That a guard did not confirm one is.
func (e *Event) isDrill() bool {
	return e.Revocation != nil && revoke.IsDrill(*e.Revocation) || e.Decision != nil && e.Decision.Verdict == revoke.Drilled
}
