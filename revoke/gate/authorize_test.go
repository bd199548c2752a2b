package gate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/gate/grpcgate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/guard"
)

const teamPolicies = `
permit (principal in Tenant::"acme", action, resource in Resource::"/public");
@id("no-payments") @reason("Only people pay.")
forbid (principal, action, resource in Resource::"/payments");
permit (principal, action, resource in Resource::"/payments");
`

func authorizer(t *testing.T) gate.Authorizer {
	t.Helper()
	set, err := policy.LoadFS(fstest.MapFS{"team.cedar": {Data: []byte(teamPolicies)}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	return func(q *gate.Request) gate.Permission { return set.Authorize(q, policy.Unknown) }
}

// said is what a gate answers to one call: whether it passed, and all that it says where it did not.
type said struct {
	passed bool
	text   string
}

// policed are all gates with policies; each gives what it recorded too.
var policed = map[string]func(*testing.T, *guard.Guard, func(gate.Seen)) func(agent, resource string) said{
	"http": func(t *testing.T, g *guard.Guard, record func(gate.Seen)) func(agent, resource string) said {
		service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(service.Close)
		upstream, err := url.Parse(service.URL)
		if err != nil {
			t.Fatal(err)
		}
		p, err := httpgate.NewProxy(g, httpgate.ProxyOptions{
			Upstream: upstream, Names: names, Trusted: loopback(t), Transport: &http.Transport{DisableKeepAlives: true}, Authorize: authorizer(t), Record: record,
		})
		if err != nil {
			t.Fatal(err)
		}
		return saidOverHTTP(t, p, func(r *http.Request, resource string) { r.URL.Path = resource })
	},
	"forward-auth": func(t *testing.T, g *guard.Guard, record func(gate.Seen)) func(agent, resource string) said {
		f, err := httpgate.NewForwardAuth(g, httpgate.ForwardAuthOptions{Names: names, Trusted: loopback(t), Authorize: authorizer(t), Record: record})
		if err != nil {
			t.Fatal(err)
		}
		return saidOverHTTP(t, f, func(r *http.Request, resource string) {
			r.Header.Set("X-Forwarded-Method", "GET")
			r.Header.Set("X-Forwarded-Uri", resource)
		})
	},
	"grpc": func(t *testing.T, g *guard.Guard, record func(gate.Seen)) func(agent, resource string) said {
		c := overGRPC(t, g, func(o *grpcgate.Options) { o.Authorize, o.Record = authorizer(t), record })
		return func(agent, resource string) said {
			_, err := c.EmptyCall(as(t, agent, resource), &pb.Empty{})
			text := ""
			if s, ok := status.FromError(err); err != nil && ok {
				text = s.Proto().String()
			}
			return said{passed(t, err), text}
		}
	},
	"envoy": func(t *testing.T, g *guard.Guard, record func(gate.Seen)) func(agent, resource string) said {
		s, err := envoygate.New(g, envoygate.Options{Names: names, Authorize: authorizer(t), Record: record})
		if err != nil {
			t.Fatal(err)
		}
		c := auth.NewAuthorizationClient(connect(t, grpc.NewServer(), func(server *grpc.Server) { auth.RegisterAuthorizationServer(server, s) }))
		return func(agent, resource string) said {
			resp, err := c.Check(t.Context(), &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
				Http: &auth.AttributeContext_HttpRequest{Method: "GET", Path: resource, Headers: map[string]string{"x-agent": agent}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			return said{resp.GetStatus().GetCode() == int32(codes.OK), resp.String()}
		}
	},
}

func saidOverHTTP(t *testing.T, h http.Handler, on func(r *http.Request, resource string)) func(agent, resource string) said {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return func(agent, resource string) said {
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
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return said{res.StatusCode == 200, string(b) + strings.Join(res.Header.Values("X-Estop-Policy"), "")}
	}
}

func TestEveryGateAsksThePoliciesAndSaysWhyNot(t *testing.T) {
	for name, start := range policed {
		t.Run(name, func(t *testing.T) {
			r := gatetest.New(t)
			var mu sync.Mutex
			var seen []gate.Seen
			g := r.Guard()
			send := start(t, g, func(s gate.Seen) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, s)
			})
			if got := send("bot", "/public/1"); !got.passed {
				t.Errorf("what is permitted is refused: %s", got.text)
			}
			if got := send("bot", "/payments/1"); got.passed || !strings.Contains(got.text, "forbidden by policy no-payments: Only people pay.") {
				t.Errorf("what is forbidden: %+v", got)
			}
			if got := send("bot", "/other"); got.passed || !strings.Contains(got.text, "no policy permits it") {
				t.Errorf("what no policy permits: %+v", got)
			}
			ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
			if got := send("bot", "/public/1"); got.passed || !strings.Contains(got.text, "reads what it should not") {
				t.Errorf("a policy permits what the guard denies: %+v", got)
			}
			if s := g.Stats(); s.Allowed != 3 || s.Denied != 1 {
				t.Errorf("the guard was asked about 4 calls, and allowed %d and denied %d", s.Allowed, s.Denied)
			}
			mu.Lock()
			defer mu.Unlock()
			type brief struct {
				Outcome    gate.Outcome
				Forbidden  bool
				Policy     string
				Revocation string
			}
			var got []brief
			for _, s := range seen {
				got = append(got, brief{s.Outcome, s.Forbidden, strings.Join(s.Policies, ","), s.Revocation})
			}
			want := []brief{{}, {gate.Denied, true, "no-payments", ""}, {gate.Denied, true, "", ""}, {gate.Denied, false, "", ack.Revocation}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARestrictedAgentIsStillRestrictedWherePoliciesPermit(t *testing.T) {
	r := gatetest.New(t)
	g := r.Guard()
	r.Kill(revoke.Restrict, revoke.Agent, "bot")
	call := guard.Call{Tenant: "acme", Agent: "bot", Resource: "/public/1"}
	var asked []guard.Verdict
	permit := gate.Authorizer(func(q *gate.Request) gate.Permission {
		asked = append(asked, q.Verdict)
		return gate.Permission{Allowed: true}
	})
	if a := permit.Decide(g, g.Check(&call), gate.Request{Call: call}); a.Allowed || a.Code != gate.CodeRestricted {
		t.Errorf("a write: %+v", a)
	}
	if a := permit.Decide(g, g.Check(&call), gate.Request{Call: call, Reads: true}); !a.Allowed {
		t.Errorf("a read: %+v", a)
	}
	if diff := cmp.Diff([]guard.Verdict{guard.Restrict}, asked); diff != "" {
		t.Error(diff)
	}
}
