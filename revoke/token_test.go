package revoke

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var testSigner = fixedSigner("the seed of a key that tests use")

func fixedSigner(seed string) Signer {
	s, err := NewSigner(ed25519.NewKeyFromSeed([]byte(seed)))
	if err != nil {
		panic(err)
	}
	return s
}

func mustSign(t testing.TB, r Revocation) string {
	t.Helper()
	token, err := testSigner.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestWhatIsSignedIsReadBack(t *testing.T) {
	text := rapid.StringN(1, 40, 200)
	rapid.Check(t, func(t *rapid.T) {
		r := Revocation{
			ID: text.Draw(t, "id"), Tenant: text.Draw(t, "tenant"), Subject: text.Draw(t, "subject"),
			Scope:    rapid.SampledFrom([]Scope{Session, Identity, Agent, Chain, Tenant, Global}).Draw(t, "scope"),
			Action:   rapid.SampledFrom([]Action{Throttle, Restrict, Revoke, Release}).Draw(t, "action"),
			IssuedAt: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "issued")).UTC(),
			Reason:   text.Draw(t, "reason"), Initiator: rapid.SampledFrom([]string{Policy, Admin}).Draw(t, "initiator"),
			Detector: text.Draw(t, "detector"), By: text.Draw(t, "by"),
		}
		r.Until = r.IssuedAt.Add(time.Duration(rapid.Int64Range(1, int64(MaxDuration)).Draw(t, "lasts")))
		switch r.Scope {
		case Tenant:
			r.Subject = r.Tenant
		case Global:
			r.Tenant, r.Subject = Everything, Everything
		}
		if rapid.Bool().Draw(t, "valid after") {
			r.ValidAfter = r.IssuedAt
		}
		if r.Action == Release {
			r.Releases, r.Shield = "x", r.Until
		}
		token, err := testSigner.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := testSigner.Verifier().Verify([]byte(token), r.IssuedAt)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestTokenIsASecurityEventToken(t *testing.T) {
	parts := strings.Split(mustSign(t, sample()), ".")
	head, payload := decode(t, parts[0]), decode(t, parts[1])
	if d := cmp.Diff(map[string]any{"alg": "EdDSA", "kid": testSigner.KID, "typ": "secevent+jwt"}, head); d != "" {
		t.Error(d)
	}
	want := map[string]any{
		"iss": "estop", "jti": "0123456789", "iat": 1795168800.0, "aud": "estop-guards", "txn": "d1",
		"sub_id": map[string]any{
			"format":      "complex",
			"tenant":      map[string]any{"format": "opaque", "id": "acme"},
			"application": map[string]any{"format": "opaque", "id": "bot"},
		},
		"events": map[string]any{
			"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{
				"event_timestamp": 1795168800.0, "initiating_entity": "policy",
				"reason_admin": map[string]any{"en": "evidence"},
				"estop": map[string]any{
					"tenant": "acme", "scope": "agent", "subject": "bot", "action": "revoke",
					"issued_at": 1795168800123456789.0, "until": 1795172400123456789.0,
					"detector": "burst", "detection": "d1",
				},
			},
		},
	}
	if d := cmp.Diff(want, payload); d != "" {
		t.Error(d)
	}
}

func TestOnlyRevokeIsASessionRevoked(t *testing.T) {
	for action, uri := range map[Action]string{
		Revoke: EventSessionRevoked, Throttle: EventResponse, Restrict: EventResponse, Release: EventResponse,
	} {
		payload := decode(t, strings.Split(mustSign(t, sample(func(r *Revocation) { r.Action = action })), ".")[1])
		events := payload["events"].(map[string]any)
		if _, ok := events[uri]; !ok || len(events) != 1 {
			t.Errorf("%s: events %v", action, events)
		}
	}
}

func decode(t *testing.T, part string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOneFlippedBitIsRefused(t *testing.T) {
	token := []byte(mustSign(t, sample()))
	v := testSigner.Verifier()
	for i := range token {
		for bit := range 8 {
			forged := bytes.Clone(token)
			forged[i] ^= 1 << bit
			if _, err := v.Verify(forged, issued); err == nil {
				t.Fatalf("bit %d of byte %d (%q → %q) makes no difference", bit, i, token[i], forged[i])
			}
		}
	}
}

func TestNothingAddedOrCutIsAccepted(t *testing.T) {
	token := mustSign(t, sample())
	v := testSigner.Verifier()
	for n := range len(token) {
		if _, err := v.Verify([]byte(token[:n]), issued); err == nil {
			t.Fatalf("the first %d bytes are accepted", n)
		}
	}
	for _, added := range []string{"\n", "=", ".", " ", "A", "\r\n", ".."} {
		for i := range len(token) + 1 {
			if _, err := v.Verify([]byte(token[:i]+added+token[i:]), issued); err == nil {
				t.Fatalf("%q at %d is accepted", added, i)
			}
		}
	}
}

func TestVerifySaysWhyItRefuses(t *testing.T) {
	good := mustSign(t, sample())
	other := fixedSigner("another key, which nobody trusts")
	f := func(name, token string, now time.Time, want error) {
		t.Helper()
		if _, err := testSigner.Verifier().Verify([]byte(token), now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	f("in force", good, issued, nil)
	f("at its end", good, issued.Add(time.Hour), ErrExpired)
	f("just before its end", good, issued.Add(time.Hour-1), nil)
	f("from a clock that is ahead", good, issued.Add(-MaxSkew), nil)
	f("from the future", good, issued.Add(-MaxSkew-1), ErrNotYetValid)
	f("empty", "", issued, ErrMalformed)
	f("too large", strings.Repeat("A", MaxToken+1), issued, ErrTooLarge)
	f("not base64", "!.!.!", issued, ErrMalformed)

	signed, _ := other.Sign(sample())
	f("unknown key", signed, issued, ErrUnknownKey)
	impostor := other
	impostor.KID = testSigner.KID
	signed, _ = impostor.Sign(sample())
	f("wrong key under a known id", signed, issued, ErrSignature)
	stranger := testSigner
	stranger.Issuer = "somebody"
	signed, _ = stranger.Sign(sample())
	f("wrong issuer", signed, issued, ErrIssuer)
	stranger = testSigner
	stranger.Audience = "printers"
	signed, _ = stranger.Sign(sample())
	f("wrong audience", signed, issued, ErrAudience)
	f("issuer not configured", good, issued, nil)
	v := testSigner.Verifier()
	v.Issuer = ""
	if _, err := v.Verify([]byte(good), issued); !errors.Is(err, ErrIssuer) {
		t.Errorf("a verifier without issuer: %v, want ErrIssuer", err)
	}

	payload := strings.Split(good, ".")[1]
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt","kid":"`+testSigner.KID+`"}`)) + "." + payload + "."
	f("unsigned", unsigned, issued, ErrMalformed) // an empty part
	f("unsigned, with a signature", unsigned+"AAAA", issued, ErrAlgorithm)
	hmac, err := signHMAC(sample(), testSigner)
	if err != nil {
		t.Fatal(err)
	}
	f("public key used as HMAC key", hmac, issued, ErrAlgorithm)
}

func signHMAC(r Revocation, s Signer) (string, error) {
	c, err := newClaims(r, s.Issuer, DefaultAudience)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	key := jose.JSONWebKey{Key: []byte(s.Key.Public().(ed25519.PublicKey)), KeyID: s.KID}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, (&jose.SignerOptions{}).WithType(TokenType))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(b)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// signed returns a token with a good signature over what edit makes of the sample's claims.
func signed(t *testing.T, edit func(payload map[string]any)) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(mustSign(t, sample()), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&payload); err != nil {
		t.Fatal(err)
	}
	edit(payload)
	if b, err = json.Marshal(payload); err != nil {
		t.Fatal(err)
	}
	token, err := testSigner.jws(b, TokenType)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func TestAGoodSignatureIsNotEnough(t *testing.T) {
	subject := func(p map[string]any) map[string]any { return p["sub_id"].(map[string]any) }
	ours := func(p map[string]any) map[string]any {
		return p["events"].(map[string]any)[EventSessionRevoked].(map[string]any)["estop"].(map[string]any)
	}
	f := func(name string, want error, edit func(p map[string]any)) {
		t.Helper()
		if _, err := testSigner.Verifier().Verify(signed(t, edit), issued); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	f("untouched", nil, func(map[string]any) {})
	f("a claim that we do not know", nil, func(p map[string]any) { p["new"] = 1 })
	f("sub", ErrMalformed, func(p map[string]any) { p["sub"] = "bot" })
	f("sub null", ErrMalformed, func(p map[string]any) { p["sub"] = nil })
	f("exp", ErrMalformed, func(p map[string]any) { p["exp"] = 1 })
	f("no events", ErrMalformed, func(p map[string]any) { delete(p, "events") })
	f("two events", ErrMalformed, func(p map[string]any) { p["events"].(map[string]any)["x"] = map[string]any{} })
	f("another event", ErrMalformed, func(p map[string]any) {
		p["events"] = map[string]any{EventResponse: p["events"].(map[string]any)[EventSessionRevoked]}
	})
	f("without our member", ErrMalformed, func(p map[string]any) {
		delete(p["events"].(map[string]any)[EventSessionRevoked].(map[string]any), "estop")
	})
	f("iat differs", ErrMalformed, func(p map[string]any) { p["iat"] = 1 })
	f("no jti", ErrMalformed, func(p map[string]any) { delete(p, "jti") })
	f("no until", ErrExpired, func(p map[string]any) { delete(ours(p), "until") })
	f("until too late", ErrMalformed, func(p map[string]any) { ours(p)["until"] = json.Number("1895172400123456789") })

	f("no sub_id", ErrUnderfilled, func(p map[string]any) { delete(p, "sub_id") })
	f("no tenant in sub_id", ErrUnderfilled, func(p map[string]any) { delete(subject(p), "tenant") })
	f("no agent in sub_id", ErrUnderfilled, func(p map[string]any) { delete(subject(p), "application") })
	f("more in sub_id", ErrUnderfilled, func(p map[string]any) {
		subject(p)["user"] = map[string]any{"format": "opaque", "id": "x"}
	})
	f("another agent in sub_id", ErrUnderfilled, func(p map[string]any) {
		subject(p)["application"] = map[string]any{"format": "opaque", "id": "x"}
	})
	f("empty tenant", ErrUnderfilled, func(p map[string]any) {
		ours(p)["tenant"] = ""
		subject(p)["tenant"] = map[string]any{"format": "opaque", "id": ""}
	})
	f("unknown action", ErrUnknownKind, func(p map[string]any) { ours(p)["action"] = "freeze" })
}

func TestAHeaderWithMoreThanItMayIsRefused(t *testing.T) {
	for option, value := range map[string]any{"crit": []string{"x"}, "jwk": "x", "b64": true, "jku": "x", "x5c": "x"} {
		o := (&jose.SignerOptions{}).WithType(TokenType).WithHeader(jose.HeaderKey(option), value)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: testSigner.Key, KeyID: testSigner.KID}}, o)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testSigner.Verifier().Verify([]byte(token), issued); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", option, err)
		}
	}
}

func TestAnUnknownKindComesWithItsRevocation(t *testing.T) {
	for _, change := range []func(*Revocation){
		func(r *Revocation) { r.Scope = "fleet" },
		func(r *Revocation) { r.Action = "freeze" },
	} {
		want := sample(change)
		token, err := testSigner.sign(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := testSigner.Verifier().Verify([]byte(token), issued)
		if !errors.Is(err, ErrUnknownKind) {
			t.Errorf("%v, want ErrUnknownKind", err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

func FuzzVerify(f *testing.F) {
	token, err := testSigner.Sign(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(token))
	f.Add([]byte("e30.e30.AAAA"))
	f.Add([]byte("..."))
	f.Add([]byte(strings.Repeat(".", MaxToken)))
	v := testSigner.Verifier()
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := v.Verify(b, issued); err == nil && string(b) != token {
			t.Fatalf("accepted a token that nobody signed: %q", b)
		}
		// Behind a good signature too, nothing panics and nothing invalid comes out.
		r, _, err := v.read(b)
		if err == nil && (r.Tenant == "" || r.Subject == "") {
			t.Fatalf("read an under-filled revocation: %+v", r)
		}
	})
}

// A header in our own form is read without JSON and its signature without go-jose, any other with both: nobody can
// tell by what is believed.
func TestHeadersInOurFormAreReadAsAnyOther(t *testing.T) {
	token := mustSign(t, sample())
	parts := strings.Split(token, ".")
	sign := func(head string) []byte {
		input := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + parts[1]
		return []byte(input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(testSigner.Key, []byte(input))))
	}
	own := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"secevent+jwt"}`, testSigner.KID)
	other := fmt.Sprintf(`{"typ":"secevent+jwt", "kid":%q,"alg":"EdDSA"}`, testSigner.KID)
	v := testSigner.Verifier()
	for head, isOwn := range map[string]bool{own: true, other: false} {
		signed := sign(head)
		p, err := parse(signed)
		if err != nil || p.own != isOwn {
			t.Fatalf("%s: own %v, %v", head, p.own, err)
		}
		r, err := v.Verify(signed, issued)
		if want, _ := v.Verify([]byte(token), issued); err != nil || !cmp.Equal(r, want) {
			t.Errorf("%s: %+v, %v", head, r, err)
		}
		for i := range signed {
			changed := bytes.Clone(signed)
			if changed[i] ^= 1; changed[i] == '.' {
				continue
			}
			if _, err := v.Verify(changed, issued); err == nil {
				t.Fatalf("%s: byte %d changed and believed", head, i)
			}
		}
		short := signed[:bytes.LastIndexByte(signed, '.')]
		if _, err := v.Verify(append(bytes.Clone(short), ".AAAA"...), issued); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: short signature: %v", head, err)
		}
	}
	for _, head := range []string{
		`{"alg":"EdDSA","kid":"` + testSigner.KID + `","typ":"secevent+jwt","crit":["x"]}`,
		`{"alg":"EdDSA","kid":"a\u0041","typ":"secevent+jwt"}`, `{"alg":"EdDSA","kid":"","typ":"secevent+jwt"}`,
		`{"alg":"EdDSA","kid":"x"}`, `{"alg":"none","kid":"x","typ":"secevent+jwt"}`,
	} {
		if _, ok := ownHeader([]byte(head)); ok {
			t.Errorf("%s passes for ours", head)
		}
		if _, err := v.Verify(sign(head), issued); err == nil {
			t.Errorf("%s is believed", head)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for b.Loop() {
		if _, err := testSigner.Sign(sample()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	token, v := []byte(mustSign(b, sample())), testSigner.Verifier()
	key := testSigner.Key.Public().(ed25519.PublicKey)
	sig, _ := base64.RawURLEncoding.DecodeString(string(token[bytes.LastIndexByte(token, '.')+1:]))
	input := token[:bytes.LastIndexByte(token, '.')]
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(token, issued); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ed25519 alone", func(b *testing.B) {
		for b.Loop() {
			if !ed25519.Verify(key, input, sig) {
				b.Fatal("bad signature")
			}
		}
	})
}
