package httpgate_test

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
	"github.com/estop-project/estop/revoke/guard"
)

// forward runs a forward-auth endpoint and returns its URL.
func forward(t testing.TB, g *guard.Guard, change ...func(*httpgate.ForwardAuthOptions)) string {
	t.Helper()
	o := httpgate.ForwardAuthOptions{Names: byHeader(t), Trusted: peers(t, "127.0.0.1")}
	for _, f := range change {
		f(&o)
	}
	h, err := httpgate.NewForwardAuth(g, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// The headers that each proxy sends when it asks about POST /orders/7?x=1.
var asked = map[string][]string{
	"Traefik": {
		"X-Forwarded-Method: POST", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Uri: /orders/7?x=1",
		"X-Forwarded-For: 10.0.0.9",
	},
	"Caddy":         {"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders/7?x=1", "X-Forwarded-For: 10.0.0.9", "X-Forwarded-Host: shop.example"},
	"nginx":         {"X-Original-Method: POST", "X-Original-URI: /orders/7?x=1"},
	"ingress-nginx": {"X-Original-Method: POST", "X-Original-URL: https://shop.example/orders/7?x=1", "X-Auth-Request-Redirect: /orders/7?x=1", "X-Forwarded-Host: shop.example"},
}

func TestTheFormsOfEachProxyAreRead(t *testing.T) {
	for name, headers := range asked {
		t.Run(name, func(t *testing.T) {
			r := gatetest.New(t)
			var seen gate.Seen
			at := forward(t, r.Guard(), func(o *httpgate.ForwardAuthOptions) { o.Record = func(s gate.Seen) { seen = s } })
			f := func(want int, change ...string) {
				t.Helper()
				status, h, body := send(t, nil, "GET", at, append(append([]string{"X-Agent: bot"}, headers...), change...)...)
				wantStatus(t, want, status, h, body)
				if h.Get("Cache-Control") != "no-store" {
					t.Errorf("an answer that a cache may keep: %v", h)
				}
			}
			f(200)
			want := guard.Call{Tenant: "acme", Agent: "bot", Resource: "/orders/7", Action: "POST"}
			if diff := cmp.Diff(want, seen.Call); diff != "" || seen.Outcome != gate.OK {
				t.Error(diff, seen.Outcome)
			}
			throttled := 429
			if strings.Contains(name, "nginx") {
				throttled = 403 // auth_request knows no other refusal
			}
			r.Kill(revoke.Throttle, revoke.Agent, "bot")
			f(200)
			f(throttled)
			ack := r.Kill(revoke.Restrict, revoke.Agent, "bot")
			f(403)
			if seen.Outcome != gate.Denied || seen.Revocation != ack.Revocation {
				t.Errorf("recorded %+v", seen)
			}
			r.Kill(revoke.Revoke, revoke.Agent, "bot")
			f(403)
		})
	}
}

func TestARefusalSaysWhyInHeadersThatProxiesCanUse(t *testing.T) {
	r := gatetest.New(t)
	at := forward(t, r.Guard())
	ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
	status, h, body := send(t, nil, "GET", at, append(asked["Traefik"], "X-Agent: bot")...)
	wantStatus(t, 403, status, h, body)
	if h.Get("X-Estop-Verdict") != "deny" || h.Get("X-Estop-Revocation") != ack.Revocation || h.Get("X-Estop-Reason") != "reads what it should not" {
		t.Errorf("headers %v", h)
	}
	if want := fmt.Sprintf(`{"verdict":"deny","reason":"reads what it should not","revocation":%q}`+"\n", ack.Revocation); body != want {
		t.Errorf("got %s, want %s", body, want)
	}
}

func TestComplaint05ARequestThatIsNotDescribedOnceIsDenied(t *testing.T) {
	r := gatetest.New(t)
	g := r.Guard()
	any := forward(t, g)
	pinned := forward(t, g, func(o *httpgate.ForwardAuthOptions) { o.Form = httpgate.FormForwarded })
	f := func(at string, want int, headers ...string) {
		t.Helper()
		status, h, body := send(t, nil, "GET", at, headers...)
		wantStatus(t, want, status, h, body)
	}
	f(any, 403)
	f(any, 403, asked["Traefik"]...)                      // nobody's
	f(any, 403, "X-Agent: bot")                           // about nothing
	f(any, 403, "X-Agent: bot", "X-Forwarded-Uri: /")     // no method
	f(any, 403, "X-Agent: bot", "X-Original-Method: GET") // no URI
	f(any, 403, append(asked["Traefik"], "X-Agent: a", "X-Agent: b")...)
	f(any, 403, append(asked["Traefik"], "X-Agent: bot", "X-Forwarded-Method: GET")...)
	f(any, 403, append(asked["Traefik"], "X-Agent: bot", "X-Original-Method: GET")...) // a client that describes itself
	f(any, 403, append(asked["nginx"], "X-Agent: bot", "X-Original-URL: /")...)
	f(any, 403, "X-Agent: bot", "X-Forwarded-Method: GET", "X-Forwarded-Uri: http://%")
	f(pinned, 200, append(asked["Traefik"], "X-Agent: bot", "X-Original-Method: GET")...) // the other form is not looked at
	f(pinned, 403, append(asked["nginx"], "X-Agent: bot")...)
	stranger := forward(t, g, func(o *httpgate.ForwardAuthOptions) { o.Trusted = peers(t, "10.0.0.0/8") })
	f(stranger, 403, append(asked["Traefik"], "X-Agent: bot")...)
}

// behind sends requests of agents through a proxy that asks the gate, and wants what comes.
func behind(t *testing.T, r *gatetest.Rig, u *upstream, at string) {
	t.Helper()
	f := func(want int, method, agent string) {
		t.Helper()
		status, _, body := send(t, nil, method, at+"/orders?x=1", "X-Agent: "+agent)
		if status != want {
			t.Fatalf("%s as %s: %d %s, want %d", method, agent, status, body, want)
		}
	}
	f(200, "POST", "bot")
	if got := u.last(t); got.Method != "POST" || got.URL.String() != "/orders?x=1" {
		t.Errorf("the upstream got %s %s", got.Method, got.URL)
	}
	r.Kill(revoke.Throttle, revoke.Agent, "bot")
	f(200, "POST", "bot")
	f(429, "POST", "bot")
	r.Kill(revoke.Restrict, revoke.Agent, "bot")
	f(200, "GET", "bot")
	f(403, "POST", "bot")
	r.Kill(revoke.Revoke, revoke.Agent, "bot")
	before := u.count()
	f(403, "GET", "bot")
	f(200, "GET", "other")
	if u.count() != before+1 {
		t.Errorf("%d requests came to the upstream, want 1", u.count()-before)
	}
	status, _, _ := send(t, nil, "GET", at)
	if status != 403 {
		t.Errorf("a request of nobody: %d", status)
	}
}

// nginxConfig is what docs/gates.md shows.
const nginxConfig = `
daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen 127.0.0.1:%[2]d;
    location / {
      auth_request /_estop;
      auth_request_set $estop_verdict $upstream_http_x_estop_verdict;
      error_page 403 = @refused;
      proxy_pass %[3]s;
    }
    location = /_estop {
      internal;
      proxy_pass %[4]s;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Forwarded-Method "";
      proxy_set_header X-Forwarded-Uri "";
    }
    location @refused {
      add_header Cache-Control no-store always;
      if ($estop_verdict = throttle) { return 429; }
      return 403;
    }
  }
}
`

func TestBehindARealNginx(t *testing.T) {
	nginx := gatetest.Program(t, "nginx")
	r := gatetest.New(t)
	u := newUpstream(t, nil)
	at, port, dir := forward(t, r.Guard()), gatetest.FreePort(t), t.TempDir()
	config := gatetest.File(t, "nginx.conf", fmt.Appendf(nil, nginxConfig, dir, port, u.URL, at))
	gatetest.Run(t, port, nginx, "-c", config, "-p", dir)
	behind(t, r, u, fmt.Sprintf("http://127.0.0.1:%d", port))
}

func TestBehindARealCaddy(t *testing.T) {
	caddy := gatetest.Program(t, "caddy")
	r := gatetest.New(t)
	u := newUpstream(t, nil)
	at, port := forward(t, r.Guard()), gatetest.FreePort(t)
	config := gatetest.File(t, "Caddyfile", fmt.Appendf(nil, `
{
	admin off
	auto_https off
}
http://127.0.0.1:%d {
	forward_auth %s {
		uri /
	}
	reverse_proxy %s
}
`, port, strings.TrimPrefix(at, "http://"), strings.TrimPrefix(u.URL, "http://")))
	gatetest.Run(t, port, caddy, "run", "--config", filepath.Clean(config), "--adapter", "caddyfile")
	behind(t, r, u, fmt.Sprintf("http://127.0.0.1:%d", port))
}

func FuzzForwardAuth(f *testing.F) {
	r := gatetest.New(f)
	var seen *gate.Seen
	h, err := httpgate.NewForwardAuth(r.Guard(), httpgate.ForwardAuthOptions{
		Names: byHeader(f), Trusted: peers(f, "127.0.0.1"), Record: func(s gate.Seen) { seen = &s },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", "/orders?x=1", "bot", "")
	f.Add("GET", "https://shop.example/orders", "bot", "GET")
	f.Add("", "//x/../y%00", "a,b", "")
	f.Fuzz(func(t *testing.T, method, uri, agent, original string) {
		req := httptest.NewRequest("GET", "/", nil)
		req.RemoteAddr = "127.0.0.1:1"
		req.Header["X-Forwarded-Method"], req.Header["X-Forwarded-Uri"], req.Header["X-Agent"] = []string{method}, []string{uri}, []string{agent}
		if original != "" {
			req.Header["X-Original-Method"] = []string{original}
		}
		seen = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		allowed := w.Code == 200
		if w.Header().Get("Cache-Control") != "no-store" || !allowed && w.Code != 403 {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		if allowed && (seen == nil || seen.Action != method || !strings.HasPrefix(seen.Resource, "/") || seen.Agent == "" || original != "") {
			t.Fatalf("%q %q as %q passed as %+v", method, uri, agent, seen)
		}
	})
}
