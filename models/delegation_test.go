package models

import (
	"bytes"
	"testing"
)

func chainOf(names string) [][]byte {
	if names == "" {
		return nil
	}
	return bytes.Split([]byte(names), []byte(" "))
}

func TestShapeOfAChainCountsDepthAndCycles(t *testing.T) {
	for _, c := range []struct {
		chain string
		want  ChainShape
	}{
		{"", ChainShape{0, 0}},
		{"a", ChainShape{1, 0}},
		{"a b c", ChainShape{3, 0}},
		{"a b a", ChainShape{3, 1}},
		{"a b a b", ChainShape{4, 2}},
		{"a a a", ChainShape{3, 2}},
	} {
		if got := ShapeOf(chainOf(c.chain)); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.chain, got, c.want)
		}
	}
	chain := chainOf("a b c a")
	if n := testing.AllocsPerRun(100, func() { ShapeOf(chain) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExcessIsWhatTheParentNeverUsed(t *testing.T) {
	d := (&drawing{}).
		edge("a:child", "r:both", "r:own", "r:more", "i:both", "i:own", "do:own").
		edge("a:parent", "r:parent", "r:both", "i:both", "a:child", "a:idle")
	g := d.graph()
	for _, c := range []struct {
		parent, child string
		want          Excess
	}{
		{"a:parent", "a:child", Excess{Resources: 2, Identities: 1, Share: 2.0 / 3, Parent: 2}},
		{"a:child", "a:parent", Excess{Resources: 1, Share: 0.5, Parent: 3}},
		{"a:idle", "a:child", Excess{Resources: 3, Identities: 2, Share: 1}},
		{"a:parent", "a:idle", Excess{Parent: 2}},
	} {
		if got := g.Excess(d.node(c.parent), d.node(c.child)); got != c.want {
			t.Errorf("%s under %s: %+v, want %+v", c.child, c.parent, got, c.want)
		}
	}
}

func BenchmarkShapeOf4(b *testing.B)  { benchmarkShape(b, 4) }
func BenchmarkShapeOf64(b *testing.B) { benchmarkShape(b, 64) }

func benchmarkShape(b *testing.B, n int) {
	var chain [][]byte
	for i := range n {
		chain = append(chain, []byte{'a', 'g', 'e', 'n', 't', '-', byte(i)})
	}
	b.ReportAllocs()
	for b.Loop() {
		sinkBool = ShapeOf(chain).Repeated == 0
	}
}
