package fleet

import (
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// Pair is one entry of a call's context.
type Pair struct{ Key, Value string }

// Call is one synthetic call. Its fields mean what those of telemetry.Call mean. Its slices
// are shared with other calls: they are to be read only.
type Call struct {
	ID          string
	Time        time.Time // UTC
	Tenant      string
	Agent       string
	Identity    string
	Session     string
	Chain       []string // root first, the acting agent last
	Action      string
	Resource    string
	Outcome     telemetry.Outcome
	Latency     time.Duration
	BytesIn     int64
	BytesOut    int64
	Context     []Pair
	Traceparent string

	// Attack is the kind of attack that the call is part of, empty for an honest call. Goal
	// marks the call that completes the attack. Neither is telemetry: they are the truth that
	// judgements are measured against.
	Attack Kind
	Goal   bool
}

// Telemetry fills dst with the call. Dst keeps nothing of the bytes that it held before,
// and its new bytes are its own.
func (c *Call) Telemetry(dst *telemetry.Call) {
	dst.Reset()
	// One allocation for all fields; appends within its capacity do not move it.
	buf := make([]byte, 0, c.size())
	own := func(s string) []byte {
		n := len(buf)
		buf = append(buf, s...)
		return buf[n:len(buf):len(buf)]
	}
	dst.ID, dst.Tenant, dst.Agent = own(c.ID), own(c.Tenant), own(c.Agent)
	dst.Identity, dst.Session = own(c.Identity), own(c.Session)
	for _, member := range c.Chain {
		dst.Chain = append(dst.Chain, own(member))
	}
	dst.Action, dst.Resource = own(c.Action), own(c.Resource)
	for _, p := range c.Context {
		dst.Context = append(dst.Context, telemetry.Pair{Key: own(p.Key), Value: own(p.Value)})
	}
	dst.Traceparent = own(c.Traceparent)
	dst.Time, dst.Outcome, dst.Latency = c.Time.UnixNano(), c.Outcome, c.Latency
	dst.BytesIn, dst.BytesOut = c.BytesIn, c.BytesOut
}

func (c *Call) size() int {
	n := len(c.ID) + len(c.Tenant) + len(c.Agent) + len(c.Identity) + len(c.Session) +
		len(c.Action) + len(c.Resource) + len(c.Traceparent)
	for _, member := range c.Chain {
		n += len(member)
	}
	for _, p := range c.Context {
		n += len(p.Key) + len(p.Value)
	}
	return n
}
