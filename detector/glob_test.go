package detector

import (
	"strings"
	"testing"
)

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add(`\*\?\\`, `*?\`)
	f.Add("*a*a*b", "aaaaaab")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > 20 || len(value) > 20 || strings.ToValidUTF8(value, "") != value {
			t.Skip("the oracle is slow, and knows whole characters only")
		}
		g := parseGlob(pattern)
		if got, want := g.match(value), slowMatch(g, []rune(value)); got != want {
			t.Errorf("%q on %q is %v", pattern, value, got)
		}
	})
}

// slowMatch is what a glob means, tried out.
func slowMatch(g glob, value []rune) bool {
	switch {
	case len(g) == 0:
		return len(value) == 0
	case g[0] == anyMany:
		return slowMatch(g[1:], value) || len(value) > 0 && slowMatch(g, value[1:])
	case len(value) == 0:
		return false
	}
	return (g[0] == anyOne || g[0] == value[0]) && slowMatch(g[1:], value[1:])
}

func TestWildcardsTakeNoExponentialTime(t *testing.T) {
	g := parseGlob(strings.Repeat("*a", 100) + "*b")
	if g.match(strings.Repeat("a", 10_000)) {
		t.Error("matched without a b")
	}
}

func TestABackslashAtTheEndStandsForItself(t *testing.T) {
	for _, c := range []struct {
		comparison, want, value string
		holds                   bool
	}{
		{"contains", `\temp\`, `c:\temp\x.exe`, true}, {"contains", `\temp\`, `c:\temp*`, false}, {"startswith", `c:\`, `c:\temp`, true},
		{"startswith", `c:\`, `c:*`, false}, {"startswith", `c:\\`, `c:\temp`, true}, {"endswith", `\`, `c:\`, true}, {"", `c:\`, `c:\`, true},
	} {
		holds, err := comparisons[c.comparison](c.want, false)
		if err != nil || holds(c.value) != c.holds {
			t.Errorf("%s %s of %s: %v, %v", c.comparison, c.want, c.value, !c.holds, err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"agent", "agent", 0}, {"agnet", "agent", 1}, {"agnt", "agent", 1}, {"agents", "agent", 1},
		{"kitten", "sitting", 3},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]string{
		"10s": "10s", "90s": "1m30s", "168h": "7d", "1w": "7d", "1500ms": "1s500ms", "1d1h1m1s": "1d1h1m1s", "0.5h": "30m", "0s": "0s",
	} {
		d, err := parseDuration(text)
		if err != nil || formatDuration(d) != want {
			t.Errorf("%s is %s (%v), want %s", text, formatDuration(d), err, want)
		}
	}
	for _, text := range []string{"", "10", "s", "10 s", "-5s", "1..5s", "10x", "1e3s", "99999999999999d", "10s5"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}
