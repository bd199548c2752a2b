package revoke

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var beatTime = time.Unix(0, 1_795_168_860_500_000_000).UTC()

func sampleBeat() Beat {
	r := sample(func(r *Revocation) { r.ID = ID("burst", "bot", "estop.calls", 3, 42, 0) })
	l := NewLedger()
	l.Note(r, 7)
	b := Beat{
		Publisher: "detect-1", Start: "0123456789abcdefghijklmnop", Number: 60, IssuedAt: beatTime,
		Interval: time.Second, Stream: time.Unix(1_795_000_000, 0).UTC(), Sequence: 9,
	}
	b.fill(l, TenantKey{})
	return b
}

func signBeat(t testing.TB, s Signer, b Beat) []byte {
	t.Helper()
	token, err := s.SignBeat(b)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func docContains(t *testing.T, name, want string) {
	t.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), want) {
		t.Errorf("docs/protocol.md lacks this %s:\n%s", name, want)
	}
}

func TestTheProtocolsHeartbeatIsGenuine(t *testing.T) {
	token := signBeat(t, testSigner, sampleBeat())
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, payload, "", "  "); err != nil {
		t.Fatal(err)
	}
	docContains(t, "heartbeat", string(token))
	docContains(t, "payload of a heartbeat", pretty.String())
}

func TestAHeartbeatIsReadBack(t *testing.T) {
	want := sampleBeat()
	got, err := testSigner.Verifier().VerifyBeat(signBeat(t, testSigner, want), beatTime)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAHeartbeatIsNoRevocationAndTheOtherWayRound(t *testing.T) {
	v := testSigner.Verifier()
	if _, err := v.Verify(signBeat(t, testSigner, sampleBeat()), beatTime); !errors.Is(err, ErrType) {
		t.Errorf("a heartbeat as a revocation: %v, want ErrType", err)
	}
	if _, err := v.VerifyBeat([]byte(mustSign(t, sample())), beatTime); !errors.Is(err, ErrType) {
		t.Errorf("a revocation as a heartbeat: %v, want ErrType", err)
	}
}

func TestAHeartbeatThatIsNotGenuineIsRefused(t *testing.T) {
	other, good := fixedSigner("another seed of a key for tests!"), sampleBeat()
	impostor := other
	impostor.KID = testSigner.KID
	elsewhere := testSigner
	elsewhere.Audience = "somebody"
	foreign := testSigner
	foreign.Issuer = "somebody"
	for name, c := range map[string]struct {
		token []byte
		at    time.Duration
		want  error
	}{
		"another key":           {signBeat(t, other, good), 0, ErrUnknownKey},
		"another key's name":    {signBeat(t, impostor, good), 0, ErrSignature},
		"for somebody else":     {signBeat(t, elsewhere, good), 0, ErrAudience},
		"of somebody else":      {signBeat(t, foreign, good), 0, ErrIssuer},
		"old":                   {signBeat(t, testSigner, good), MaxSkew + time.Second, ErrExpired},
		"of the future":         {signBeat(t, testSigner, good), -MaxSkew - time.Second, ErrNotYetValid},
		"empty":                 {nil, 0, ErrMalformed},
		"too large":             {make([]byte, MaxToken+1), 0, ErrTooLarge},
		"without an interval":   {signedBeat(t, func(m map[string]any) { m["interval"] = 0 }), 0, ErrMalformed},
		"with half a tenant":    {signedBeat(t, func(m map[string]any) { m["changed"] = "AAAA" }), 0, ErrMalformed},
		"with a wrong digest":   {signedBeat(t, func(m map[string]any) { m["digest"] = "AAAA" }), 0, ErrMalformed},
		"with too many tenants": {signedBeat(t, func(m map[string]any) { m["others"] = encode(make([]byte, 65*32)) }), 0, ErrMalformed},
		"without a start":       {signedBeat(t, func(m map[string]any) { m["start"] = "" }), 0, ErrMalformed},
	} {
		if _, err := testSigner.Verifier().VerifyBeat(c.token, beatTime.Add(c.at)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	token := signBeat(t, testSigner, good)
	for bit := range len(token) * 8 {
		flipped := bytes.Clone(token)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := testSigner.Verifier().VerifyBeat(flipped, beatTime); err == nil {
			t.Fatalf("bit %d flipped: accepted", bit)
		}
	}
}

// signedBeat is a heartbeat that a trusted key signed, edited before.
func signedBeat(t *testing.T, edit func(map[string]any)) []byte {
	t.Helper()
	part := strings.Split(string(signBeat(t, testSigner, sampleBeat())), ".")[1]
	payload := decode(t, part)
	edit(payload)
	b, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := testSigner.jws(b, BeatType)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func TestHeartbeatsOfTenThousandTenantsAreBoundedAndNameEachInTurn(t *testing.T) {
	const tenants = 10_000
	l := NewLedger()
	for i := range tenants {
		l.Note(Revocation{ID: "x", Tenant: fmt.Sprint("t", i), Scope: Agent, Subject: "a", Until: beatTime.Add(time.Hour)}, uint64(i+1))
	}
	named, turn, rounds := map[TenantKey]bool{}, TenantKey{}, (tenants-BeatTenants+BeatTenants-1)/BeatTenants
	for i := range rounds {
		b := sampleBeat()
		b.Changed, b.Others, b.Since = nil, nil, 0
		turn = b.fill(l, turn)
		if size := len(signBeat(t, testSigner, b)); size > MaxToken/2 {
			t.Fatalf("a heartbeat of %d bytes", size)
		}
		if b.Since != tenants-BeatTenants || len(b.Changed) != BeatTenants || b.Changed[0].Tenant != TenantKeyOf("t9999") {
			t.Fatalf("beat %d: since %d, %d changed: want the %d tenants that changed last", i, b.Since, len(b.Changed), BeatTenants)
		}
		for _, d := range append(b.Changed, b.Others...) {
			named[d.Tenant] = true
		}
	}
	if len(named) != tenants {
		t.Errorf("%d tenants named in %d heartbeats, want all %d", len(named), rounds, tenants)
	}
}

func FuzzVerifyBeat(f *testing.F) {
	token := signBeat(f, testSigner, sampleBeat())
	f.Add(token)
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := testSigner.Verifier().VerifyBeat(b, beatTime); err == nil && !bytes.Equal(b, token) {
			t.Errorf("accepted: %q", b)
		}
	})
}

// FuzzBeatPayload has the payload signed, whatever it is: what a trusted key signs may still be broken.
func FuzzBeatPayload(f *testing.F) {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(signBeat(f, testSigner, sampleBeat())), ".")[1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte(`{"iss":"estop","aud":"estop-guards","publisher":"a","start":"b","issued_at":1,"interval":1,"digest":"AAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := testSigner.jws(payload, BeatType)
		if err != nil {
			return
		}
		b, err := testSigner.Verifier().VerifyBeat([]byte(token), beatTime)
		if err == nil && (len(b.Changed) > BeatTenants || len(b.Others) > BeatTenants || b.Interval <= 0) {
			t.Errorf("%+v", b)
		}
	})
}

func BenchmarkVerifyBeat(b *testing.B) {
	l := NewLedger()
	for i := range 1000 {
		l.Note(Revocation{ID: "x", Tenant: fmt.Sprint("t", i), Scope: Agent, Subject: "a", Until: beatTime.Add(time.Hour)}, uint64(i+1))
	}
	beat := sampleBeat()
	beat.Changed, beat.Others = nil, nil
	beat.fill(l, TenantKey{})
	token, v := signBeat(b, testSigner, beat), testSigner.Verifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.VerifyBeat(token, beatTime); err != nil {
			b.Fatal(err)
		}
	}
}
