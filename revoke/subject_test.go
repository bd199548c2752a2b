package revoke

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTokenKeepsPlainNamesAndHidesTheRest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := Token(name); got != want {
			t.Errorf("Token(%q) = %q, want %q", name, got, want)
		}
	}
	f("payments-bot_7", "payments-bot_7")
	f("", "=")
	f("a.b", "=YS5i")
	f("*", "=Kg")
	f(">", "=Pg")
	f("=YS5i", "=PVlTNWk")
	f("~x", "=fng")
	f("$JS", "=JEpT")
	f(strings.Repeat("x", 96), strings.Repeat("x", 96))
	f(strings.Repeat("x", 97), "~Gajwfut_PQwLc3fjfXLszeFEzv60S-rJwyJxMaUmaI0")
}

func TestDifferentNamesHaveDifferentTokens(t *testing.T) {
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`[=~a-zA-Z0-9_.*> -]{0,8}`), rapid.StringMatching(`x{95,99}[.y]?`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		if a != b && Token(a) == Token(b) {
			t.Fatalf("%q and %q share %q", a, b, Token(a))
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "bot", "a.b", "*", ">", " ", "\x00", "=YS5i", "~", strings.Repeat("ä", 100), "spiffe://acme/ns/prod/sa/bot"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token := Token(s)
		if token == "" || len(token) > 129 {
			t.Fatalf("Token(%q) has %d bytes", s, len(token))
		}
		for i := range len(token) {
			if c := token[i]; c <= ' ' || c > '~' || strings.IndexByte(".*>$", c) >= 0 {
				t.Fatalf("Token(%q) = %q holds %q", s, token, c)
			}
		}
		name, ok := TokenName(token)
		if ok && name != s {
			t.Fatalf("TokenName(Token(%q)) = %q", s, name)
		}
		if !ok && len(s) <= maxBase64 {
			t.Fatalf("TokenName(Token(%q)) cannot be reversed", s)
		}
		// As a token, s may be anything.
		if name, ok := TokenName(s); ok && Token(name) != s {
			t.Fatalf("TokenName(%q) = %q, whose token is %q", s, name, Token(name))
		}
	})
}

func TestIDNamesTheDecisionAndNothingElse(t *testing.T) {
	id := ID("burst", "bot", "estop.calls", 3, 42, 0)
	// Computed apart from this code: SHA-256 of 05 "burst" 03 "bot" 0b "estop.calls", then
	// big-endian int32 3, int64 42, int64 0.
	if want := "ru40blli4b01u7ccebsnmohbd4"; id != want {
		t.Errorf("ID = %q, want %q: an id must not change between versions", id, want)
	}
	others := []string{
		ID("burs", "tbot", "estop.calls", 3, 42, 0),
		ID("burst", "bo", "testop.calls", 3, 42, 0),
		ID("burst", "bot", "estop.calls", 4, 42, 0),
		ID("burst", "bot", "estop.calls", 3, 43, 0),
		ID("burst", "bot", "estop.calls", 3, 42, 1),
		ID("burst", "bot", "estop.calls", -3, 42, 0),
	}
	for i, other := range others {
		if other == id {
			t.Errorf("decision %d has the id of another", i)
		}
	}
}
