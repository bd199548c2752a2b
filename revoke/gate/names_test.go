package gate_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

func TestASourceIsWrittenAsItIsRead(t *testing.T) {
	for _, text := range []string{"", "header:X-Agent", "header:X-Session?", "principal", "principal?", "spiffe:path", "spiffe:trust-domain", "claim:jwt.sub", "claim:https://x.example/tenant", "value:acme"} {
		s, err := gate.ParseSource(text)
		if err != nil || s.String() != text {
			t.Errorf("%q is read as %q, %v", text, s, err)
		}
	}
	for _, bad := range []string{"X-Agent", "header", "header:", "header:X Agent", "header:X-Agent:", "principal:x", "spiffe:", "spiffe:host", "claim:", "value:", "?", "cookie:x"} {
		if s, err := gate.ParseSource(bad); err == nil {
			t.Errorf("%q is read as %q", bad, s)
		}
	}
}

func TestNamesWithoutTenantOrAgentAreRefused(t *testing.T) {
	value := gate.Source{Kind: gate.FromValue, Key: "x"}
	for _, n := range []gate.Names{{}, {Tenant: value}, {Agent: value}, {Tenant: value, Agent: value, Session: gate.Source{Kind: gate.FromClaim, Key: "x"}}} {
		if n.Check(gate.FromValue) == nil {
			t.Errorf("%+v is taken", n)
		}
	}
	if err := (gate.Names{Tenant: value, Agent: value}).Check(gate.FromValue); err != nil {
		t.Error(err)
	}
}

// from reads names out of claims, which can hold whatever JSON can.
func from(t testing.TB, claims string) (guard.Call, error) {
	t.Helper()
	var f gate.Facts
	if err := json.Unmarshal([]byte(claims), &f.Claims); err != nil {
		t.Fatal(err)
	}
	claim := func(key string, optional bool) gate.Source {
		return gate.Source{Kind: gate.FromClaim, Key: key, Optional: optional}
	}
	return gate.Names{
		Tenant: claim("https://x.example/tenant", false), Agent: claim("a.sub", false), Identity: claim("id", true),
		Chain: claim("chain", true), IssuedAt: claim("iat", true),
	}.Call(f)
}

func TestClaimsAreReadStrictly(t *testing.T) {
	const who = `"https://x.example/tenant":"acme","a":{"sub":"bot"}`
	f := func(claims string, want guard.Call) {
		t.Helper()
		got, err := from(t, claims)
		if err != nil {
			t.Errorf("%s: %v", claims, err)
		}
		want.Tenant, want.Agent = "acme", "bot"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", claims, diff)
		}
	}
	bad := func(claims string) {
		t.Helper()
		if got, err := from(t, claims); err == nil {
			t.Errorf("%s is read as %+v", claims, got)
		}
	}
	f(`{`+who+`}`, guard.Call{})
	f(`{`+who+`,"id":null,"chain":null,"iat":null}`, guard.Call{})
	f(`{`+who+`,"id":"role"}`, guard.Call{Identity: "role"})
	f(`{`+who+`,"chain":["root","bot"]}`, guard.Call{Chain: []string{"root", "bot"}})
	f(`{`+who+`,"chain":"root, bot"}`, guard.Call{Chain: []string{"root", "bot"}})
	f(`{`+who+`,"chain":{"sub":"bot","act":{"sub":"root"}}}`, guard.Call{Chain: []string{"root", "bot"}})
	f(`{`+who+`,"iat":1700000000}`, guard.Call{CredentialIssuedAt: time.Unix(1700000000, 0)})
	f(`{`+who+`,"iat":"1700000000"}`, guard.Call{CredentialIssuedAt: time.Unix(1700000000, 0)})
	f(`{`+who+`,"iat":"2026-01-01T00:00:00Z"}`, guard.Call{CredentialIssuedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	bad(`{}`)
	bad(`{"https://x.example/tenant":"acme"}`)
	bad(`{"https://x.example/tenant":"acme","a":{"sub":""}}`)
	bad(`{"https://x.example/tenant":"acme","a":{"sub":["bot"]}}`)
	bad(`{"https://x.example/tenant":"acme","a":{"sub":"b\u0000t"}}`)
	bad(`{` + who + `,"id":7}`)
	bad(`{` + who + `,"chain":7}`)
	bad(`{` + who + `,"chain":["root",""]}`)
	bad(`{` + who + `,"chain":["root",{}]}`)
	bad(`{` + who + `,"chain":"root,,bot"}`)
	bad(`{` + who + `,"chain":{"act":{"sub":"root"}}}`)
	bad(`{` + who + `,"chain":["` + strings.Repeat(`a","`, 64) + `a"]}`)
	bad(`{` + who + `,"chain":` + strings.Repeat(`{"sub":"a","act":`, 100) + `null` + strings.Repeat(`}`, 100) + `}`)
	bad(`{` + who + `,"iat":-1}`)
	bad(`{` + who + `,"iat":1e300}`)
	bad(`{` + who + `,"iat":"soon"}`)
	bad(`{` + who + `,"iat":true}`)
}

func TestOnlyASPIFFEIDHasItsParts(t *testing.T) {
	f := func(principal, domain, path string) {
		t.Helper()
		c, err := (gate.Names{
			Tenant: gate.Source{Kind: gate.FromSPIFFE, Key: "trust-domain"}, Agent: gate.Source{Kind: gate.FromSPIFFE, Key: "path"},
		}).Call(gate.Facts{Principal: principal})
		if c.Tenant != domain || c.Agent != path || (err == nil) != (domain != "") {
			t.Errorf("%q is %q of %q, %v", principal, c.Agent, c.Tenant, err)
		}
		// The one does not count without the other.
		_, alone := (gate.Names{
			Tenant: gate.Source{Kind: gate.FromSPIFFE, Key: "trust-domain"}, Agent: gate.Source{Kind: gate.FromValue, Key: "x"},
		}).Call(gate.Facts{Principal: principal})
		if (alone == nil) != (domain != "") {
			t.Errorf("%q has a trust domain: %v", principal, alone)
		}
	}
	f("spiffe://example.org/ns/bot", "example.org", "ns/bot")
	for _, bad := range []string{
		"", "bot", "spiffe:", "spiffe:///bot", "spiffe://example.org", "https://example.org/bot", "spiffe://example.org/bot?x=1",
		"spiffe://example.org/bot#x", "spiffe://user@example.org/bot", "spiffe://exa mple/bot", "spiffe://example.org/%zz",
	} {
		f(bad, "", "")
	}
}

func FuzzNamesOfClaims(f *testing.F) {
	f.Add(`{"https://x.example/tenant":"acme","a":{"sub":"bot"},"chain":{"sub":"bot","act":{"sub":"root"}},"iat":1}`)
	f.Fuzz(func(t *testing.T, claims string) {
		var any map[string]any
		if json.Unmarshal([]byte(claims), &any) != nil {
			return
		}
		if c, err := from(t, claims); err == nil && (c.Tenant == "" || c.Agent == "" || len(c.Chain) > 64) {
			t.Errorf("%+v", c)
		}
	})
}

func FuzzParseSource(f *testing.F) {
	f.Add("header:X-Agent?")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := gate.ParseSource(text)
		if err != nil {
			return
		}
		if again, err := gate.ParseSource(s.String()); err != nil || again != s {
			t.Errorf("%q is %+v, then %+v, %v", text, s, again, err)
		}
	})
}

func TestAResourceFailsAsItsClassSays(t *testing.T) {
	f := func(c gate.Classes, resource string, closed bool) {
		t.Helper()
		if got := c.FailClosed(&guard.Call{Resource: resource}); got != closed {
			t.Errorf("%+v on %q: fails closed is %v", c, resource, got)
		}
	}
	f(gate.Classes{}, "/x", true)
	f(gate.Classes{Open: true}, "/x", false)
	opens := gate.Classes{Opens: []string{"/public/*", "/health"}}
	f(opens, "/public/a", false)
	f(opens, "/health", false)
	f(opens, "/healthy", true)
	f(opens, "/publi", true)
	closes := gate.Classes{Open: true, Closes: []string{"/payments/*"}}
	f(closes, "/payments/1", true)
	f(closes, "/x", false)
	f(gate.Classes{Opens: []string{"*"}, Closes: []string{"/payments/*"}}, "/payments/1", true)
	f(gate.Classes{Opens: []string{"*"}, Closes: []string{"/payments/*"}}, "/x", false)
	// What a service may read in another way than the patterns do fails closed.
	for _, path := range []string{"/public/../payments", "/public/..;/payments", "/public//x", "/public/./x", "/public/.", "/public/%2e%2e/payments", `/public/..\payments`, "/public/\x00"} {
		f(opens, path, true)
		f(closes, path, true)
	}
	f(opens, "/public/.well-known", false)
	tools := gate.Classes{Opens: []string{"mcp://notes/read_*"}}
	f(tools, "mcp://notes/read_note", false)
	f(tools, "mcp://notes/write_note", true)
	f(tools, "mcp://notes/read_/../write_note", true)
	f(tools, "mcp://notes/read_//write_note", true)
	f(gate.Classes{Open: true}, "/a/../b", false)
	for _, bad := range []string{"", "*x", "/a*b"} {
		if (gate.Classes{Opens: []string{bad}}).Check() == nil || (gate.Classes{Closes: []string{bad}}).Check() == nil {
			t.Errorf("the pattern %q is taken", bad)
		}
	}
}

func TestAReasonInAHeaderIsOneLine(t *testing.T) {
	got := gate.Header("a\r\nSet-Cookie: x\x00 é " + strings.Repeat("y", 1000))
	if strings.ContainsAny(got, "\r\n\x00") || len(got) > 256 || !strings.HasPrefix(got, "a??Set-Cookie: x? ?") {
		t.Errorf("%q", got)
	}
}
