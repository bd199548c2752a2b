package models

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fadingKind has a step for the tests that all encodings share.
var fadingKind = kind{
	name:  "FadingEdges",
	fresh: func() stateful { return pointer(NewFadingEdges(50, 200)) },
	other: func() stateful { return pointer(NewFadingEdges(50, 201)) },
	step: func(s stateful, a, b uint64) string {
		f := s.(*FadingEdges)
		from, to, tick := uint32(b%13), uint32(b>>8%17), uint32(a)
		used := f.Use(from, to, tick, uint32(1+b>>60))
		if !used && !f.Full() {
			f.Add(from, to, tick)
		}
		gone := [][2]uint32{}
		if b%29 == 0 {
			f.Sweep(tick, 0.5, func(from, to uint32) { gone = append(gone, [2]uint32{from, to}) })
		}
		slices.SortFunc(gone, func(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) })
		return fmt.Sprint(used, gone, f.Len(), f.Has(to, from), sorted(f, tick))
	},
}

func sorted(f *FadingEdges, tick uint32) []AccessEdge {
	es := f.Append(nil, tick)
	slices.SortFunc(es, func(a, b AccessEdge) int {
		return slices.Compare([]uint32{a.From, a.To}, []uint32{b.From, b.To})
	})
	return es
}

// The model is a list of uses, summed by the formula of the comment.
func TestFadingEdgesAreTheSumOfTheirFadedUses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const halfLife, least = 20, 0.25
		const rounding = 0.5 / 256 / (1 - 0.965936) // half a unit at each tick, which fades by 2^(-1/20)
		f := NewFadingEdges(halfLife, 1000)
		type ends struct{ from, to uint32 }
		uses := map[ends][]uint32{}
		weight := func(k ends, tick uint32) (sum float64) {
			for _, at := range uses[k] {
				sum += math.Exp2(-float64(tick-at) / halfLife)
			}
			return sum
		}
		tick := uint32(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			tick += rapid.Uint32Range(0, 5).Draw(t, "later")
			k := ends{rapid.Uint32Range(0, 8).Draw(t, "from"), rapid.Uint32Range(0, 8).Draw(t, "to")}
			if !f.Use(k.from, k.to, tick, 1) {
				if len(uses[k]) > 0 {
					t.Fatal("an edge is lost")
				}
				f.Add(k.from, k.to, tick)
			}
			uses[k] = append(uses[k], tick)
			if rapid.IntRange(0, 20).Draw(t, "sweep") == 0 {
				f.Sweep(tick, least, func(from, to uint32) {
					if w := weight(ends{from, to}, tick); w >= least+rounding {
						t.Fatalf("an edge of weight %v was swept", w)
					}
					delete(uses, ends{from, to})
				})
			}
		}
		if f.Len() != len(uses) {
			t.Fatalf("%d edges, want %d", f.Len(), len(uses))
		}
		for _, e := range f.Append(nil, tick) {
			want := weight(ends{e.From, e.To}, tick)
			if math.Abs(float64(e.Weight)-want) > rounding || !f.Has(e.From, e.To) {
				t.Fatalf("edge %v, want weight %v", e, want)
			}
		}
		f.Renumber([]uint32{8, 7, 6, 5, 4, 3, 2, 1, 0})
		for k := range uses {
			if !f.Has(8-k.from, 8-k.to) {
				t.Fatal("an edge is lost with its number")
			}
		}
	})
}

// A rounded sum would depend on where it was cut.
func TestUsesOfOneTickCountTheSameTogether(t *testing.T) {
	one, all := NewFadingEdges(7, 10), NewFadingEdges(7, 10)
	one.Add(1, 2, 0)
	all.Add(1, 2, 0)
	for tick := range uint32(200) {
		uses := tick*tick%97 + 1
		for range uses {
			one.Use(1, 2, tick, 1)
		}
		all.Use(1, 2, tick, uses)
	}
	if a, b := one.Append(nil, 200), all.Append(nil, 200); !slices.Equal(a, b) {
		t.Errorf("one by one %v, together %v", a, b)
	}
	all.Use(1, 2, 200, math.MaxUint32)
	all.Use(1, 2, 200, math.MaxUint32)
	if got := all.Append(nil, 200)[0].Weight; got != 1<<24 {
		t.Errorf("a full weight is %v", got)
	}
}

func TestFadingEdgesDecodedBehaveAsTheOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Uint64(), 0, 200)
		a, b := fadingKind.fresh(), fadingKind.fresh()
		tick := uint64(5)
		for i, s := range steps.Draw(t, "before") {
			fadingKind.step(a, tick+uint64(i)/4, s)
		}
		code := encoded(t, a)
		rest, err := b.DecodeBinary(append(bytes.Clone(code), "next"...))
		if err != nil || string(rest) != "next" {
			t.Fatalf("decoding gives rest %q, error %v", rest, err)
		}
		if !bytes.Equal(encoded(t, b), code) {
			t.Fatal("the same edges give other bytes")
		}
		for i, s := range steps.Draw(t, "after") {
			if want, got := fadingKind.step(a, 60+uint64(i), s), fadingKind.step(b, 60+uint64(i), s); got != want {
				t.Fatalf("after decoding a step gives %s, want %s", got, want)
			}
		}
	})
}

func TestFadingEdgesRefuseOtherParametersVersionsAndCutBytes(t *testing.T) {
	s := fadingKind.fresh()
	for i := range uint64(100) {
		fadingKind.step(s, i/4, i*i*0x9E3779B97F4A7C15)
	}
	if _, err := fadingKind.other().DecodeBinary(encoded(t, s)); !errors.Is(err, ErrParameters) {
		t.Errorf("other parameters give %v", err)
	}
	code := encoded(t, s)
	if _, err := fadingKind.fresh().DecodeBinary(append([]byte{99}, code[1:]...)); !errors.Is(err, ErrEncoding) {
		t.Errorf("another version gives %v", err)
	}
	for n := range code {
		if _, err := fadingKind.fresh().DecodeBinary(code[:n]); !errors.Is(err, ErrEncoding) {
			t.Errorf("%d of %d bytes give %v", n, len(code), err)
		}
	}
}

func FuzzDecodeFadingEdges(f *testing.F) { fuzzDecode(f, fadingKind) }

// What bytes say are edges, of whatever kind, gives results within their ranges.
func FuzzAccessGraph(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 3}, []byte{0, 2, 9, 1, 2, 9, 0, 3, 1, 0, 1, 5})
	f.Fuzz(func(t *testing.T, kinds, ends []byte) {
		ks := make([]NodeKind, min(len(kinds), 100))
		for i := range ks {
			ks[i] = NodeKind(kinds[i])
		}
		var es []AccessEdge
		for len(ends) >= 3 && len(es) < 1000 {
			es = append(es, AccessEdge{uint32(ends[0]), uint32(ends[1]), math.Float32frombits(uint32(ends[2]) << 23)})
			ends = ends[3:]
		}
		g := NewAccessGraph(ks, es)
		groups := g.PeerGroups(nil, 0, 1)
		g.PeerGroups(groups.Of, groups.Next, 2)
		sum := 0.0
		for _, r := range g.PageRank(0.85, 1e-9) {
			sum += r
		}
		if g.Nodes() > 0 && !(math.Abs(sum-1) < 1e-6) {
			t.Fatalf("ranks add up to %v", sum)
		}
		for _, v := range g.Betweenness(100, 1) {
			if !(v >= 0 && v < 1+1e-9) {
				t.Fatalf("betweenness %v", v)
			}
		}
		for n := range uint32(g.Nodes()) {
			g.Reach(n, 100, 10)
			g.Excess(n, 0)
			g.Nearest(n, 5)
		}
	})
}

func BenchmarkFadingEdgesUse(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := NewFadingEdges(1000, n)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range uint32(n) {
				f.Add(i/16, i, 0)
			}
			var order [1 << 12]uint32
			for i := range order {
				order[i] = rng.Uint32N(uint32(n))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := order[i%len(order)]
				sinkBool = f.Use(e/16, e, uint32(i>>20), 1)
			}
		})
	}
}

func TestACopyOfFadingEdgesStaysAsItWas(t *testing.T) {
	f := NewFadingEdges(50, 1000)
	for i := range uint32(100) {
		f.Add(i, i+1, i)
	}
	into := NewFadingEdges(50, 1000)
	for i := range uint32(500) { // memory from before, larger and smaller
		into.Add(i, 7777, 0)
	}
	for range 2 {
		f.CopyTo(&into)
		want := sorted(&f, 5000) // an age past those that are kept at hand, too
		for i := range uint32(100) {
			f.Use(i, i+1, 200, 3)
			f.Add(i, i+500, 200)
		}
		if got := sorted(&into, 5000); !slices.Equal(got, want) || into.Len() != len(want) {
			t.Errorf("the copy changed: %d edges, want %d", into.Len(), len(want))
		}
		f.Sweep(200, 1e9, func(uint32, uint32) {})
		f.Add(1, 2, 3)
	}
}
