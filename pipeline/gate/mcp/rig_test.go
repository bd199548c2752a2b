package mcp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
)

// serverEnv makes this binary the MCP server that the tests start.
const serverEnv = "MCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		serveTools(os.Getenv(serverEnv))
	}
	if os.Getenv(rawEnv) != "" {
		serveRaw(os.Getenv(rawEnv))
	}
	os.Exit(m.Run())
}

// toolServer is a real server: echo is called read-only, write is not, and slow lasts until it is
// given up, which it writes down.
func toolServer(note func(string)) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "tools", Version: "1"}, nil)
	type text struct {
		Text string `json:"text"`
	}
	say := func(t string) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: t}}}, nil, nil
	}
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
			return say(in.Text)
		})
	sdk.AddTool(s, &sdk.Tool{Name: "write"},
		func(_ context.Context, _ *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
			note("written " + in.Text)
			return say("written")
		})
	sdk.AddTool(s, &sdk.Tool{Name: "fail"},
		func(context.Context, *sdk.CallToolRequest, text) (*sdk.CallToolResult, any, error) {
			return nil, nil, fmt.Errorf("it failed")
		})
	sdk.AddTool(s, &sdk.Tool{Name: "slow"},
		func(ctx context.Context, r *sdk.CallToolRequest, in text) (*sdk.CallToolResult, any, error) {
			note("slow began")
			// Something arrives at the client, so that a response of events has begun.
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Message: "begun"})
			select {
			case <-ctx.Done():
				note("slow was given up")
			case <-time.After(20 * time.Second):
				note("slow ended by itself")
			}
			return say("too late")
		})
	s.AddResource(&sdk.Resource{Name: "prices", URI: "file:///prices"},
		func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
			return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "file:///prices", Text: "42"}}}, nil
		})
	return s
}

// serveTools is the server as a process of its own. It appends its notes to a file.
func serveTools(notes string) {
	f, err := os.OpenFile(notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(9)
	}
	s := toolServer(func(line string) { fmt.Fprintln(f, line) })
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil && err != io.EOF {
		os.Exit(8)
	}
	os.Exit(0)
}

// rig is a NATS server, whoever kills, and a gate.
type rig struct {
	*gatetest.Rig
	t        *testing.T
	gate     *mcp.Gate
	registry *prometheus.Registry
	notes    string // file of the server's notes

	mu    sync.Mutex
	calls []telemetry.Call
}

var caller = mcp.Caller{Tenant: gatetest.Tenant, Agent: "bot", Identity: "role/bot", Session: "run-1", Chain: []string{"planner", "bot"}}

// names say the same of a request over HTTP.
var names = gate.Names{
	Tenant: value(caller.Tenant), Agent: value(caller.Agent), Identity: value(caller.Identity),
	Session: value(caller.Session), Chain: value("planner, bot"),
}

func headers(r *http.Request) (gate.Facts, error) { return gate.Facts{Header: r.Header.Values}, nil }

func value(text string) gate.Source { return gate.Source{Kind: gate.FromValue, Key: text} }

func newRig(t *testing.T, change ...func(*mcp.Options)) *rig {
	t.Helper()
	r := &rig{Rig: gatetest.New(t), t: t, registry: prometheus.NewRegistry(), notes: t.TempDir() + "/notes"}
	o := mcp.Options{Server: "tools", Report: r.report, Registerer: r.registry, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&o)
	}
	if o.Guard == nil {
		o.Guard = r.Guard()
	}
	var err error
	if r.gate, err = mcp.New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) report(c *telemetry.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, *c.Clone())
}

// reported waits until n calls are reported.
func (r *rig) reported(n int) []telemetry.Call {
	r.t.Helper()
	var calls []telemetry.Call
	eventually(r.t, fmt.Sprintf("%d calls reported", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		calls = r.calls
		return len(calls) >= n
	})
	if len(calls) != n {
		r.t.Errorf("%d calls are reported, want %d", len(calls), n)
	}
	return calls
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// kill stops the agent until the guard has acknowledged it.
func (r *rig) kill(action revoke.Action) revoke.Ack { return r.Kill(action, revoke.Agent, "bot") }

func (r *rig) release() { r.Release(revoke.Agent, "bot") }

// noted waits until the server has written a line.
func (r *rig) noted(line string) {
	r.t.Helper()
	eventually(r.t, line, func() bool { return r.hasNote(line) })
}

func (r *rig) hasNote(line string) bool {
	b, _ := os.ReadFile(r.notes)
	for l := range bytesLines(b) {
		if l == line {
			return true
		}
	}
	return false
}

// wantMetric compares the number of a metric.
func (r *rig) wantMetric(name string, want float64, labels ...string) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	got := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && hasLabels(m.GetLabel(), labels) {
				got += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if got != want {
		r.t.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}

// stdio starts the server behind the gate and returns a client.
func (r *rig) stdio(options *sdk.ClientOptions) *sdk.ClientSession {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.stdioOf(options, mcp.Stdio{Argv: []string{exe}, Env: append(os.Environ(), serverEnv+"="+r.notes)})
}

func (r *rig) stdioOf(options *sdk.ClientOptions, o mcp.Stdio) *sdk.ClientSession {
	r.t.Helper()
	in, toGate := io.Pipe()
	fromGate, out := io.Pipe()
	o.In, o.Out = in, out
	ended := make(chan error, 1)
	go func() {
		ended <- r.gate.Run(context.Background(), caller, o)
		out.Close()
	}()
	r.t.Cleanup(func() {
		if err := <-ended; err != nil {
			r.t.Errorf("the gate ended with %v", err)
		}
	})
	c, err := sdk.NewClient(&sdk.Implementation{Name: "client", Version: "1"}, options).
		Connect(r.t.Context(), &sdk.IOTransport{Reader: fromGate, Writer: toGate}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// http starts the server behind the gate over streamable HTTP and returns a client.
func (r *rig) http(options *sdk.ClientOptions, server *sdk.StreamableHTTPOptions) *sdk.ClientSession {
	r.t.Helper()
	f, err := os.OpenFile(r.notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { f.Close() })
	s := toolServer(func(line string) { fmt.Fprintln(f, line) })
	upstream := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, server))
	r.t.Cleanup(upstream.Close)
	return dial(r.t, r.listen(upstream.URL, mcp.Identify(names, headers)), options)
}

func dial(t *testing.T, endpoint string, options *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	c, err := sdk.NewClient(&sdk.Implementation{Name: "client", Version: "1"}, options).
		Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: endpoint, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// listen serves the gate in front of a URL and returns its own.
func (r *rig) listen(upstream string, identify func(*http.Request) (mcp.Caller, error)) string {
	r.t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serve.HTTP(ctx, l, mcp.LocalOnly(l.Addr(), r.gate.Handler(u, identify)), nil, time.Second, slog.New(slog.DiscardHandler))
	}()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}
