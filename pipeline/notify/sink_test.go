package notify

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func detected() *Event {
	d := found("d1", "acme", "bot")
	return &Event{ID: "detection-d1", Kind: Detection, Tenant: "acme", Time: noon, Detection: &d}
}

func revoked(r func(*Event)) *Event {
	k := stopped("d1", "acme", "bot").Revocation
	e := &Event{ID: "revocation-d1", Kind: Revocation, Tenant: "acme", Time: noon, Revocation: &k}
	if r != nil {
		r(e)
	}
	return e
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	to := newReceiver(t, func(int, request) int { return http.StatusTemporaryRedirect })
	to.header.Set("Location", elsewhere.URL)
	f := mustLoad(t, "sinks:\n  - {name: siem, type: siem, url: "+to.URL+", token: {env: TOKEN}}\n", map[string]string{"TOKEN": "secret-token"})
	err := f.Sinks[0].Send(t.Context(), detected(), noon)
	if err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("got %v", err)
	}
	if len(elsewhere.all()) != 0 {
		t.Errorf("the redirect was followed: %+v", elsewhere.all())
	}
}

func TestACertificateIsVerified(t *testing.T) {
	to := &receiver{header: http.Header{}}
	to.Server = httptest.NewTLSServer(to)
	defer to.Close()
	plain := mustLoad(t, "sinks:\n"+hook("hook", to.URL, ""), nil).Sinks[0]
	if err := plain.Send(t.Context(), detected(), noon); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: to.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    ca: "+ca+"\n"), nil).Sinks[0]
	if err := trusting.Send(t.Context(), detected(), noon); err != nil {
		t.Error(err)
	}
	if len(to.all()) != 1 {
		t.Errorf("%d requests came", len(to.all()))
	}
}

// endless answers with a body that has no end.
func endless(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
	for b := bytes.Repeat([]byte("x"), 1<<16); r.Context().Err() == nil; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func TestAnAnswerWithoutEndIsCutOff(t *testing.T) {
	to := httptest.NewServer(http.HandlerFunc(endless))
	defer to.Close()
	s := mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    timeout: 5m\n"), nil).Sinks[0]
	err := s.Send(t.Context(), detected(), noon)
	if err == nil || len(err.Error()) > 300 || !strings.HasPrefix(err.Error(), "answered 500") {
		t.Errorf("got %.400v", err)
	}
}

func TestASilentReceiverIsGivenUpInTime(t *testing.T) {
	done := make(chan struct{})
	to := newReceiver(t, func(int, request) int { <-done; return 200 })
	defer close(done)
	s := mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    timeout: 20ms\n"), nil).Sinks[0]
	if err := s.Send(t.Context(), detected(), noon); err == nil || err.Error() != "no answer within 20ms" {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "99999999999999999999": 0,
		"Tue, 24 Nov 2026 12:01:00 GMT": time.Minute, "Tue, 24 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, noon); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestThePausesGrowToABound(t *testing.T) {
	r := Retry{First: 100 * time.Millisecond, Longest: time.Second}
	for n, most := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second, 1 << 40: time.Second} {
		for range 100 {
			if got := r.pause(n, errors.New("no")); got < most/2 || got > most {
				t.Fatalf("after %d attempts: %v", n, got)
			}
		}
	}
	if got := r.pause(1, busy{errors.New("no"), time.Hour}); got != time.Hour {
		t.Errorf("a receiver that asked for an hour got %v", got)
	}
}

// verifyWebhook does what a library of Standard Webhooks does.
func verifyWebhook(t *testing.T, key []byte, q request) bool {
	t.Helper()
	want := webhookSignature(key, q.header.Get("Webhook-Id"), q.header.Get("Webhook-Timestamp"), q.body)
	return strings.Contains(" "+q.header.Get("Webhook-Signature")+" ", " "+want+" ")
}

func TestAWebhookIsSignedWithEachOfItsSecrets(t *testing.T) {
	to := newReceiver(t, nil)
	f := mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    secret: [{env: NEW}, {env: OLD}]\n    headers: {X-Team: security}\n"),
		map[string]string{"NEW": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "OLD": "an old secret of 25 bytes"})
	if err := f.Sinks[0].Send(t.Context(), revoked(nil), time.Unix(1_700_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	q := to.all()[0]
	newKey, err := webhookKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	if !verifyWebhook(t, newKey, q) || !verifyWebhook(t, []byte("an old secret of 25 bytes"), q) || verifyWebhook(t, []byte("another secret, not ours"), q) {
		t.Errorf("the signatures are %s", q.header.Get("Webhook-Signature"))
	}
	q.body[0] ^= 1
	if verifyWebhook(t, newKey, q) {
		t.Error("a flipped bit verifies")
	}
	q.body[0] ^= 1
	for name, want := range map[string]string{
		"Webhook-Id": "revocation-d1", "Idempotency-Key": `"revocation-d1"`, "Webhook-Timestamp": "1700000000", "X-Team": "security", "Content-Type": "application/json",
	} {
		if got := q.header.Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	var body map[string]any
	if err := json.Unmarshal(q.body, &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": "revocation-d1", "type": "estop.revocation", "timestamp": "2026-11-24T12:00:00Z", "tenant": "acme",
		"data": map[string]any{
			"id": "d1", "tenant": "acme", "scope": "agent", "subject": "bot", "action": "revoke", "issued_at": "2026-11-24T12:00:00Z",
			"until": "2026-11-24T12:15:00Z", "detector": "loop", "detection": "d1", "reason": "loop: evidence", "initiator": "policy",
		},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

// The example of the specification, with its own secret.
func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	key, err := webhookKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := webhookSignature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
