package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
)

func TestHistorySaysWhoItWasAndHowThatIsKnown(t *testing.T) {
	for _, c := range []struct {
		author detector.Author
		want   string
	}{
		{detector.Author{By: "Ada <a@b>", From: detector.FromGit, Commit: "0123456789abcdef"}, "Ada <a@b> in commit 0123456789ab"},
		{detector.Author{By: "root", From: detector.FromOwner}, "root, who owns the file"},
		{detector.Author{By: "estop v1", From: detector.FromBuiltIn}, "estop v1"},
		{detector.Author{From: detector.FromConfig}, "the configuration"},
		{detector.Author{}, "unknown"},
		{detector.Author{By: "a\x1b[2J\nb\tc", From: detector.FromOwner}, "a[2Jb c, who owns the file"},
	} {
		if got := authorText(&c.author); got != c.want {
			t.Errorf("%+v is %q, want %q", c.author, got, c.want)
		}
	}
}

func TestHistoryNamesTheFirstKeysThatChanged(t *testing.T) {
	key := func(kind, name string) detector.KeyChange { return detector.KeyChange{Kind: kind, Key: name} }
	for _, c := range []struct {
		kind string
		keys []detector.KeyChange
		want string
	}{
		{"added", nil, ""},
		{"removed", nil, ""},
		{"changed", nil, "only comments or the layout"},
		{"changed", []detector.KeyChange{key("changed", "a"), key("added", "b"), key("removed", "c"), key("changed", "d")}, "a, +b, -c, d"},
		{"changed", []detector.KeyChange{key("changed", "a"), key("changed", "b"), key("changed", "c"), key("changed", "d"), key("added", "e"), key("added", "f")}, "a, b, c, d, and 2 more"},
	} {
		if got := keysText(&detector.ChangeRecord{Kind: c.kind, Keys: c.keys}); got != c.want {
			t.Errorf("%s %v is %q, want %q", c.kind, c.keys, got, c.want)
		}
	}
}

func TestADifferenceCannotMoveTheCursor(t *testing.T) {
	var out bytes.Buffer
	writeDifferences(&out, []detector.ChangeRecord{{
		Detector: "a", Canary: true, Kind: "changed", File: "own/\x1b]0;x\a.yaml", Cut: true, Time: time.Unix(0, 0),
		Diff: "diff x y\n--- x\n+++ y\n-\x1b[31mred\r\n",
	}})
	text := out.String()
	if strings.ContainsAny(text, "\x1b\a\r") || strings.Contains(text, "diff x y") {
		t.Errorf("%q", text)
	}
	for _, want := range []string{"  canary/a changed  ", "\n    -[31mred\n", "longer than what is kept"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}
