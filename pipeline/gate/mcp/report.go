package mcp

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke/gate"
)

// report makes the call known to the detector.
func (g *Gate) report(c *call, outcome telemetry.Outcome, bytesOut int) {
	id := uuid.New()
	t := telemetry.Call{
		ID: []byte(id.String()), Time: c.began.UnixNano(), Latency: max(time.Since(c.began), 0),
		Tenant: []byte(c.who.Tenant), Agent: []byte(c.who.Agent),
		Identity: []byte(c.who.Identity), Session: []byte(c.who.Session),
		Action:   []byte(c.action),
		Resource: []byte(c.resource),
		Outcome:  outcome, BytesIn: int64(c.bytesIn), BytesOut: int64(bytesOut),
		Traceparent: []byte(c.traceparent),
		Context:     []telemetry.Pair{pair("mcp.method", c.method), pair("mcp.server", g.o.Server)},
	}
	for _, member := range c.who.Chain {
		t.Chain = append(t.Chain, []byte(member))
	}
	if s := c.stopped; s != nil {
		t.Context = append(t.Context, pair("verdict", s.Verdict), pair("reason", s.Reason))
		if s.Revocation != "" {
			t.Context = append(t.Context, pair("revocation", s.Revocation))
		}
		if s.Code == gate.CodeForbidden {
			t.Context = append(t.Context, pair("policy", gate.PolicyOf(s.Policies)))
		}
		if s.Cut {
			t.Context = append(t.Context, pair("cut", "true"))
		}
	}
	g.o.Report(&t)
}

func pair(key, value string) telemetry.Pair {
	return telemetry.Pair{Key: []byte(key), Value: []byte(value)}
}

// traceparent reports whether s has the form of a W3C trace context.
func traceparent(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	return strings.Trim(s[:2]+s[3:35]+s[36:52]+s[53:], "0123456789abcdef") == ""
}
