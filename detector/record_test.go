package detector_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

func TestADocumentIsTheTextAndTheListsOfOneDetector(t *testing.T) {
	const (
		first  = head + "lists: {l: l.txt}\nmatch: {agent: $l}"
		second = "id: second\ntitle: x\nlists: {m: m.txt}\nmatch: {agent: $m}\nwhen: count(calls, 10s) > 1"
		list   = "a # a comment\nb\n"
	)
	set, errs := detector.Load(files("sub/f.yaml", first+"\n---\n"+second+"\n", "sub/l.txt", list, "sub/m.txt", "c\n"))
	if errs.Err() != nil {
		t.Fatal(errs)
	}
	lists := []detector.List{{Name: "l.txt", File: "sub/l.txt", Hash: detector.Hash([]byte(list)), Text: list}}
	for _, c := range []struct {
		most int
		want detector.Document
		cut  bool
	}{
		{1000, detector.Document{Text: first, Lists: lists}, false},
		{len(first), detector.Document{Text: first, Lists: lists}, false},
		{len(first) - 1, detector.Document{Text: first[:1+strings.LastIndex(first, "\n")], Lists: lists}, true},
	} {
		got, cut := set.Document(0, c.most)
		if diff := cmp.Diff(c.want, got); diff != "" || cut != c.cut {
			t.Errorf("at most %d bytes: cut %v, -want +got\n%s", c.most, cut, diff)
		}
	}
	if got, cut := set.Document(0, 5); got.Text != "" || got.Lists[0].Text != "" || got.Lists[0].Hash != lists[0].Hash || !cut {
		t.Errorf("of a line that is too long, or a list: %+v, cut %v", got, cut)
	}
	if got, _ := set.Document(1, 1000); got.Text != second || len(got.Lists) != 1 || got.Lists[0].Text != "c\n" {
		t.Errorf("the second document: %+v", got)
	}
}
