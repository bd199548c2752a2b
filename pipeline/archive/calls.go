package archive

import (
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// calls projects the calls, in whatever format they were sent. Bytes that are no call are
// skipped and counted here: the detect role puts them in the dead letter topic, which has a
// table of its own.
type calls struct {
	*batch
	decoder telemetry.Decoder
	call    telemetry.Call
	skipped *prometheus.CounterVec

	id, tenant, agent, identity, session, action, resource, outcome, traceparent, sig *column[string]

	ts                         *column[time.Time]
	chain                      *column[[]string]
	latency, bytesIn, bytesOut *column[int64]
	context                    *column[map[string]string]
	known                      map[string]string // texts that repeat, kept once
}

func newCalls(log string, skipped *prometheus.CounterVec) *calls {
	b := newBatch("calls", log)
	return &calls{
		batch:       b,
		skipped:     skipped,
		known:       map[string]string{},
		id:          addColumn[string](b, "id", "String"),
		ts:          addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"),
		tenant:      addColumn[string](b, "tenant", "LowCardinality(String)"),
		agent:       addColumn[string](b, "agent", "LowCardinality(String)"),
		identity:    addColumn[string](b, "identity", "LowCardinality(String)"),
		session:     addColumn[string](b, "session", "String"),
		chain:       addColumn[[]string](b, "chain", "Array(String)"),
		action:      addColumn[string](b, "action", "LowCardinality(String)"),
		resource:    addColumn[string](b, "resource", "String"),
		outcome:     addColumn[string](b, "outcome", "LowCardinality(String)"),
		latency:     addColumn[int64](b, "latency_ns", "Int64"),
		bytesIn:     addColumn[int64](b, "bytes_in", "Int64"),
		bytesOut:    addColumn[int64](b, "bytes_out", "Int64"),
		context:     addColumn[map[string]string](b, "context", "Map(LowCardinality(String), String)"),
		traceparent: addColumn[string](b, "traceparent", "String"),
		sig:         addColumn[string](b, "sig", "String"),
	}
}

func (c *calls) add(r *kgo.Record) error {
	format, _ := telemetry.FormatOf(header(r, telemetry.HeaderContentType))
	c.decoder.Start(format, r.Value)
	for part := 0; ; part++ {
		err := c.decoder.Next(&c.call)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			c.skipped.WithLabelValues(reasonOf(err)).Inc()
			continue
		}
		c.row(r, part)
	}
}

func reasonOf(err error) string {
	if bad := new(telemetry.BadCall); errors.As(err, &bad) {
		return bad.Reason
	}
	return "unknown"
}

func (c *calls) row(r *kgo.Record, part int) {
	k := &c.call
	size := len(k.ID) + len(k.Session) + len(k.Resource) + len(k.Traceparent) + len(k.Sig)
	c.id.add(string(k.ID))
	c.ts.add(eventTime(time.Unix(0, k.Time).UTC()))
	c.tenant.add(c.once(k.Tenant))
	c.agent.add(c.once(k.Agent))
	c.identity.add(c.once(k.Identity))
	c.session.add(c.once(k.Session))
	chain := make([]string, len(k.Chain))
	for i, member := range k.Chain {
		chain[i] = c.once(member)
		size += len(member)
	}
	c.chain.add(chain)
	c.action.add(c.once(k.Action))
	c.resource.add(c.once(k.Resource))
	c.outcome.add(k.Outcome.String())
	c.latency.add(int64(k.Latency))
	c.bytesIn.add(k.BytesIn)
	c.bytesOut.add(k.BytesOut)
	entries := make(map[string]string, len(k.Context))
	for _, pair := range k.Context {
		entries[c.once(pair.Key)] = string(pair.Value)
		size += len(pair.Key) + len(pair.Value) + rowOverhead/4
	}
	c.context.add(entries)
	c.traceparent.add(string(k.Traceparent))
	c.sig.add(string(k.Sig))
	c.begin(r, part, size)
}

// maxKnown bounds the texts that are kept once; past it they are copied for each row.
const maxKnown = 1 << 16

// once returns the text, the same string for the same bytes of earlier rows.
func (c *calls) once(text []byte) string {
	if s, ok := c.known[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[s] = s
	return s
}
