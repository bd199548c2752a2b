package emit_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/estop-project/estop/pipeline/gate/emit"
	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/gate/grpcgate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
	"github.com/estop-project/estop/revoke/guard"
)

var names = gate.Names{
	Tenant: gate.Source{Kind: gate.FromValue, Key: gatetest.Tenant},
	Agent:  gate.Source{Kind: gate.FromHeader, Key: "X-Agent"},
}

// service is what is behind a gate: a call of the agent "slow" waits until it is given up.
type service struct {
	pb.UnimplementedTestServiceServer
	began chan struct{}
}

func (s service) wait(ctx context.Context, agent string) {
	if agent == "slow" {
		close(s.began)
		<-ctx.Done()
	}
}

func (s service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // or the server does not notice that the client goes
	if strings.Contains(string(body), "notifications/cancelled") {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.wait(r.Context(), r.Header.Get("X-Agent"))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
}

func (s service) EmptyCall(ctx context.Context, _ *pb.Empty) (*pb.Empty, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.wait(ctx, strings.Join(md.Get("x-agent"), ""))
	return &pb.Empty{}, nil
}

// recorded are all gates that stand in front of a service and report to an emitter. What they return
// makes a call of an agent; how it ends is for the record to say. asksOnce says that the gate does not see the end.
var recorded = map[string]struct {
	asksOnce bool
	start    func(*testing.T, *guard.Guard, *emit.Emitter, service) func(agent string)
}{
	"http": {start: func(t *testing.T, g *guard.Guard, e *emit.Emitter, s service) func(string) {
		p, err := httpgate.NewProxy(g, httpgate.ProxyOptions{Upstream: serve(t, s), Names: names, Trusted: loopback(t), Record: e.Seen})
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(t, p, "")
	}},
	"mcp": {start: func(t *testing.T, g *guard.Guard, e *emit.Emitter, s service) func(string) {
		m, err := mcp.New(mcp.Options{Guard: g, Server: "notes", Report: e.Emit})
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(t, m.Handler(serve(t, s), mcp.Identify(names, loopback(t).Facts)),
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}`)
	}},
	"forward-auth": {asksOnce: true, start: func(t *testing.T, g *guard.Guard, e *emit.Emitter, _ service) func(string) {
		f, err := httpgate.NewForwardAuth(g, httpgate.ForwardAuthOptions{Names: names, Trusted: loopback(t), Record: e.Seen})
		if err != nil {
			t.Fatal(err)
		}
		return overHTTP(t, f, "")
	}},
	"envoy": {asksOnce: true, start: func(t *testing.T, g *guard.Guard, e *emit.Emitter, _ service) func(string) {
		s, err := envoygate.New(g, envoygate.Options{Names: names, Record: e.Seen})
		if err != nil {
			t.Fatal(err)
		}
		return func(agent string) {
			_, err := s.Check(t.Context(), &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
				Http: &auth.AttributeContext_HttpRequest{Method: "GET", Path: "/x", Headers: map[string]string{"x-agent": agent}},
			}}})
			if err != nil {
				t.Error(err)
			}
		}
	}},
	"grpc": {start: func(t *testing.T, g *guard.Guard, e *emit.Emitter, s service) func(string) {
		identify, err := grpcgate.Names(names)
		if err != nil {
			t.Fatal(err)
		}
		gated, err := grpcgate.New(g, grpcgate.Options{Identify: identify, Record: e.Seen})
		if err != nil {
			t.Fatal(err)
		}
		server, l := grpc.NewServer(gated.ServerOptions()...), gatetest.Listen(t)
		pb.RegisterTestServiceServer(server, s)
		var done sync.WaitGroup
		done.Go(func() { _ = server.Serve(l) })
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(); server.Stop(); done.Wait() })
		return func(agent string) {
			_, _ = pb.NewTestServiceClient(conn).EmptyCall(metadata.AppendToOutgoingContext(t.Context(), "x-agent", agent), &pb.Empty{})
		}
	}},
}

func serve(t *testing.T, h http.Handler) *url.URL {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func loopback(t *testing.T) httpgate.Peers {
	t.Helper()
	p, err := httpgate.ParsePeers([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func overHTTP(t *testing.T, h http.Handler, body string) func(agent string) {
	at := serve(t, h)
	return func(agent string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.String(), strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.Close = true
		for name, value := range map[string]string{
			"X-Agent": agent, "Content-Type": "application/json", "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/x",
		} {
			r.Header.Set(name, value)
		}
		if res, err := http.DefaultClient.Do(r); err == nil { // else the response was cut
			res.Body.Close()
		}
	}
}

// What a revocation refuses or cuts is on record with the id of the revocation, whichever gate it was at.
func TestTheRecordSaysWhichRevocationRefusedOrCutACall(t *testing.T) {
	for name, g := range recorded {
		t.Run(name, func(t *testing.T) {
			r, kafka := gatetest.New(t), broker(t)
			e, err := emit.New(emit.Options{Kafka: kafka})
			if err != nil {
				t.Fatal(err)
			}
			s := service{began: make(chan struct{})}
			call := g.start(t, r.Guard(), e, s)
			call("free")
			want := map[string]string{
				"free":    "ok ",
				"stopped": "denied " + r.Kill(revoke.Revoke, revoke.Agent, "stopped").Revocation,
			}
			call("stopped")
			if !g.asksOnce {
				done := make(chan struct{})
				go func() { defer close(done); call("slow") }()
				await(t, s.began, "the call does not come through")
				want["slow"] = "denied " + r.Kill(revoke.Revoke, revoke.Agent, "slow").Revocation
				await(t, done, "the call is not cut")
			}
			got := map[string]string{}
			for _, record := range read(t, kafka, len(want)) {
				c := decode(t, record)
				got[string(c.Agent)] = c.Outcome.String() + " " + about(c, "revocation")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if err := closeIn(t, e, 20*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

func await(t *testing.T, done <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal(otherwise)
	}
}

// about is what the context of a call says under a key.
func about(c *telemetry.Call, key string) string {
	for _, p := range c.Context {
		if string(p.Key) == key {
			return string(p.Value)
		}
	}
	return ""
}
