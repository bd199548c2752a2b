package envoygate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
)

// listener is the part of Envoy's configuration that docs/gates.md shows: the filter asks the
// gate, fails closed, and keeps no verdict (ext_authz has no cache of its own).
const listener = `
  - name: %[1]s
    address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %[1]s
          normalize_path: true
          merge_slashes: true
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: service}}]}]
          http_filters:
%[4]s
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              failure_mode_allow: false
              grpc_service: {envoy_grpc: {cluster_name: estop_%[1]s}, timeout: 1s}
              metadata_context_namespaces: [envoy.filters.http.jwt_authn]
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
%[3]s`

const mutualTLS = `
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates: [{certificate_chain: {inline_string: %s}, private_key: {inline_string: %s}}]
            validation_context: {trusted_ca: {inline_string: %s}}
`

const jwtAuthn = `
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                issuer: {issuer: test, payload_in_metadata: jwt, local_jwks: {inline_string: %s}}
              rules: [{match: {prefix: "/"}, requires: {provider_name: issuer}}]
`

const cluster = `
  - name: %s
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {%s: {}}
    load_assignment:
      cluster_name: %s
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
`

func quoted(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) // JSON is YAML
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get sends a request through Envoy.
func get(t *testing.T, c *http.Client, method, url, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(strings.NewReader(string(b)))
	return res
}

// wantRefused wants what the gate answered, as it came through Envoy.
func wantRefused(t *testing.T, res *http.Response, status int, revocation string) {
	t.Helper()
	if res.StatusCode != status || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Estop-Revocation") != revocation {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("got %s %v %s, want %d by %q", res.Status, res.Header, b, status, revocation)
	}
}

func TestARealEnvoyAsksTheGate(t *testing.T) {
	envoy := gatetest.Program(t, "envoy")
	r := gatetest.New(t)
	g := r.Guard()
	var served atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	t.Cleanup(service.Close)
	a := gatetest.NewAuthority(t)
	server := a.Issue("server")
	key, jwks := signingKey(t)
	tlsPort, jwtPort := gatetest.FreePort(t), gatetest.FreePort(t)

	var names atomic.Value
	byCertificate := serve(t, g, envoygate.Options{Names: spiffe(t), Record: func(s gate.Seen) { names.Store(s.Call.Identity) }})
	byToken := serve(t, g, envoygate.Options{Names: claims(t)})
	config := "static_resources:\n  listeners:" +
		fmt.Sprintf(listener, "certificate", tlsPort, fmt.Sprintf(mutualTLS, quoted(t, string(server.CertPEM)), quoted(t, string(server.KeyPEM)), quoted(t, string(a.PEM))), "") +
		fmt.Sprintf(listener, "token", jwtPort, "", fmt.Sprintf(jwtAuthn, quoted(t, jwks))) +
		"\n  clusters:" +
		fmt.Sprintf(cluster, "service", "http_protocol_options", "service", port(t, service.Listener.Addr().String())) +
		fmt.Sprintf(cluster, "estop_certificate", "http2_protocol_options", "estop_certificate", port(t, byCertificate)) +
		fmt.Sprintf(cluster, "estop_token", "http2_protocol_options", "estop_token", port(t, byToken))
	gatetest.Run(t, tlsPort, envoy, "-c", gatetest.File(t, "envoy.yaml", []byte(config)), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning", "--disable-hot-restart")

	as := func(uri string) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool, Certificates: []tls.Certificate{a.Issue("", uri).Certificate}}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	bot, other, at := as("spiffe://example.org/bot"), as("spiffe://example.org/other"), fmt.Sprintf("https://127.0.0.1:%d/orders", tlsPort)
	allowed := func(res *http.Response) {
		t.Helper()
		if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			t.Fatalf("got %s %s", res.Status, b)
		}
	}
	allowed(get(t, bot, "POST", at, ""))
	if names.Load() != "spiffe://example.org/bot" {
		t.Errorf("Envoy says that the principal is %v", names.Load())
	}
	ack := r.Kill(revoke.Throttle, revoke.Agent, "bot")
	allowed(get(t, bot, "POST", at, ""))
	res := get(t, bot, "POST", at, "")
	wantRefused(t, res, http.StatusTooManyRequests, ack.Revocation)
	if res.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
	}
	ack = r.Kill(revoke.Restrict, revoke.Agent, "bot")
	allowed(get(t, bot, "GET", at, ""))
	wantRefused(t, get(t, bot, "POST", at, ""), http.StatusForbidden, ack.Revocation)
	ack = r.Kill(revoke.Revoke, revoke.Identity, "spiffe://example.org/bot")
	before := served.Load()
	for range 3 { // no verdict is kept, neither way
		wantRefused(t, get(t, bot, "GET", at, ""), http.StatusForbidden, ack.Revocation)
		allowed(get(t, other, "GET", at, ""))
	}
	if served.Load() != before+3 {
		t.Errorf("%d requests came to the service, want 3", served.Load()-before)
	}
	wantRefused(t, get(t, as("https://example.org/bot"), "GET", at, ""), http.StatusForbidden, "")

	at = fmt.Sprintf("http://127.0.0.1:%d/orders", jwtPort)
	token := sign(t, key, map[string]any{"iss": "test", "tenant": "acme", "sub": "worker", "sid": "s1", "iat": 1.7e9, "exp": 9e9})
	c := &http.Client{}
	allowed(get(t, c, "GET", at, token))
	ack = r.Kill(revoke.Revoke, revoke.Session, "s1")
	wantRefused(t, get(t, c, "GET", at, token), http.StatusForbidden, ack.Revocation)
	nobody := sign(t, key, map[string]any{"iss": "test", "tenant": "acme", "iat": 1.7e9, "exp": 9e9})
	wantRefused(t, get(t, c, "GET", at, nobody), http.StatusForbidden, "")
}

func signingKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, quoted(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
}

func sign(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign([]byte(quoted(t, claims)))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
