package plugin

import (
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

func accessGraph(t *testing.T, w *world, d *Datasource) {
	frames := must(t, d, Query{Kind: "access", Tenants: []string{"t1"}, Agent: "bad-t1"})
	nodes, edges := column(frames[0], "id"), column(frames[1], "id")
	for _, want := range []string{"agent/bad-t1", "agent/boss-t1", "identity/role/bad-t1", "resource/doc-1"} {
		if !slices.Contains(nodes, want) {
			t.Errorf("%q is missing in %v", want, nodes)
		}
	}
	if !slices.Contains(edges, "agent/boss-t1 agent/bad-t1") {
		t.Errorf("the delegation is missing in %v", edges)
	}
	for _, end := range append(column(frames[1], "source"), column(frames[1], "target")...) {
		if !slices.Contains(nodes, end) {
			t.Errorf("an edge leads to %q, which is no node", end)
		}
	}
	if slices.Sort(nodes); len(slices.Compact(slices.Clone(nodes))) != len(nodes) {
		t.Errorf("a node is there twice: %v", nodes)
	}
	if isNew := column(frames[1], "detail__new"); slices.Contains(isNew, "no") {
		t.Errorf("all edges are of the last hours, and not all are new: %v", isNew)
	}
}

func explanation(t *testing.T, w *world, d *Datasource) {
	frames := must(t, d, Query{Kind: "explanation", ID: detectionID(t, d, "bad-t1")})
	checkNames(t, frames, "what", "features", "calls")
	said := strings.Join(column(frames[0], "is"), "\n")
	for _, want := range []string{"loop", "agent bad-t1 of tenant t1", "count(calls, 10s) > 3", "boss-t1 > bad-t1"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said in\n%s", want, said)
		}
	}
	if observed := column(frames[1], "observed"); !slices.Equal(observed, []string{"4"}) {
		t.Errorf("observed %v, want 4 calls", observed)
	}
	if breaking := column(frames[2], "breaking"); breaking[0] != "yes" || !slices.Contains(breaking, "no") {
		t.Errorf("the call that broke it does not come first: %v", breaking)
	}

	frames = must(t, d, Query{Kind: "explanation", ID: byEvidence})
	checkNames(t, frames, "what", "features", "evidence", "observed and expected", "calls")
	if said := strings.Join(column(frames[0], "is"), "\n"); !strings.Contains(said, "the odds against its baseline are 1.81e+03 to 1; the alarm is at 992 to 1") {
		t.Errorf("the evidence is not said in\n%s", said)
	}
	if expected, high := column(frames[1], "expected"), column(frames[1], "high"); !slices.Equal(expected, []string{"1"}) || !slices.Equal(high, []string{"4"}) {
		t.Errorf("expected %v, up to %v", expected, high)
	}
	if level := column(frames[2], "alarm_level"); level[0] != "6.9" {
		t.Errorf("alarm level %v", level)
	}
}

func checkNames(t *testing.T, frames data.Frames, want ...string) {
	t.Helper()
	var names []string
	for _, f := range frames {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, want) {
		t.Fatalf("frames %v, want %v", names, want)
	}
}
