package revoke_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
)

var riskNow = time.Date(2026, 11, 24, 9, 0, 0, 500, time.UTC)

func aRisk() revoke.Risk {
	return revoke.Risk{
		Tenant: "acme", Agent: "support.bot", Source: revoke.SourceEvidence, Level: revoke.RiskMedium, Score: 61,
		IssuedAt: riskNow, Until: riskNow.Add(time.Hour), Reason: "new-resource-spree",
	}
}

func riskSigner(t testing.TB) revoke.Signer {
	t.Helper()
	s, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARiskComesBackAsItWasSigned(t *testing.T) {
	s, r := riskSigner(t), aRisk()
	token, err := s.SignRisk(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Verifier().VerifyRisk("estop.v1.risk.acme.=c3VwcG9ydC5ib3Q.evidence", []byte(token), riskNow)
	if diff := cmp.Diff(r, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestNoRiskIsTakenForARevocationNorTheOtherWayRound(t *testing.T) {
	s := riskSigner(t)
	token, err := s.SignRisk(aRisk())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verifier().Verify([]byte(token), riskNow); !errors.Is(err, revoke.ErrType) {
		t.Errorf("as a revocation: %v", err)
	}
	if _, err := s.Verifier().VerifyBeat([]byte(token), riskNow); !errors.Is(err, revoke.ErrType) {
		t.Errorf("as a heartbeat: %v", err)
	}
	set, err := s.Sign(revoke.Revocation{
		ID: "r1", Tenant: "acme", Scope: revoke.Agent, Subject: "support.bot", Action: revoke.Revoke, IssuedAt: riskNow, Until: riskNow.Add(time.Hour), Reason: "x", Initiator: "policy",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verifier().VerifyRisk(revoke.RiskSubject(aRisk()), []byte(set), riskNow); !errors.Is(err, revoke.ErrType) {
		t.Errorf("a revocation as a risk: %v", err)
	}
}

func TestRisksThatAreNotGenuineOrDoNotHoldAreRefused(t *testing.T) {
	s := riskSigner(t)
	r := aRisk()
	token, err := s.SignRisk(r)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	flipped := []byte(token)
	flipped[len(flipped)-10] ^= 1
	foreign := s
	foreign.Audience = "others"
	elsewhere, err := foreign.SignRisk(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token   string
		verify  revoke.Verifier
		subject string
		now     time.Time
		want    error
	}{
		"another key":     {token: token, verify: riskSigner(t).Verifier(), want: revoke.ErrUnknownKey},
		"a flipped bit":   {token: string(flipped), want: revoke.ErrSignature},
		"another payload": {token: parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("{}")) + "." + parts[2], want: revoke.ErrSignature},
		"another subject": {token: token, subject: "estop.v1.risk.acme.other.evidence", want: revoke.ErrUnderfilled},
		"for others":      {token: elsewhere, want: revoke.ErrAudience},
		"ended":           {token: token, now: r.Until, want: revoke.ErrExpired},
		"of the future":   {token: token, now: riskNow.Add(-3 * time.Minute), want: revoke.ErrNotYetValid},
		"too large":       {token: token + strings.Repeat("A", 9000), want: revoke.ErrTooLarge},
		"not a token":     {token: "x", want: revoke.ErrMalformed},
		"no such level":   {token: forge(t, s, "EXTREME", 0), want: revoke.ErrMalformed},
		"too high":        {token: forge(t, s, "HIGH", 101), want: revoke.ErrMalformed},
	} {
		if c.verify.Keys == nil {
			c.verify = s.Verifier()
		}
		if c.subject == "" {
			c.subject = revoke.RiskSubject(r)
		}
		if c.now.IsZero() {
			c.now = riskNow
		}
		got, err := c.verify.VerifyRisk(c.subject, []byte(c.token), c.now)
		if !errors.Is(err, c.want) || c.want != nil && got != (revoke.Risk{}) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, c.want)
		}
	}
}

// forge signs a risk whose payload is changed.
func forge(t *testing.T, s revoke.Signer, level string, score int) string {
	t.Helper()
	token, err := s.SignRisk(aRisk())
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	event := claims["events"].(map[string]any)[revoke.EventRiskLevelChange].(map[string]any)
	event["current_level"], event["estop"].(map[string]any)["score"] = level, score
	changed, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: ed25519.PrivateKey(s.Key), KeyID: s.KID}}, (&jose.SignerOptions{}).WithType(revoke.RiskType))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(changed)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestARiskThatWouldBeRefusedIsNotSigned(t *testing.T) {
	s := riskSigner(t)
	for name, change := range map[string]func(*revoke.Risk){
		"no tenant":     func(r *revoke.Risk) { r.Tenant = "" },
		"no agent":      func(r *revoke.Risk) { r.Agent = "" },
		"a long agent":  func(r *revoke.Risk) { r.Agent = strings.Repeat("a", revoke.MaxSubject+1) },
		"no source":     func(r *revoke.Risk) { r.Source = "" },
		"unknown":       func(r *revoke.Risk) { r.Level = revoke.RiskUnknown },
		"no level":      func(r *revoke.Risk) { r.Level = "" },
		"score":         func(r *revoke.Risk) { r.Score = -1 },
		"no end":        func(r *revoke.Risk) { r.Until = time.Time{} },
		"ended":         func(r *revoke.Risk) { r.Until = r.IssuedAt },
		"for too long":  func(r *revoke.Risk) { r.Until = r.IssuedAt.Add(revoke.MaxRiskFor + 1) },
		"not UTF-8":     func(r *revoke.Risk) { r.Agent = "\xff" },
		"a long reason": func(r *revoke.Risk) { r.Reason = strings.Repeat("a", revoke.MaxReason+1) },
	} {
		r := aRisk()
		change(&r)
		if token, err := s.SignRisk(r); !errors.Is(err, revoke.ErrInvalid) {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	r := aRisk()
	r.Tenant, r.Agent, r.Source, r.Reason = strings.Repeat("\x01", revoke.MaxTenant), strings.Repeat("a", revoke.MaxSubject), strings.Repeat("s", 256), strings.Repeat("r", revoke.MaxReason)
	if _, err := s.SignRisk(r); err != nil {
		t.Errorf("the longest names: %v", err)
	}
}

func FuzzVerifyRisk(f *testing.F) {
	s := riskSigner(f)
	token, err := s.SignRisk(aRisk())
	if err != nil {
		f.Fatal(err)
	}
	subject := revoke.RiskSubject(aRisk())
	f.Add([]byte(token))
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := s.Verifier().VerifyRisk(subject, b, riskNow); err == nil && r != aRisk() {
			t.Errorf("another risk: %+v", r)
		}
	})
}
