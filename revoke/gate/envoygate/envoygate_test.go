package envoygate_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func source(t testing.TB, text string) gate.Source {
	t.Helper()
	s, err := gate.ParseSource(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func spiffe(t testing.TB) gate.Names {
	return gate.Names{Tenant: source(t, "value:"+gatetest.Tenant), Agent: source(t, "spiffe:path"), Identity: source(t, "principal")}
}

func claims(t testing.TB) gate.Names {
	return gate.Names{
		Tenant: source(t, "claim:jwt.tenant"), Agent: source(t, "claim:jwt.sub"), Session: source(t, "claim:jwt.sid?"),
		Chain: source(t, "claim:jwt.act?"), IssuedAt: source(t, "claim:jwt.iat"),
	}
}

// serve runs a gate's server and returns its address.
func serve(t testing.TB, g *guard.Guard, o envoygate.Options) string {
	t.Helper()
	s, err := envoygate.New(g, o)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, s)
	l := gatetest.Listen(t)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); done.Wait() })
	return l.Addr().String()
}

func dial(t testing.TB, addr string) auth.AuthorizationClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return auth.NewAuthorizationClient(conn)
}

// request is a CheckRequest as Envoy sends it.
func request(principal, method, path string, headers map[string]string) *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Principal: principal},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: method, Path: path, Headers: headers, Protocol: "HTTP/1.1", Size: -1,
		}},
	}}
}

// as is a request of an agent with a SPIFFE ID.
func as(agent, method, path string) *auth.CheckRequest {
	return request("spiffe://example.org/"+agent, method, path, nil)
}

func check(t testing.TB, c auth.AuthorizationClient, req *auth.CheckRequest) *auth.CheckResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.Check(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func wantAllowed(t testing.TB, resp *auth.CheckResponse) {
	t.Helper()
	if resp.GetStatus().GetCode() != int32(codes.OK) || resp.GetOkResponse() == nil {
		t.Fatalf("not allowed: %v", resp)
	}
}

// wantDenied wants a refusal that no cache keeps and that says why, to the client and to
// Envoy's log.
func wantDenied(t testing.TB, resp *auth.CheckResponse, status int, code, revocation string) {
	t.Helper()
	denied := resp.GetDeniedResponse()
	if resp.GetStatus().GetCode() == int32(codes.OK) || denied == nil || int(denied.GetStatus().GetCode()) != status {
		t.Fatalf("got %v, want %d", resp, status)
	}
	got := map[string]string{}
	for _, h := range denied.GetHeaders() {
		got[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if got["Cache-Control"] != "no-store" || got["X-Estop-Reason"] == "" || got["X-Estop-Revocation"] != revocation {
		t.Errorf("headers %v, want the revocation %q", got, revocation)
	}
	if (got["Retry-After"] == "1") != (status == 429) {
		t.Errorf("Retry-After %q with %d", got["Retry-After"], status)
	}
	fields := resp.GetDynamicMetadata().GetFields()
	if fields["code"].GetStringValue() != code || fields["revocation"].GetStringValue() != revocation {
		t.Errorf("metadata %v, want the code %s", fields, code)
	}
	if !strings.Contains(denied.GetBody(), `"verdict"`) {
		t.Errorf("body %s", denied.GetBody())
	}
}

func TestEachVerdictIsAnAnswerToEnvoy(t *testing.T) {
	r := gatetest.New(t)
	c := dial(t, serve(t, r.Guard(), envoygate.Options{Names: spiffe(t)}))
	resp := check(t, c, as("bot", "POST", "/orders"))
	wantAllowed(t, resp)
	if f := resp.GetDynamicMetadata().GetFields(); f["agent"].GetStringValue() != "bot" || f["tenant"].GetStringValue() != gatetest.Tenant {
		t.Errorf("metadata %v", f)
	}
	ack := r.Kill(revoke.Throttle, revoke.Agent, "bot")
	wantAllowed(t, check(t, c, as("bot", "POST", "/orders")))
	wantDenied(t, check(t, c, as("bot", "POST", "/orders")), 429, "THROTTLED", ack.Revocation)

	ack = r.Kill(revoke.Restrict, revoke.Agent, "bot")
	wantAllowed(t, check(t, c, as("bot", "GET", "/orders")))
	wantDenied(t, check(t, c, as("bot", "POST", "/orders")), 403, "RESTRICTED", ack.Revocation)

	ack = r.Kill(revoke.Revoke, revoke.Identity, "spiffe://example.org/bot")
	wantDenied(t, check(t, c, as("bot", "GET", "/orders")), 403, "REVOKED", ack.Revocation)
	wantAllowed(t, check(t, c, as("other", "GET", "/orders")))
}

func TestComplaint05ARequestThatNamesNobodyIsDenied(t *testing.T) {
	r := gatetest.New(t)
	g := r.Guard()
	c := dial(t, serve(t, g, envoygate.Options{Names: spiffe(t)}))
	h := dial(t, serve(t, g, envoygate.Options{Names: gate.Names{Tenant: source(t, "value:acme"), Agent: source(t, "header:X-Agent")}}))
	raw := request("", "GET", "/", nil)
	raw.Attributes.Request.Http.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{
		{Key: "x-agent", RawValue: []byte("a")}, {Key: "x-agent", RawValue: []byte("b")},
	}}
	f := func(name string, c auth.AuthorizationClient, req *auth.CheckRequest) {
		t.Helper()
		t.Log(name)
		wantDenied(t, check(t, c, req), 403, "UNIDENTIFIED", "")
	}
	f("nothing at all", c, &auth.CheckRequest{})
	f("no principal", c, request("", "GET", "/", nil))
	f("a principal of another kind", c, request("CN=bot,O=acme", "GET", "/", nil))
	f("a URI of another kind", c, request("https://example.org/bot", "GET", "/", nil))
	f("no path in it", c, request("spiffe://example.org", "GET", "/", nil))
	f("no HTTP request", c, request("spiffe://example.org/bot", "", "", nil))
	f("no header", h, request("", "GET", "/", map[string]string{"x-other": "bot"}))
	f("two headers, as Envoy joins them", h, request("", "GET", "/", map[string]string{"x-agent": "a,b"}))
	f("two headers, as Envoy lists them", h, raw)
	wantAllowed(t, check(t, h, request("", "GET", "/", map[string]string{"x-agent": "a"})))
}

// token is a request with claims that Envoy's JWT filter has verified.
func token(t testing.TB, claims map[string]any) *auth.CheckRequest {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{"jwt": claims})
	if err != nil {
		t.Fatal(err)
	}
	req := request("", "GET", "/", nil)
	req.Attributes.MetadataContext = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.jwt_authn": s}}
	return req
}

func TestClaimsOfAVerifiedTokenAreTheIdentity(t *testing.T) {
	r := gatetest.New(t)
	var seen gate.Seen
	c := dial(t, serve(t, r.Guard(), envoygate.Options{Names: claims(t), Record: func(s gate.Seen) { seen = s }}))
	// RFC 8693: the current actor is the outermost.
	act := map[string]any{"sub": "bot", "act": map[string]any{"sub": "planner", "act": map[string]any{"sub": "root"}}}
	wantAllowed(t, check(t, c, token(t, map[string]any{"tenant": "acme", "sub": "bot", "sid": "s1", "iat": 1.7e9, "act": act})))
	want := guard.Call{
		Tenant: "acme", Agent: "bot", Session: "s1", Chain: []string{"root", "planner", "bot"},
		CredentialIssuedAt: time.Unix(1.7e9, 0), Resource: "/", Action: "GET",
	}
	if diff := cmp.Diff(want, seen.Call); diff != "" {
		t.Error(diff)
	}
	wantAllowed(t, check(t, c, token(t, map[string]any{"tenant": "acme", "sub": "bot", "iat": 1.7e9})))
	for name, claims := range map[string]map[string]any{
		"no subject":          {"tenant": "acme", "iat": 1.7e9},
		"a subject of two":    {"tenant": "acme", "sub": []any{"a", "b"}, "iat": 1.7e9},
		"no time":             {"tenant": "acme", "sub": "bot"},
		"a time of words":     {"tenant": "acme", "sub": "bot", "iat": "yesterday"},
		"an actor of no name": {"tenant": "acme", "sub": "bot", "iat": 1.7e9, "act": map[string]any{"iss": "x"}},
	} {
		t.Log(name)
		wantDenied(t, check(t, c, token(t, claims)), 403, "UNIDENTIFIED", "")
	}
	ack := r.Kill(revoke.Revoke, revoke.Chain, "root")
	wantDenied(t, check(t, c, token(t, map[string]any{"tenant": "acme", "sub": "bot", "iat": 1.7e9, "act": act})), 403, "REVOKED", ack.Revocation)
}

func TestPathAndMethodAreResourceAndAction(t *testing.T) {
	r := gatetest.New(t)
	var seen []gate.Seen
	c := dial(t, serve(t, r.Guard(), envoygate.Options{Names: spiffe(t), Record: func(s gate.Seen) { seen = append(seen, s) }}))
	check(t, c, as("bot", "PUT", "/orders/7?token=secret"))
	check(t, c, request("spiffe://example.org/bot", "POST", "/shop.Orders/Cancel", map[string]string{"content-type": "application/grpc+proto", "traceparent": "00-1"}))
	ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
	check(t, c, as("bot", "GET", "/"))
	identity := "spiffe://example.org/bot"
	want := []gate.Seen{
		{Call: guard.Call{Tenant: "acme", Agent: "bot", Identity: identity, Resource: "/orders/7", Action: "PUT"}, Kind: "envoy"},
		{Call: guard.Call{Tenant: "acme", Agent: "bot", Identity: identity, Resource: "shop.Orders", Action: "Cancel"}, Kind: "envoy", Traceparent: "00-1"},
		{Call: guard.Call{Tenant: "acme", Agent: "bot", Identity: identity, Resource: "/", Action: "GET"}, Kind: "envoy", Outcome: gate.Denied, Revocation: ack.Revocation},
	}
	if diff := cmp.Diff(want, seen, cmpopts.IgnoreFields(gate.Seen{}, "Time")); diff != "" {
		t.Error(diff)
	}
}

func TestAReasonCannotBreakTheAnswer(t *testing.T) {
	r := gatetest.New(t)
	c := dial(t, serve(t, r.Guard(), envoygate.Options{Names: spiffe(t)}))
	bad := request("spiffe://example.org/\r\nX-Admin: yes", "GET", "/", nil)
	resp := check(t, c, bad)
	wantDenied(t, resp, 403, "UNIDENTIFIED", "")
	for _, h := range resp.GetDeniedResponse().GetHeaders() {
		if strings.ContainsAny(h.GetHeader().GetValue(), "\r\n") {
			t.Errorf("a line break in %v", h)
		}
	}
}

func FuzzCheck(f *testing.F) {
	r := gatetest.New(f)
	g := r.Guard()
	s, err := envoygate.New(g, envoygate.Options{Names: claims(f)})
	if err != nil {
		f.Fatal(err)
	}
	for _, req := range []*auth.CheckRequest{{}, as("bot", "GET", "/"), token(f, map[string]any{"tenant": "acme", "sub": "bot", "iat": 1})} {
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var req auth.CheckRequest
		if proto.Unmarshal(b, &req) != nil {
			return
		}
		resp, err := s.Check(t.Context(), &req)
		if err != nil || resp.GetHttpResponse() == nil {
			t.Fatal(resp, err)
		}
		if _, err := proto.Marshal(resp); err != nil {
			t.Fatal(err)
		}
	})
}
