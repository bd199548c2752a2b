package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
)

// Kind is how something differs from the log.
type Kind string

// The kinds of findings.
const (
	Altered Kind = "altered" // is not what the log commits to
	Missing Kind = "missing" // the log has it
	Added   Kind = "added"   // the log has it not
	Broken  Kind = "broken"  // the log itself is not what its checkpoint commits to
)

// Finding is one difference.
type Finding struct {
	Kind   Kind
	Where  string // kafka, clickhouse or log
	Topic  string
	Place  Place
	Detail string
}

// String says the finding in one line.
func (f Finding) String() string {
	text := string(f.Kind)
	if f.Where != "" {
		text += " in " + f.Where
	}
	if f.Topic != "" {
		text += fmt.Sprintf(": %s/%d offset %d part %d", f.Topic, f.Place.Partition, f.Place.Offset, f.Place.Part)
	}
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	return text
}

// MarshalJSON writes the finding.
func (f Finding) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind      Kind   `json:"kind"`
		Where     string `json:"where,omitempty"`
		Topic     string `json:"topic,omitempty"`
		ID        hexID  `json:"id"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
		Part      uint32 `json:"part"`
		Detail    string `json:"detail,omitempty"`
	}{f.Kind, f.Where, f.Topic, f.Place.TopicID, f.Place.Partition, f.Place.Offset, f.Place.Part, f.Detail})
}

func (f Finding) compare(g Finding) int {
	return cmp.Or(cmp.Compare(f.Where, g.Where), cmp.Compare(f.Topic, g.Topic), f.Place.compare(g.Place), cmp.Compare(f.Kind, g.Kind))
}

func (p Place) compare(q Place) int {
	return cmp.Or(bytes.Compare(p.TopicID[:], q.TopicID[:]), cmp.Compare(p.Partition, q.Partition), cmp.Compare(p.Offset, q.Offset), cmp.Compare(p.Part, q.Part))
}
