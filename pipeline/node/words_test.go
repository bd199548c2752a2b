package node

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSpeed(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "max": 0, "1": 1, "60x": 60, "0.5": 0.5, "1e3x": 1000} {
		if got, err := ParseSpeed(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "0", "-1", "fast", "NaN", "Inf", "1xx", "60 x", "1e10"} {
		if got, err := ParseSpeed(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestParseRoles(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  []Role
	}{
		{[]string{"detect"}, []Role{RoleDetect}},
		{[]string{" acks", "archive "}, []Role{RoleAcks, RoleArchive}},
		{[]string{"detect", "acks", "detect"}, []Role{RoleDetect, RoleAcks}},
		{roleNames(), Roles()},
	} {
		if got, err := ParseRoles(c.names); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, %v", c.names, got, err)
		}
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "the roles are detect, archive, acks, notify"},
		{[]string{"detct"}, `(did you mean "detect"?)`},
		{[]string{"detect", ""}, `unknown role ""`},
	} {
		if got, err := ParseRoles(c.names); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, %v", c.names, got, err)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	words := []string{"kill", "keys", "release", "status"}
	for word, want := range map[string]string{
		"relaese": ` (did you mean "release"?)`, "kil": ` (did you mean "kill"?)`, "STATUS": ` (did you mean "status"?)`,
		"frobnicate": "", "": "", strings.Repeat("k", 1<<20): "",
	} {
		if got := DidYouMean(word, words); got != want {
			t.Errorf("%.20q: got %q, want %q", word, got, want)
		}
	}
}
