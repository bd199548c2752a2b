package gate_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
	"github.com/estop-project/estop/revoke/guard"
)

// A verdict that a cache keeps outlives the kill: each answer over HTTP says that it must not be
// kept, also where it lets a request pass.
func TestComplaint06NoAnswerOfAGateMayBeKept(t *testing.T) {
	r := gatetest.New(t)
	g := r.Guard()
	r.Kill(revoke.Revoke, revoke.Agent, "stopped")
	r.Kill(revoke.Restrict, revoke.Agent, "reader")
	for name, answer := range map[string]func(*testing.T, *guard.Guard, string) (status int, cacheControl string){
		"http": answerOfProxy, "forward-auth": answerOfForwardAuth, "envoy": answerOfEnvoy,
	} {
		f := func(agent string, want int) {
			t.Helper()
			status, cacheControl := answer(t, g, agent)
			if status != want || status != http.StatusOK && cacheControl != "no-store" {
				t.Errorf("%s to %q: %d, want %d; Cache-Control is %q", name, agent, status, want, cacheControl)
			}
			if name == "forward-auth" && cacheControl != "no-store" {
				t.Errorf("%s to %q: %d with Cache-Control %q", name, agent, status, cacheControl)
			}
		}
		f("bot", 200)
		f("stopped", 403)
		f("reader", 403)
		f("", 403)
	}
}

// Whatever a gate, its client or its connection remembers, between two equal calls a kill makes the difference.
func TestComplaint06AKillBetweenTwoEqualCallsRefusesTheSecond(t *testing.T) {
	for name, start := range gates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := gatetest.New(t)
			send := start(t, r.Guard())
			for range 3 {
				if !send("bot", closedResource) || !send("other", closedResource) {
					t.Fatal("a call is refused before the kill")
				}
			}
			r.Kill(revoke.Revoke, revoke.Agent, "bot") // returns once the guard has acknowledged: no waiting here
			if send("bot", closedResource) {
				t.Error("the call passes after the kill")
			}
			if !send("other", closedResource) {
				t.Error("another agent is refused")
			}
			r.Release(revoke.Agent, "bot")
			if !send("bot", closedResource) {
				t.Error("a refusal outlives the release")
			}
		})
	}
}

func answerOf(t *testing.T, h http.Handler, agent string) (int, string) {
	t.Helper()
	req := httptest.NewRequest("POST", "/orders", nil)
	req.RemoteAddr = "127.0.0.1:1"
	req.Header.Set("X-Agent", agent)
	req.Header.Set("X-Forwarded-Method", "POST")
	req.Header.Set("X-Forwarded-Uri", "/orders")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Header().Get("Cache-Control")
}

func answerOfProxy(t *testing.T, g *guard.Guard, agent string) (int, string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer service.Close()
	upstream, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	p, err := httpgate.NewProxy(g, httpgate.ProxyOptions{
		Upstream: upstream, Names: names, Trusted: loopback(t), Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, p, agent)
}

func answerOfForwardAuth(t *testing.T, g *guard.Guard, agent string) (int, string) {
	t.Helper()
	f, err := httpgate.NewForwardAuth(g, httpgate.ForwardAuthOptions{Names: names, Trusted: loopback(t)})
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, f, agent)
}

func answerOfEnvoy(t *testing.T, g *guard.Guard, agent string) (int, string) {
	t.Helper()
	s, err := envoygate.New(g, envoygate.Options{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Check(t.Context(), &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
		Http: &auth.AttributeContext_HttpRequest{Method: "POST", Path: "/orders", Headers: map[string]string{"x-agent": agent}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	denied := resp.GetDeniedResponse()
	for _, h := range denied.GetHeaders() {
		if h.GetHeader().GetKey() == "Cache-Control" {
			return int(denied.GetStatus().GetCode()), h.GetHeader().GetValue()
		}
	}
	if denied != nil {
		return int(denied.GetStatus().GetCode()), ""
	}
	return http.StatusOK, ""
}
