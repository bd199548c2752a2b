package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

const transmitter = "transmitter: {issuer: \"https://estop.example.com\"}\nsinks:\n"

// idp is a sink for a receiver of tokens.
func idp(name, url, more string) string {
	return "  - name: " + name + "\n    type: caep\n    url: " + url + "\n    audience: https://idp.example.com\n    token: {env: TOKEN}\n" +
		"    retry: {first: 1ms, longest: 5ms, for: 10s}\n" + more
}

const subjects = `    subjects:
      agent: {format: iss_sub, iss: "https://idp.example.com/", sub: "{tenant}/{subject}"}
      session: {format: email, email: "{tenant}.{subject}@agents.example.com"}
`

var token = map[string]string{"TOKEN": "receiver-token"}

// relying is a receiver as the interoperability profile describes it: it knows the issuer, its own name and where
// the keys are.
type relying struct {
	*receiver
	jwks string
}

// verify returns the claims of a token that it accepts.
func (r *relying) verify(t *testing.T, q request) (alg string, claims map[string]any) {
	t.Helper()
	resp, err := http.Get(r.jwks)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil {
		t.Fatal(err)
	}
	tok, err := jwt.ParseSigned(string(q.body), []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	h := tok.Headers[0]
	if h.ExtraHeaders[jose.HeaderType] != "secevent+jwt" || q.contentType != "application/secevent+jwt" || q.header.Get("Authorization") != "Bearer receiver-token" {
		t.Fatalf("header %+v, request %+v", h, q.header)
	}
	known := keys.Key(h.KeyID)
	if len(known) != 1 || !known[0].IsPublic() || known[0].Algorithm != h.Algorithm {
		t.Fatalf("%d keys have the id %s", len(known), h.KeyID)
	}
	var standard jwt.Claims
	if err := tok.Claims(known[0], &standard, &claims); err != nil {
		t.Fatal(err)
	}
	if err := standard.Validate(jwt.Expected{Issuer: "https://estop.example.com", AnyAudience: jwt.Audience{"https://idp.example.com"}}); err != nil {
		t.Fatal(err)
	}
	return h.Algorithm, claims
}

// newRelying starts a receiver and the role that sends to it.
func newRelying(t *testing.T, r *rig, answer func(int, request) int, sinks ...string) *relying {
	t.Helper()
	to := newReceiver(t, answer)
	text := transmitter
	for i, more := range sinks {
		text += idp(string(rune('a'+i)), to.URL+"/"+string(rune('a'+i)), more)
	}
	n, _ := r.start(mustLoad(t, text, token))
	mux := http.NewServeMux()
	n.Routes(mux)
	keys := httptest.NewServer(mux)
	t.Cleanup(keys.Close)
	return &relying{to, keys.URL + "/.well-known/jwks.json"}
}

func accept(int, request) int { return http.StatusAccepted }

// of returns the requests that say an event type.
func (r *relying) of(t *testing.T, path, event string) []map[string]any {
	var all []map[string]any
	for _, q := range r.all() {
		if q.path != path {
			continue
		}
		if _, claims := r.verify(t, q); claims["events"].(map[string]any)[event] != nil {
			all = append(all, claims)
		}
	}
	return all
}

func TestAReceiverVerifiesWhatItGets(t *testing.T) {
	r := newRig(t)
	to := newRelying(t, r, accept, "    filter: {kinds: [revocation]}\n"+subjects, "    alg: ES256\n"+subjects, "    alg: EdDSA\n    stream: stream-7\n"+subjects)
	r.produce(pipeline.TopicRevocations, stopped("k1", "acme", "bot"))
	want := map[string]any{
		"iss": "https://estop.example.com", "jti": "revocation-k1", "aud": "https://idp.example.com", "txn": "k1", "iat": float64(noon.Unix()),
		"sub_id": map[string]any{"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "acme/bot"},
		"events": map[string]any{eventSessionRevoked: map[string]any{
			"event_timestamp": float64(noon.Unix()), "initiating_entity": "policy", "reason_admin": map[string]any{"en": "loop: evidence"},
		}},
	}
	algs := map[string]string{"/a": "RS256", "/b": "ES256", "/c": "EdDSA"}
	for path, alg := range algs {
		await(t, "kill at "+path, func() bool { return len(to.of(t, path, eventSessionRevoked)) == 1 })
		if diff := cmp.Diff(want, to.of(t, path, eventSessionRevoked)[0]); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		await(t, "verification at "+path, func() bool { return len(to.of(t, path, eventVerification)) == 1 })
		stream := map[string]string{"/a": "a", "/b": "b", "/c": "stream-7"}[path]
		if diff := cmp.Diff(map[string]any{"format": "opaque", "id": stream}, to.of(t, path, eventVerification)[0]["sub_id"]); diff != "" {
			t.Error(diff)
		}
		for _, q := range to.all() {
			if got, _ := to.verify(t, q); q.path == path && got != alg {
				t.Errorf("%s got %s", path, got)
			}
		}
	}
}

func TestAReceiverHearsNothingOfWhomItDoesNotKnow(t *testing.T) {
	r := newRig(t)
	to := newRelying(t, r, accept, subjects)
	identity, slowed, release, drill := stopped("k1", "acme", "role/x"), stopped("k2", "acme", "bot"), stopped("k3", "acme", "bot"), stopped("k4", "acme", "estop-drill-X")
	identity.Scope, slowed.Action, release.Action = revoke.Identity, revoke.Throttle, revoke.Release
	drill.Scope, drill.Initiator = revoke.Session, revoke.Admin
	hidden := stopped("k5", "acme", "estop-drill-bot") // an agent that calls itself so is still stopped
	r.produce(pipeline.TopicDetections, found("d1", "acme", "bot"))
	r.produce(pipeline.TopicRevocations, identity, slowed, release, drill, hidden)
	await(t, "kill", func() bool { return len(to.of(t, "/a", eventSessionRevoked)) == 1 })
	r.await("commit", func() bool { return r.offsets("a")[pipeline.TopicRevocations] == 5 })
	for _, q := range to.all() {
		if _, claims := to.verify(t, q); claims["jti"] != "revocation-k5" && !strings.HasPrefix(claims["jti"].(string), "verification-") {
			t.Errorf("it heard %v", claims)
		}
	}
}

func TestRiskLevelsSayWhatIsNotRevoked(t *testing.T) {
	r := newRig(t)
	to := newRelying(t, r, accept, "    events: [session-revoked, risk-level-change]\n"+subjects)
	var records []any
	for i, a := range []revoke.Action{revoke.Throttle, revoke.Restrict, revoke.Release, revoke.Revoke} {
		k := stopped(string(rune('1'+i)), "acme", "run-1")
		k.Action, k.Scope = a, revoke.Session
		records = append(records, k)
	}
	r.produce(pipeline.TopicRevocations, records...)
	await(t, "kill", func() bool { return len(to.of(t, "/a", eventSessionRevoked)) == 1 })
	var levels []any
	for _, claims := range to.of(t, "/a", eventRiskLevel) {
		e := claims["events"].(map[string]any)[eventRiskLevel].(map[string]any)
		levels = append(levels, e["current_level"])
		if e["principal"] != "SESSION" || e["risk_reason"] != "loop: evidence" {
			t.Errorf("%v", e)
		}
		if diff := cmp.Diff(map[string]any{"format": "email", "email": "acme.run-1@agents.example.com"}, claims["sub_id"]); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff([]any{"MEDIUM", "HIGH", "LOW"}, levels); diff != "" {
		t.Error(diff)
	}
}

func TestOnly202IsAYesAndTheCodesSayWhatToDo(t *testing.T) {
	c := &caep{}
	var never refusal
	for _, x := range []struct {
		status int
		body   string
		want   string // of the error; empty: none
		never  bool
	}{
		{202, "", "", false},
		{200, "<html>welcome</html>", "answered 200 OK", false},
		{204, "", "answered 204 No Content", false},
		{400, `{"err":"invalid_audience","description":"not me"}`, "answered 400 Bad Request: invalid_audience not me", true},
		{400, `{"err":"invalid_request"}`, "answered 400 Bad Request: invalid_request", true},
		{400, `{"err":"invalid_issuer"}`, "answered 400 Bad Request: invalid_issuer", true},
		{400, `{"err":"invalid_key"}`, "answered 400 Bad Request: invalid_key", false},
		{400, `{"err":"authentication_failed"}`, "answered 400 Bad Request: authentication_failed", false},
		{400, `{"err":"access_denied"}`, "answered 400 Bad Request: access_denied", false},
		{400, `not json`, "answered 400 Bad Request", false},
		{503, `{"err":"invalid_request"}`, "answered 503 Service Unavailable", false},
	} {
		err := c.taken(x.status, []byte(x.body))
		if (err == nil) != (x.want == "") || (err != nil && err.Error() != x.want) || errors.As(err, &never) != x.never {
			t.Errorf("%d %s: got %v, never again: %v", x.status, x.body, err, errors.As(err, &never))
		}
	}
}

func TestATokenThatIsSentAgainIsTheSame(t *testing.T) {
	f := mustLoad(t, transmitter+idp("a", "https://idp.example.com/events", subjects), token)
	if _, err := f.OpenKeys(); err != nil {
		t.Fatal(err)
	}
	first, err := f.Sinks[0].form.message(revoked(nil), noon)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Sinks[0].form.message(revoked(nil), noon.Add(time.Hour))
	if err != nil || string(first.body) != string(again.body) {
		t.Errorf("%s\n%s, %v", first.body, again.body, err)
	}
}

func TestASubjectIsNeverSomebodyElses(t *testing.T) {
	iss := Subject{Format: formatIssSub, Issuer: "https://idp.example.com/", Name: "{tenant}/{subject}"}
	email := Subject{Format: formatEmail, Name: "{subject}@agents.example.com"}
	for name, c := range map[string]struct {
		s               Subject
		tenant, subject string
		want            string // of sub or email; empty: refused
	}{
		"both names":                    {iss, "acme", "bot", "acme/bot"},
		"a subject with the separator":  {iss, "acme", "a/b", "acme/a/b"},
		"a tenant with the separator":   {iss, "acme/a", "b", ""},
		"no subject":                    {iss, "acme", "", ""},
		"no tenant":                     {iss, "", "bot", ""},
		"an address":                    {email, "acme", "bot", "bot@agents.example.com"},
		"a name that is an address":     {email, "acme", "ceo@corp.example", ""},
		"a name that begins another":    {email, "acme", "Bot <ceo@corp.example>,x", ""},
		"a name with a line break":      {email, "acme", "bot\r\nx", ""},
		"a name that is not an address": {email, "acme", "arn:aws:iam::1:role/x y", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := c.s.id(&revoke.Revocation{Tenant: c.tenant, Subject: c.subject})
			if got := id["sub"] + id["email"]; got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %v, %v", id, err)
			}
		})
	}
}

func TestAnEventThatHasNoSubjectIsADeadLetter(t *testing.T) {
	r := newRig(t)
	to := newRelying(t, r, accept, subjects)
	r.produce(pipeline.TopicRevocations, stopped("k1", "acme/other", "bot"), stopped("k2", "acme", "bot"))
	await(t, "kill", func() bool { return len(to.of(t, "/a", eventSessionRevoked)) == 1 })
	r.await("dead letter", func() bool { return len(r.letters(nil)) == 1 })
	if l := r.letters(nil)[0]; l.Event != "revocation-k1" || !strings.Contains(l.Reason, `the tenant "acme/other" holds "/"`) {
		t.Errorf("%+v", l)
	}
}

func TestKeysAreMadeOnceAndOldOnesStayInTheSet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := OpenKeys(dir, "RS256", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeys(dir, "RS256")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kids(first), kids(again)); diff != "" || len(kids(first)) != 2 {
		t.Errorf("%v", kids(again))
	}
	old := filepath.Join(dir, "RS256.jwk")
	if info, err := os.Stat(old); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Rename(old, filepath.Join(dir, "RS256-old.jwk")); err != nil {
		t.Fatal(err)
	}
	rotated, err := OpenKeys(dir, "RS256")
	if err != nil {
		t.Fatal(err)
	}
	if len(kids(rotated)) != 3 || rotated.signing["RS256"].KeyID == first.signing["RS256"].KeyID {
		t.Errorf("after the rotation the set has %v", kids(rotated))
	}
	for _, k := range rotated.Public().Keys {
		if !k.IsPublic() || k.Use != "sig" {
			t.Errorf("the set has %+v", k)
		}
	}
}

func kids(k *Keys) []string {
	var all []string
	for _, key := range k.Public().Keys {
		all = append(all, key.KeyID)
	}
	return all
}

func TestABadKeyIsRefused(t *testing.T) {
	weak := `{"kty":"RSA","n":"` + strings.Repeat("s", 171) + `","e":"AQAB","d":"AQAB"}`
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others can read it": {"{}", 0o644, "others can read"},
		"no key":             {"{broken", 0o600, "is not a JSON Web Key"},
		"weak":               {weak, 0o600, "RS256.jwk"},
		"symmetric":          {`{"kty":"oct","k":"c2VjcmV0"}`, 0o600, "not a private key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "RS256.jwk"), []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKeys(dir, "RS256"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheMetadataSayWhoSendsAndWhereTheKeysAre(t *testing.T) {
	f := mustLoad(t, transmitter+idp("a", "https://idp.example.com/events", subjects), token)
	n, err := New(Options{File: f, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	n.Routes(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/.well-known/ssf-configuration", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"spec_version": "1_0", "issuer": "https://estop.example.com", "jwks_uri": "https://estop.example.com/.well-known/jwks.json",
		"delivery_methods_supported": []any{"urn:ietf:rfc:8935"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAReceiverThatActsGetsNoSample(t *testing.T) {
	f := mustLoad(t, transmitter+idp("a", "https://idp.example.com/events", subjects), token)
	if _, err := f.Sinks[0].Sample(Revocation, noon); err == nil {
		t.Error("a sample of a revocation would stop somebody")
	}
	if e, err := f.Sinks[0].Sample("", noon); err != nil || e.Kind != Verification {
		t.Errorf("%+v, %v", e, err)
	}
}
