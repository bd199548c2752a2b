// Package telemetry holds the call, the one event type that estop takes in, and the
// decoders that make calls out of what agents and clouds write.
package telemetry

import (
	"bytes"
	"time"
)

// Outcome is how a call ended.
type Outcome uint8

// The outcomes of a call.
const (
	OutcomeOK Outcome = iota
	OutcomeDenied
	OutcomeError
)

// String returns the outcome as it is written in JSON: ok, denied or error.
func (o Outcome) String() string {
	switch o {
	case OutcomeDenied:
		return "denied"
	case OutcomeError:
		return "error"
	}
	return "ok"
}

// Pair is one entry of a call's context.
type Pair struct{ Key, Value []byte }

// Call is one action by an agent on a resource.
//
// Its byte slices point into buffers of the Decoder that filled it, or into the bytes the
// decoder was given: they are valid until the next Start or Next of that decoder. Whoever
// keeps one longer copies it, with Clone or by interning.
type Call struct {
	ID       []byte
	Time     int64 // the call's own time, Unix nanoseconds
	Tenant   []byte
	Agent    []byte
	Identity []byte
	Session  []byte
	Chain    [][]byte // delegation chain, root first, the acting agent last
	Action   []byte
	Resource []byte
	Outcome  Outcome
	Latency  time.Duration
	BytesIn  int64
	BytesOut int64
	Context  []Pair
	// Traceparent is the W3C trace context and Sig the emitter's signature, both as sent.
	Traceparent []byte
	Sig         []byte

	// Unknown counts fields of the source that the decoder does not know. They pass.
	Unknown int
}

// Reset empties the call and keeps the capacity of its slices.
func (c *Call) Reset() {
	*c = Call{Chain: c.Chain[:0], Context: c.Context[:0]}
}

// Root returns the first member of the chain: the agent that the delegation began with.
// A call without a chain is its agent's own.
func (c *Call) Root() []byte {
	if len(c.Chain) == 0 {
		return c.Agent
	}
	return c.Chain[0]
}

// Parent returns the agent that delegated the call, and whether there is one.
func (c *Call) Parent() ([]byte, bool) {
	if len(c.Chain) < 2 {
		return nil, false
	}
	return c.Chain[len(c.Chain)-2], true
}

// Clone returns a copy of the call that shares no memory with it.
func (c *Call) Clone() *Call {
	n := *c
	for _, f := range []*[]byte{&n.ID, &n.Tenant, &n.Agent, &n.Identity, &n.Session,
		&n.Action, &n.Resource, &n.Traceparent, &n.Sig} {
		*f = bytes.Clone(*f)
	}
	n.Chain = make([][]byte, len(c.Chain))
	for i, m := range c.Chain {
		n.Chain[i] = bytes.Clone(m)
	}
	n.Context = make([]Pair, len(c.Context))
	for i, p := range c.Context {
		n.Context[i] = Pair{bytes.Clone(p.Key), bytes.Clone(p.Value)}
	}
	return &n
}

// Value returns the context entry with the given key, and whether there is one.
func (c *Call) Value(key string) ([]byte, bool) {
	for i := range c.Context {
		if string(c.Context[i].Key) == key {
			return c.Context[i].Value, true
		}
	}
	return nil, false
}
