package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	dto "github.com/prometheus/client_model/go"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func bytesLines(b []byte) iter.Seq[string] { return strings.SplitSeq(string(b), "\n") }

func hasLabels(have []*dto.LabelPair, want []string) bool {
	for _, w := range want {
		found := false
		for _, l := range have {
			found = found || l.GetName()+"="+l.GetValue() == w
		}
		if !found {
			return false
		}
	}
	return true
}

// ways are the ways of a client to a server.
var ways = map[string]func(*rig, *sdk.ClientOptions) *sdk.ClientSession{
	"stdio":       func(r *rig, o *sdk.ClientOptions) *sdk.ClientSession { return r.stdio(o) },
	"http events": func(r *rig, o *sdk.ClientOptions) *sdk.ClientSession { return r.http(o, nil) },
	"http json": func(r *rig, o *sdk.ClientOptions) *sdk.ClientSession {
		return r.http(o, &sdk.StreamableHTTPOptions{JSONResponse: true})
	},
}

func each(t *testing.T, f func(t *testing.T, r *rig, c *sdk.ClientSession)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			f(t, r, way(r, nil))
		})
	}
}

func call(t *testing.T, c *sdk.ClientSession, tool string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	res, err := c.CallTool(ctx, &sdk.CallToolParams{Name: tool, Arguments: map[string]any{"text": "hello"}, Meta: sdk.Meta{"traceparent": parent}})
	if err != nil {
		return "", err
	}
	return res.Content[0].(*sdk.TextContent).Text, nil
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// wantStopped wants an error of the gate and returns what it says.
func wantStopped(t *testing.T, err error) mcp.Stopped {
	t.Helper()
	var e *jsonrpc.Error
	if !errors.As(err, &e) || e.Code != mcp.CodeStopped {
		t.Fatalf("got %v, want an error of the gate", err)
	}
	var s mcp.Stopped
	if err := json.Unmarshal(e.Data, &s); err != nil {
		t.Fatal(err)
	}
	if s.Reason == "" || !strings.Contains(e.Message, s.Reason) {
		t.Errorf("the message %q does not say the reason %q", e.Message, s.Reason)
	}
	return s
}

func TestARealClientWorksThroughTheGateAsWithoutIt(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		list, err := c.ListTools(t.Context(), nil)
		if err != nil || len(list.Tools) != 4 {
			t.Fatalf("%v, %v", list, err)
		}
		if text, err := call(t, c, "echo"); err != nil || text != "hello" {
			t.Errorf("%q, %v", text, err)
		}
		res, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "file:///prices"})
		if err != nil || res.Contents[0].Text != "42" {
			t.Errorf("%v, %v", res, err)
		}
		if err := c.Ping(t.Context(), nil); err != nil {
			t.Error(err)
		}
		calls := r.reported(2)
		echo := calls[0]
		if got, want := echo.Time, time.Now().UnixNano(); got > want || got < want-int64(time.Minute) {
			t.Errorf("the call is of %v", time.Unix(0, got))
		}
		if echo.Latency <= 0 || echo.BytesIn < 50 || echo.BytesOut < 20 || len(echo.ID) == 0 || string(echo.ID) == string(calls[1].ID) {
			t.Errorf("the call lacks something: %+v", echo)
		}
		got := []string{string(echo.Tenant), string(echo.Agent), string(echo.Identity), string(echo.Session), string(echo.Chain[0]), string(echo.Chain[1]),
			string(echo.Action), string(echo.Resource), echo.Outcome.String(), string(echo.Traceparent), string(calls[1].Action), string(calls[1].Resource)}
		want := []string{"acme", "bot", "role/bot", "run-1", "planner", "bot",
			"tools/call:echo", "mcp://tools/echo", "ok", parent, "resources/read", "mcp://tools/file:///prices"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		r.wantMetric("estop_gate_calls_total", 2, "verdict=allow", "passed=true")
		r.wantMetric("estop_gate_calls_in_flight", 0)
	})
}

func TestAStoppedAgentIsRefusedWithTheReasonAndTheServerSeesNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		ack := r.kill(revoke.Revoke)
		_, err := call(t, c, "write")
		s := wantStopped(t, err)
		want := mcp.Stopped{Verdict: "deny", Code: "REVOKED", Reason: "reads what it should not", Revocation: ack.Revocation, Scope: revoke.Agent, Subject: "bot", Until: s.Until}
		if d := cmp.Diff(want, s); d != "" {
			t.Error(d)
		}
		if d := time.Until(s.Until); d < 50*time.Minute || d > time.Hour {
			t.Errorf("it is stopped for %v", d)
		}
		if r.hasNote("written hello") {
			t.Error("the server was called")
		}
		if got := r.reported(1)[0]; got.Outcome != telemetry.OutcomeDenied || string(got.Action) != "tools/call:write" {
			t.Errorf("reported %s of %s", got.Outcome, got.Action)
		}
		r.release()
		if _, err := call(t, c, "write"); err != nil {
			t.Errorf("after the release: %v", err)
		}
	})
}

func TestACallInFlightIsCutOffAtOnceAndTheServerGivesItUp(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		failed := make(chan error, 1)
		go func() {
			_, err := call(t, c, "slow")
			failed <- err
		}()
		r.noted("slow began")
		ack := r.kill(revoke.Revoke)
		if ack.Cancelled < 1 {
			t.Errorf("the guard cancelled %d calls", ack.Cancelled)
		}
		if s := wantStopped(t, <-failed); !s.Cut || s.Revocation != ack.Revocation {
			t.Errorf("got %+v", s)
		}
		r.noted("slow was given up")
		_, err := call(t, c, "echo")
		wantStopped(t, err)
		if got := r.reported(2)[0]; got.Outcome != telemetry.OutcomeDenied || got.Latency <= 0 {
			t.Errorf("reported %s after %v", got.Outcome, got.Latency)
		}
		r.wantMetric("estop_gate_calls_cut_total", 1)
		r.wantMetric("estop_gate_calls_in_flight", 0)
	})
}

func TestARestrictedAgentReadsAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		r.kill(revoke.Restrict)
		_, err := call(t, c, "echo")
		if s := wantStopped(t, err); s.Verdict != "restrict" {
			t.Errorf("got %+v", s) // nobody has listed the tools: echo is not known to read
		}
		if _, err := c.ListTools(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t, c, "echo"); err != nil {
			t.Errorf("a tool that only reads: %v", err)
		}
		if _, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "file:///prices"}); err != nil {
			t.Errorf("a resource: %v", err)
		}
		for _, tool := range []string{"write", "unknown"} {
			_, err := call(t, c, tool)
			wantStopped(t, err)
		}
	})
}

func TestAThrottledAgentCallsOnceASecond(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		r.kill(revoke.Throttle)
		if _, err := call(t, c, "echo"); err != nil {
			t.Errorf("the first call: %v", err)
		}
		_, err := call(t, c, "echo")
		if s := wantStopped(t, err); s.Verdict != "throttle" || s.RetryAfter != 1000 {
			t.Errorf("got %+v", s)
		}
		time.Sleep(1100 * time.Millisecond)
		if _, err := call(t, c, "echo"); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestHowACallEndedIsReported(t *testing.T) {
	each(t, func(t *testing.T, r *rig, c *sdk.ClientSession) {
		if text, err := call(t, c, "fail"); err != nil || text != "it failed" {
			t.Errorf("%q, %v", text, err)
		}
		if _, err := call(t, c, "unknown"); err == nil {
			t.Error("an unknown tool")
		}
		for _, got := range r.reported(2) {
			if got.Outcome != telemetry.OutcomeError {
				t.Errorf("%s is reported as %s", got.Action, got.Outcome)
			}
		}
	})
}

func TestPastMaxStaleCallsAreDeniedAndAllElsePasses(t *testing.T) {
	r := newRig(t)
	closed := r.Guard(func(o *guard.Options) { o.Name, o.MaxStale = "closed", 200*time.Millisecond })
	r2 := &rig{Rig: r.Rig, t: t, notes: r.notes}
	var err error
	if r2.gate, err = mcp.New(mcp.Options{Guard: closed, Server: "tools"}); err != nil {
		t.Fatal(err)
	}
	open, shut := r.stdio(nil), r2.stdio(nil)
	r.Down()
	eventually(t, "the guard is stale", func() bool {
		_, err := call(t, shut, "echo")
		return err != nil && wantStopped(t, err).Code == "STALE"
	})
	if err := shut.Ping(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := call(t, open, "echo"); err != nil {
		t.Errorf("the gate that fails open: %v", err)
	}
	r.Up()
	eventually(t, "the guard hears again", func() bool { _, err := call(t, shut, "echo"); return err == nil })
}

func TestWrongOptionsAreRefused(t *testing.T) {
	g := newRig(t).Guard()
	for name, o := range map[string]mcp.Options{
		"no guard":  {Server: "s"},
		"no server": {Guard: g},
		"a slash":   {Guard: g, Server: "a/b"},
		"too small": {Guard: g, Server: "s", MaxMessage: 5},
		"no method": {Guard: g, Server: "s", Methods: []string{""}},
	} {
		if _, err := mcp.New(o); err == nil || !strings.HasPrefix(err.Error(), "cannot make MCP gate: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
