package httpgate_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
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

// byHeader names the agent by a header that an authenticator sets.
func byHeader(t testing.TB) gate.Names {
	return gate.Names{Tenant: source(t, "value:acme"), Agent: source(t, "header:X-Agent"), Session: source(t, "header:X-Session?")}
}

func peers(t testing.TB, texts ...string) httpgate.Peers {
	t.Helper()
	p, err := httpgate.ParsePeers(texts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// upstream is a service behind the gate: what is at a path, and the requests that came.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newUpstream(t testing.TB, paths map[string]http.HandlerFunc) *upstream {
	u := &upstream{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "served") })
	for path, h := range paths {
		mux.HandleFunc(path, h)
	}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r.Clone(r.Context()))
		u.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { u.CloseClientConnections(); u.Close() })
	return u
}

func (u *upstream) last(t testing.TB) *http.Request {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.seen) == 0 {
		t.Fatal("nothing came to the upstream")
	}
	return u.seen[len(u.seen)-1]
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}

// proxy runs a gate in front of an upstream.
func proxy(t testing.TB, g *guard.Guard, u *upstream, change ...func(*httpgate.ProxyOptions)) *httptest.Server {
	t.Helper()
	target, err := url.Parse(u.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := httpgate.ProxyOptions{Upstream: target, Names: byHeader(t), Trusted: peers(t, "127.0.0.0/8"), Transport: transport}
	for _, f := range change {
		f(&o)
	}
	p, err := httpgate.NewProxy(g, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = nil
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func started(s *httptest.Server) string {
	s.Start()
	return s.URL
}

// send sends a request with headers: "Name: value".
func send(t testing.TB, c *http.Client, method, url string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	if c == nil {
		c = http.DefaultClient
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func wantStatus(t testing.TB, want int, status int, h http.Header, body string) {
	t.Helper()
	if status != want {
		t.Fatalf("status %d, want %d: %s", status, want, body)
	}
	if want != http.StatusOK && h.Get("Cache-Control") != "no-store" {
		t.Errorf("a refusal that a cache may keep: %v", h)
	}
}

func TestAProxyPassesOnlyWhatTheGuardAllows(t *testing.T) {
	r := gatetest.New(t)
	u := newUpstream(t, nil)
	at := started(proxy(t, r.Guard(), u)) + "/orders?x=1"
	f := func(want int, method, agent string) {
		t.Helper()
		status, h, body := send(t, nil, method, at, "X-Agent: "+agent)
		wantStatus(t, want, status, h, body)
	}
	f(200, "POST", "bot")
	if got := u.last(t); got.URL.String() != "/orders?x=1" || got.Header.Get("X-Agent") != "bot" || !strings.HasPrefix(got.Header.Get("X-Forwarded-For"), "127.0.0.1") {
		t.Errorf("the upstream got %s %v", got.URL, got.Header)
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
	if u.count() != before {
		t.Error("the upstream saw a request of who is stopped")
	}
	f(200, "GET", "other")
}

func TestComplaint01AnEventStreamIsCut(t *testing.T) {
	r := gatetest.New(t)
	left := make(chan struct{})
	u := newUpstream(t, map[string]http.HandlerFunc{"/events": func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}})
	var recorded gate.Seen
	done := make(chan struct{})
	s := proxy(t, r.Guard(), u, func(o *httpgate.ProxyOptions) {
		o.Record = func(s gate.Seen) { recorded = s; close(done) }
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", started(s)+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Agent", "bot")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	if line, err := events.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatalf("the first event must not wait: %q %v", line, err)
	}
	ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
	if ack.Cancelled != 1 {
		t.Errorf("%d calls cut", ack.Cancelled)
	}
	if _, err := io.Copy(io.Discard, events); err == nil {
		t.Error("the stream that was cut looks whole")
	}
	within(t, left, "the upstream is still asked")
	within(t, done, "nothing is recorded")
	if recorded.Outcome != gate.Denied || recorded.Agent != "bot" || recorded.Resource != "/events" || recorded.Action != "GET" || recorded.BytesOut == 0 || recorded.Revocation != ack.Revocation {
		t.Errorf("recorded %+v", recorded)
	}
}

func within(t *testing.T, done <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal(otherwise)
	}
}

// echo is a service that switches to a protocol in which it sends back what it gets.
func echo(closed chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer close(closed)
		defer conn.Close()
		_, _ = io.Copy(conn, rw)
	}
}

// upgrade opens a connection that has switched to the protocol, or returns the refusal.
func upgrade(t *testing.T, at, agent string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /echo HTTP/1.1\r\nHost: gate\r\nX-Agent: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", agent)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, in, res
}

func TestComplaint01AWebSocketIsCut(t *testing.T) {
	r := gatetest.New(t)
	closed := make(chan struct{})
	at := started(proxy(t, r.Guard(), newUpstream(t, map[string]http.HandlerFunc{"/echo": echo(closed)})))
	conn, in, res := upgrade(t, at, "bot")
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := in.ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	r.Kill(revoke.Revoke, revoke.Agent, "bot")
	if _, err := io.Copy(io.Discard, in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the client's connection is open: %v", err)
	}
	within(t, closed, "the upstream's connection is open")
}

func TestARestrictedAgentOpensNoWebSocket(t *testing.T) {
	r := gatetest.New(t)
	at := started(proxy(t, r.Guard(), newUpstream(t, map[string]http.HandlerFunc{"/echo": echo(make(chan struct{}))})))
	r.Kill(revoke.Restrict, revoke.Agent, "bot")
	if _, _, res := upgrade(t, at, "bot"); res.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", res.Status)
	}
}

func TestHeadersOfWhoIsNotTrustedNameNobodyAndGoNoFurther(t *testing.T) {
	r := gatetest.New(t)
	u := newUpstream(t, nil)
	g := r.Guard()
	at := started(proxy(t, g, u, func(o *httpgate.ProxyOptions) { o.Trusted = peers(t, "10.0.0.0/8", "::1") }))
	status, h, body := send(t, nil, "GET", at, "X-Agent: bot")
	wantStatus(t, 403, status, h, body)

	// Where the certificate names the agent, headers that name things are taken away.
	a := gatetest.NewAuthority(t)
	s := proxy(t, g, u, func(o *httpgate.ProxyOptions) {
		o.Trusted = nil
		o.Names = gate.Names{Tenant: source(t, "value:acme"), Agent: source(t, "spiffe:path"), Session: source(t, "header:X-Session?")}
	})
	c := startTLS(t, s, a, a.Issue("", "spiffe://example.org/bot").Certificate)
	status, h, body = send(t, c, "GET", s.URL, "X-Session: forged", "X-Other: kept", "X-Forwarded-For: 6.6.6.6")
	wantStatus(t, 200, status, h, body)
	got := u.last(t).Header
	if got.Get("X-Session") != "" || got.Get("X-Other") != "kept" || strings.Contains(got.Get("X-Forwarded-For"), "6.6.6.6") {
		t.Errorf("the upstream got %v", got)
	}
}

// startTLS starts a server that verifies clients, and returns a client with a certificate.
func startTLS(t *testing.T, s *httptest.Server, a *gatetest.Authority, certs ...tls.Certificate) *http.Client {
	t.Helper()
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Issue("server").Certificate}, ClientCAs: a.Pool, ClientAuth: tls.VerifyClientCertIfGiven}
	s.StartTLS()
	return client(t, a, certs...)
}

func client(t *testing.T, a *gatetest.Authority, certs ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool, Certificates: certs}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestComplaint05ACertificateThatNamesNobodyIsDenied(t *testing.T) {
	r := gatetest.New(t)
	a := gatetest.NewAuthority(t)
	f := func(want int, agent string, certs ...tls.Certificate) {
		t.Helper()
		s := proxy(t, r.Guard(), newUpstream(t, nil), func(o *httpgate.ProxyOptions) {
			o.Names = gate.Names{Tenant: source(t, "value:acme"), Agent: source(t, agent)}
		})
		c := startTLS(t, s, a, certs...)
		status, h, body := send(t, c, "GET", s.URL)
		wantStatus(t, want, status, h, body)
	}
	f(200, "principal", a.Issue("bot").Certificate)
	f(200, "principal", a.Issue("", "urn:agent:bot").Certificate)
	f(403, "principal")
	f(403, "principal", a.Issue("").Certificate)
	f(403, "principal", a.Issue("bot", "urn:a", "urn:b").Certificate)
	f(200, "spiffe:trust-domain", a.Issue("", "spiffe://example.org/bot").Certificate)
	f(403, "spiffe:path", a.Issue("bot").Certificate)
	f(403, "spiffe:path", a.Issue("", "https://example.org/bot").Certificate)
}

func TestComplaint05ACertificateThatNobodyVerifiedNamesNobody(t *testing.T) {
	r := gatetest.New(t)
	s := proxy(t, r.Guard(), newUpstream(t, nil), func(o *httpgate.ProxyOptions) {
		o.Names = gate.Names{Tenant: source(t, "value:acme"), Agent: source(t, "principal")}
	})
	a, forger := gatetest.NewAuthority(t), gatetest.NewAuthority(t)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.Issue("server").Certificate}, ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	status, h, body := send(t, client(t, a, forger.Issue("bot").Certificate), "GET", s.URL)
	wantStatus(t, 403, status, h, body)
}

func TestAClientCannotDropTheNameOnItsWayToTheUpstream(t *testing.T) {
	r := gatetest.New(t)
	u := newUpstream(t, nil)
	at := started(proxy(t, r.Guard(), u))
	status, h, body := send(t, nil, "GET", at, "X-Agent: bot", "Connection: X-Agent")
	wantStatus(t, 200, status, h, body)
	if got := u.last(t).Header.Values("X-Agent"); len(got) != 1 || got[0] != "bot" {
		t.Errorf("the upstream got %v", got)
	}
}

func TestEveryRequestIsRecordedWithHowItEnded(t *testing.T) {
	r := gatetest.New(t)
	u := newUpstream(t, map[string]http.HandlerFunc{
		"/broken":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"/forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"/large": func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
		},
	})
	seen := make(chan gate.Seen, 1)
	at := started(proxy(t, r.Guard(), u, func(o *httpgate.ProxyOptions) { o.Record = func(s gate.Seen) { seen <- s } }))
	f := func(path string, outcome gate.Outcome) {
		t.Helper()
		send(t, nil, "GET", at+path, "X-Agent: bot", "Traceparent: 00-1")
		if s := <-seen; s.Outcome != outcome || s.Resource != path || s.Agent != "bot" || s.Latency <= 0 || s.Traceparent != "00-1" {
			t.Errorf("%s: %+v", path, s)
		}
	}
	f("/", gate.OK)
	f("/broken", gate.Failed)
	f("/forbidden", gate.Denied)
	res, err := http.DefaultClient.Do(post(t, at+"/large", strings.Repeat("x", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if s := <-seen; s.BytesIn != 1000 || s.BytesOut != 1000 {
		t.Errorf("%d bytes in, %d out", s.BytesIn, s.BytesOut)
	}
	u.Close()
	f("/gone", gate.Failed)
	r.Kill(revoke.Revoke, revoke.Agent, "bot")
	f("/", gate.Denied)
	send(t, nil, "GET", at) // nobody's: there is nothing to record
	select {
	case s := <-seen:
		t.Errorf("recorded %+v", s)
	default:
	}
}

func post(t *testing.T, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Agent", "bot")
	req.Close = true
	return req
}

func TestPeersAreReadStrictly(t *testing.T) {
	for _, bad := range []string{"", "localhost", "10.0.0.0/33", "10.0.0.1:80"} {
		if _, err := httpgate.ParsePeers([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
