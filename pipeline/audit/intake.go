package audit

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// part is what becomes one leaf: a call of a record, or a whole record. Its bytes are valid
// until the next record.
type part struct {
	tenant, scope, name []byte
	no                  uint32
	payload             []byte
}

// intake takes records apart. It is not for use by several goroutines at once.
type intake struct {
	decoder telemetry.Decoder
	call    telemetry.Call
	payload []byte
}

var scopeAgent = []byte("agent")

// each gives the parts of a record. A record of calls that holds none is one part without
// a subject, whose payload is the record's value; of other records the payload always is.
func (in *intake) each(r *kgo.Record, f func(part)) {
	if r.Topic != pipeline.TopicCalls {
		s := subjectOf(r)
		f(part{[]byte(s.Tenant), []byte(s.Scope), []byte(s.Name), 0, r.Value})
		return
	}
	format, _ := telemetry.FormatOf(contentType(r))
	in.decoder.Start(format, r.Value)
	found := false
	for no := uint32(0); ; no++ {
		err := in.decoder.Next(&in.call)
		if err == io.EOF {
			break
		}
		if err != nil {
			continue // the detect role makes a dead letter of it
		}
		found = true
		in.payload = AppendCall(in.payload[:0], &in.call)
		f(part{in.call.Tenant, scopeAgent, in.call.Agent, no, in.payload})
	}
	if !found {
		f(part{payload: r.Value})
	}
}

// AppendCall appends the payload of a call's leaf: native JSON, with the context in the
// order of its keys and each key once, the last value of those that were sent.
func AppendCall(b []byte, c *telemetry.Call) []byte {
	slices.SortStableFunc(c.Context, func(x, y telemetry.Pair) int { return bytes.Compare(x.Key, y.Key) })
	kept := c.Context[:0]
	for i, p := range c.Context {
		if i+1 == len(c.Context) || !bytes.Equal(p.Key, c.Context[i+1].Key) {
			kept = append(kept, p)
		}
	}
	c.Context = kept
	return telemetry.AppendJSON(b, c)
}

func contentType(r *kgo.Record) string {
	for i := range r.Headers {
		if r.Headers[i].Key == telemetry.HeaderContentType {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// subjectOf reads the subject of a record that is no call. What cannot be read has none.
func subjectOf(r *kgo.Record) Subject {
	var v struct {
		Tenant, Agent, Scope, Subject, Revocation string
		Order                                     struct{ Tenant, Scope, Subject string }
	}
	if r.Topic == pipeline.TopicChanges {
		return Subject{Scope: "detectors"}
	}
	if json.Unmarshal(r.Value, &v) != nil {
		return Subject{}
	}
	var s Subject
	switch r.Topic {
	case pipeline.TopicDetections:
		s = Subject{v.Tenant, "agent", v.Agent}
	case pipeline.TopicRevocations:
		s = Subject{v.Tenant, v.Scope, v.Subject}
	case pipeline.TopicDecisions:
		s = Subject{v.Order.Tenant, v.Order.Scope, v.Order.Subject}
	case pipeline.TopicAcks:
		s = Subject{v.Tenant, "revocation", v.Revocation}
	}
	if !s.fits() {
		return Subject{}
	}
	return s
}
