package gate_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/gate/grpcgate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The classes of the matrix.
const (
	closedResource = "/payments/1"
	openResource   = "/public/1"
)

var classes = gate.Classes{Opens: []string{"/public/*", "mcp://notes/public_*"}}

var names = gate.Names{
	Tenant: gate.Source{Kind: gate.FromValue, Key: gatetest.Tenant},
	Agent:  gate.Source{Kind: gate.FromHeader, Key: "X-Agent"},
}

// ask sends one call of an agent on a resource through a gate and says whether it passed.
type ask func(agent, resource string) bool

// gates are all gates, each with a real client.
var gates = map[string]func(*testing.T, *guard.Guard) ask{
	"http": func(t *testing.T, g *guard.Guard) ask {
		service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(service.Close)
		upstream, err := url.Parse(service.URL)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		p, err := httpgate.NewProxy(g, httpgate.ProxyOptions{Upstream: upstream, Names: names, Trusted: loopback(t), Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(t, p, func(r *http.Request, resource string) { r.URL.Path = resource })
	},
	"forward-auth": func(t *testing.T, g *guard.Guard) ask {
		f, err := httpgate.NewForwardAuth(g, httpgate.ForwardAuthOptions{Names: names, Trusted: loopback(t)})
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(t, f, func(r *http.Request, resource string) {
			r.Header.Set("X-Forwarded-Method", "GET")
			r.Header.Set("X-Forwarded-Uri", resource)
		})
	},
	"grpc, one call": func(t *testing.T, g *guard.Guard) ask {
		c := overGRPC(t, g)
		return func(agent, resource string) bool {
			_, err := c.EmptyCall(as(t, agent, resource), &pb.Empty{})
			return passed(t, err)
		}
	},
	"grpc, a stream": func(t *testing.T, g *guard.Guard) ask {
		c := overGRPC(t, g)
		return func(agent, resource string) bool {
			s, err := c.StreamingOutputCall(as(t, agent, resource), &pb.StreamingOutputCallRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return passed(t, err)
		}
	},
	"mcp": func(t *testing.T, g *guard.Guard) ask {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
		}))
		t.Cleanup(service.Close)
		upstream, err := url.Parse(service.URL)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mcp.New(mcp.Options{Guard: g, Server: "notes"})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(m.Handler(upstream, mcp.Identify(names, loopback(t).Facts)))
		t.Cleanup(s.Close)
		return func(agent, resource string) bool {
			return callTool(t, s.URL, agent, strings.ReplaceAll(resource[1:], "/", "_"))
		}
	},
	"envoy": func(t *testing.T, g *guard.Guard) ask {
		s, err := envoygate.New(g, envoygate.Options{Names: names})
		if err != nil {
			t.Fatal(err)
		}
		c := auth.NewAuthorizationClient(connect(t, grpc.NewServer(), func(server *grpc.Server) { auth.RegisterAuthorizationServer(server, s) }))
		return func(agent, resource string) bool {
			resp, err := c.Check(t.Context(), &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
				Http: &auth.AttributeContext_HttpRequest{Method: "GET", Path: resource, Headers: map[string]string{"x-agent": agent}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetStatus().GetCode() == int32(codes.OK)
		}
	},
}

func loopback(t *testing.T) httpgate.Peers {
	t.Helper()
	p, err := httpgate.ParsePeers([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func overHTTP(t *testing.T, h http.Handler, on func(r *http.Request, resource string)) ask {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return func(agent, resource string) bool {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		r.Header.Set("X-Agent", agent)
		on(r, resource)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 && (res.StatusCode != 403 || res.Header.Get("Cache-Control") != "no-store") {
			t.Fatalf("%s %v", res.Status, res.Header)
		}
		return res.StatusCode == 200
	}
}

// callTool calls a tool of an MCP server. A refusal is the answer to the call, and no cache may keep it.
func callTool(t *testing.T, at, agent, tool string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", at, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Agent", agent)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	passed := strings.Contains(string(b), `"result"`)
	if !passed && (!strings.Contains(string(b), "denied") || res.Header.Get("Cache-Control") != "no-store") {
		t.Fatalf("%s %v %s", res.Status, res.Header, b)
	}
	return passed
}

type service struct {
	pb.UnimplementedTestServiceServer
}

func (service) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }

func (service) StreamingOutputCall(_ *pb.StreamingOutputCallRequest, s pb.TestService_StreamingOutputCallServer) error {
	return s.Send(&pb.StreamingOutputCallResponse{})
}

func overGRPC(t *testing.T, g *guard.Guard, change ...func(*grpcgate.Options)) pb.TestServiceClient {
	t.Helper()
	identify, err := grpcgate.Names(names)
	if err != nil {
		t.Fatal(err)
	}
	o := grpcgate.Options{Identify: func(ctx context.Context, method string) (guard.Call, error) {
		call, err := identify(ctx, method)
		if md, ok := metadata.FromIncomingContext(ctx); ok {
			call.Resource = md.Get("x-resource")[0]
		}
		return call, err
	}}
	for _, f := range change {
		f(&o)
	}
	gated, err := grpcgate.New(g, o)
	if err != nil {
		t.Fatal(err)
	}
	return pb.NewTestServiceClient(connect(t, grpc.NewServer(gated.ServerOptions()...), func(s *grpc.Server) { pb.RegisterTestServiceServer(s, service{}) }))
}

func connect(t *testing.T, s *grpc.Server, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	register(s)
	l := gatetest.Listen(t)
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); s.Stop(); done.Wait() })
	return conn
}

func as(t *testing.T, agent, resource string) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(t.Context(), "x-agent", agent, "x-resource", resource)
}

func passed(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	return err == nil
}

// state is how NATS is doing, and what a gate must do then.
type state struct {
	guard  func(*testing.T, *gatetest.Rig, *gatetest.Clock) *guard.Guard
	closed bool // whether a resource that fails closed is reached
	open   bool // the same of one that fails open
	known  bool // whether the kill of "stopped" was heard
}

const maxStale = 30 * time.Second

// options are what every guard of the matrix has: the clock decides when it is stale.
func options(clock *gatetest.Clock) func(*guard.Options) {
	return func(o *guard.Options) {
		o.Clock, o.MaxStale, o.FailClosed = clock.Now, maxStale, classes.FailClosed
	}
}

// lost is a guard that was synced, and then lost NATS for a time.
func lost(d time.Duration) func(*testing.T, *gatetest.Rig, *gatetest.Clock) *guard.Guard {
	return func(t *testing.T, r *gatetest.Rig, clock *gatetest.Clock) *guard.Guard {
		g := r.Guard(options(clock))
		r.Kill(revoke.Revoke, revoke.Agent, "stopped")
		r.Down()
		time.Sleep(200 * time.Millisecond) // what was on its way has come
		clock.Add(d)
		time.Sleep(500 * time.Millisecond) // the guard looks at its clock
		return g
	}
}

var states = map[string]state{
	"NATS never reachable": {
		guard: func(_ *testing.T, r *gatetest.Rig, clock *gatetest.Clock) *guard.Guard {
			r.Down()
			return r.Make(options(clock))
		},
		closed: false, open: true,
	},
	"lost before the first sync": {
		guard: func(t *testing.T, r *gatetest.Rig, clock *gatetest.Clock) *guard.Guard {
			r.DropStream() // there is NATS, but what is in force cannot be read
			g := r.Make(options(clock))
			if err := g.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			if g.Synced() {
				t.Fatal("synced without a stream")
			}
			r.Down()
			return g
		},
		closed: false, open: true,
	},
	"a restart without NATS, with what a file keeps": {
		guard: func(t *testing.T, r *gatetest.Rig, clock *gatetest.Clock) *guard.Guard {
			file := filepath.Join(t.TempDir(), "state")
			before := r.Guard(options(clock), func(o *guard.Options) { o.File = file })
			r.Kill(revoke.Revoke, revoke.Agent, "stopped")
			if err := before.Close(); err != nil {
				t.Fatal(err)
			}
			r.Down()
			g := r.Make(options(clock), func(o *guard.Options) { o.File = file })
			if err := g.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return g
		},
		closed: true, open: true, known: true,
	},
	"lost after the sync, within max stale": {guard: lost(maxStale - 5*time.Second), closed: true, open: true, known: true},
	"lost after the sync, past max stale":   {guard: lost(maxStale + 5*time.Second), closed: false, open: true, known: true},
}

func TestComplaint04EveryGateFailsAsItsResourcesOwnerChose(t *testing.T) {
	for gateName, start := range gates {
		for stateName, s := range states {
			t.Run(fmt.Sprint(gateName, "/", stateName), func(t *testing.T) {
				t.Parallel()
				send := start(t, s.guard(t, gatetest.New(t), gatetest.NewClock()))
				if got := send("bot", closedResource); got != s.closed {
					t.Errorf("what fails closed: passed is %v, want %v", got, s.closed)
				}
				if got := send("bot", openResource); got != s.open {
					t.Errorf("what fails open: passed is %v, want %v", got, s.open)
				}
				// What is known of stays in force however old it is.
				if s.known && (send("stopped", openResource) || send("stopped", closedResource)) {
					t.Error("an agent that is known to be stopped passed")
				}
				// And failing open is for those who can be told from others.
				if send("", openResource) {
					t.Error("a call of nobody passed")
				}
			})
		}
	}
}
