package mcp_test

import (
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke/gate"
)

func TestPoliciesDecideToolByToolAndTheClientIsToldWhy(t *testing.T) {
	var asked []gate.Request
	r := newRig(t, func(o *mcp.Options) {
		o.Authorize = func(q *gate.Request) gate.Permission {
			asked = append(asked, *q)
			if q.Reads {
				return gate.Permission{Allowed: true}
			}
			return gate.Permission{Policies: []string{"no-writes"}, Reason: "forbidden by policy no-writes"}
		}
	})
	s := r.stdio(nil)
	if _, err := s.ListTools(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hello"}}); err != nil {
		t.Error(err)
	}
	_, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "write", Arguments: map[string]any{"text": "x"}})
	if err == nil || !strings.Contains(err.Error(), "estop: denied: forbidden by policy no-writes") {
		t.Errorf("got %v", err)
	}
	if r.hasNote("written x") {
		t.Error("the server got the call")
	}
	calls := r.reported(2)
	if c := calls[1]; c.Outcome != telemetry.OutcomeDenied || string(c.Context[len(c.Context)-1].Value) != "no-writes" {
		t.Errorf("reported %+v", c)
	}
	q := asked[1]
	if q.Call.Action != "tools/call:write" || q.Call.Resource != "mcp://tools/write" || q.Gate != "mcp" || q.Context["server"] != "tools" || q.Context["method"] != "tools/call" || q.Time.IsZero() {
		t.Errorf("asked %+v", q)
	}
}
