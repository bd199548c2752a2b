package emit

import (
	"github.com/google/uuid"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke/gate"
)

// Seen sends a call that a gate has seen, as Emit does. Its context says what kind of gate
// that was, and which revocation refused or cut the call.
func (e *Emitter) Seen(s gate.Seen) {
	id := uuid.New()
	c := telemetry.Call{
		ID: []byte(id.String()), Time: s.Time.UnixNano(), Tenant: []byte(s.Tenant), Agent: []byte(s.Agent),
		Identity: []byte(s.Identity), Session: []byte(s.Session), Action: []byte(s.Action), Resource: []byte(s.Resource),
		Outcome: outcomes[s.Outcome], Latency: max(s.Latency, 0), BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Context:     []telemetry.Pair{{Key: []byte("gate"), Value: []byte(s.Kind)}},
		Traceparent: []byte(s.Traceparent),
	}
	for _, member := range s.Chain {
		c.Chain = append(c.Chain, []byte(member))
	}
	if s.Revocation != "" {
		c.Context = append(c.Context, telemetry.Pair{Key: []byte("revocation"), Value: []byte(s.Revocation)})
	}
	if s.Forbidden {
		c.Context = append(c.Context, telemetry.Pair{Key: []byte("policy"), Value: []byte(gate.PolicyOf(s.Policies))})
	}
	e.Emit(&c)
}

var outcomes = [...]telemetry.Outcome{
	gate.OK: telemetry.OutcomeOK, gate.Denied: telemetry.OutcomeDenied, gate.Failed: telemetry.OutcomeError,
}
