package telemetry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

func TestAnInternerDoesWhatAMapDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 200
		n := NewInterner(most)
		want := map[string]uint32{}
		words := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.StringMatching(`[ab]{0,8}`), rapid.StringN(0, 9000, -1)))
		for _, w := range words.Draw(t, "words") {
			id, fresh, ok := n.Intern([]byte(w))
			old, known := want[w]
			switch {
			case known && (id != old || fresh || !ok):
				t.Fatalf("%q: got %d %v %v, want its number %d", w, id, fresh, ok, old)
			case !known && len(w) <= LongestString && len(want) < most:
				if int(id) != len(want) || !fresh || !ok {
					t.Fatalf("%q is new: got %d %v %v", w, id, fresh, ok)
				}
				want[w] = id
			}
		}
		if n.Len() != len(want) {
			t.Fatalf("len %d, want %d", n.Len(), len(want))
		}
		for w, id := range want {
			if got, ok := n.Lookup([]byte(w)); !ok || got != id || n.String(id) != w || n.Hash(id) != xxhash.Sum64String(w) {
				t.Fatalf("%q: got %d %v %q", w, got, ok, n.String(id))
			}
		}
	})
}

func TestAFullInternerRefusesWhatIsNewAndKnowsTheRest(t *testing.T) {
	n := NewInterner(2)
	n.Intern([]byte("a"))
	n.Intern([]byte("b"))
	if _, fresh, ok := n.Intern([]byte("c")); fresh || ok {
		t.Error("a third string was taken")
	}
	if id, fresh, ok := n.Intern([]byte("b")); id != 1 || fresh || !ok {
		t.Error("a known string was refused")
	}
	if _, ok := n.Lookup([]byte("c")); ok {
		t.Error("what was refused is there")
	}
}

func TestAStringTooLongForTheArenaIsRefused(t *testing.T) {
	n := NewInterner(10)
	if _, _, ok := n.Intern(make([]byte, LongestString+1)); ok || n.Len() != 0 {
		t.Error("it was taken")
	}
	long := []byte(strings.Repeat("x", LongestString))
	if id, _, ok := n.Intern(long); !ok || n.String(id) != string(long) {
		t.Error("the longest string that fits was refused")
	}
}

func TestStringsOutliveAReset(t *testing.T) {
	n := NewInterner(10)
	b := []byte("before")
	id, _, _ := n.Intern(b)
	kept := n.String(id)
	copy(b, "xxxxxx") // an interner does not retain what it is given
	n.Reset()
	if _, ok := n.Lookup([]byte("before")); ok || n.Len() != 0 {
		t.Error("it is still there")
	}
	if id, fresh, _ := n.Intern([]byte("after!")); id != 0 || !fresh || kept != "before" {
		t.Errorf("got %d %v, and the old string is now %q", id, fresh, kept)
	}
}

func TestAKnownStringCostsNoAllocation(t *testing.T) {
	n := NewInterner(10)
	b := []byte("agent-7")
	n.Intern(b)
	if a := testing.AllocsPerRun(100, func() {
		id, _, _ := n.Intern(b)
		_ = n.String(id)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func internKeys() [][]byte {
	keys := make([][]byte, 1<<16)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "arn:aws:iam::123456789012:role/agent-%d", i*7919%len(keys))
	}
	return keys
}

func BenchmarkInternHit(b *testing.B) {
	keys := internKeys()
	n := NewInterner(len(keys))
	for _, k := range keys {
		n.Intern(k)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n.Intern(keys[i&(len(keys)-1)])
	}
}

// BenchmarkMapHit does the same with the map of the language.
func BenchmarkMapHit(b *testing.B) {
	keys := internKeys()
	m := map[string]uint32{}
	for i, k := range keys {
		m[string(k)] = uint32(i)
	}
	b.ReportAllocs()
	sum := uint32(0)
	for i := 0; b.Loop(); i++ {
		sum += m[string(keys[i&(len(keys)-1)])]
	}
	_ = sum
}

func BenchmarkInternFresh(b *testing.B) {
	keys := internKeys()
	b.ReportAllocs()
	for b.Loop() {
		n := NewInterner(len(keys))
		for _, k := range keys {
			n.Intern(k)
		}
	}
}

// BenchmarkMapFresh does the same with the map of the language.
func BenchmarkMapFresh(b *testing.B) {
	keys := internKeys()
	b.ReportAllocs()
	for b.Loop() {
		m := map[string]uint32{}
		for i, k := range keys {
			if _, ok := m[string(k)]; !ok {
				m[string(k)] = uint32(i)
			}
		}
	}
}
