package models

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainRepeats counts back from the end of all calls.
func plainRepeats(calls []uint64) (repeats, period int) {
	for p := 1; p <= longestPeriod; p++ {
		run := 0
		for i := len(calls) - 1; i >= p && calls[i] == calls[i-p]; i-- {
			run++
		}
		if run > repeats {
			repeats, period = run, p
		}
	}
	return repeats, period
}

// circle returns how many calls the circle has that has lasted longest, 0 where there is none.
func circle(l *Loop) int {
	if l.Repeats() == 0 {
		return 0
	}
	return 1 + slices.Index(l.runs[:], uint32(l.Repeats()))
}

// plainStale keeps the different calls in a list, oldest first.
func plainStale(calls []uint64) (stale int) {
	var known []uint64
	for _, c := range calls {
		found := false
		for _, k := range known[max(0, len(known)-rememberedCalls):] {
			found = found || k == c
		}
		stale++
		if !found {
			known = append(known, c)
			stale = 0
		}
	}
	return stale
}

func TestLoopAndProgressCountAsPlainListsDo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var l Loop
		var p Progress
		var calls []uint64
		round := make([]uint64, 1+rng.IntN(10))
		for i := range 300 {
			if rng.IntN(40) == 0 { // another circle
				for j := range round {
					round[j] = mix(uint64(rng.IntN(50)))
				}
				round = round[:1+rng.IntN(cap(round))]
			}
			c := round[i%len(round)]
			if rng.IntN(60) == 0 {
				c = rng.Uint64()
			}
			calls = append(calls, c)
			l.Add(c)
			p.Add(c)
			repeats, period := plainRepeats(calls)
			if l.Repeats() != repeats || circle(&l) != period {
				t.Fatalf("%d repeats with period %d, want %d with %d", l.Repeats(), circle(&l), repeats, period)
			}
			if want := plainStale(calls); p.Stale() != want {
				t.Fatalf("%d calls brought nothing new, want %d", p.Stale(), want)
			}
		}
	}
}

func TestLoopFindsEveryPeriodUpToEight(t *testing.T) {
	for period := 1; period <= 10; period++ {
		var l Loop
		for i := range 100 {
			l.Add(mix(uint64(i % period)))
		}
		want, wantPeriod := 100-period, period
		if period > longestPeriod {
			want, wantPeriod = 0, 0
		}
		if l.Repeats() != want || circle(&l) != wantPeriod {
			t.Errorf("a circle of %d: %d repeats with period %d", period, l.Repeats(), circle(&l))
		}
		l.Add(12345)
		if l.Repeats() != 0 {
			t.Errorf("a circle of %d that ended: %d repeats", period, l.Repeats())
		}
	}
}

// To and fro among five calls without any order is no circle, but no progress either.
func TestProgressSeesWhatHasNoPeriod(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var l Loop
	var p Progress
	longest := 0
	for range 200 {
		c := mix(rng.Uint64N(5))
		l.Add(c)
		p.Add(c)
		longest = max(longest, l.Repeats())
	}
	if p.Stale() < 150 || longest > 20 {
		t.Errorf("%d calls without progress, at most %d repeats", p.Stale(), longest)
	}
	p.Add(777)
	if p.Stale() != 0 {
		t.Errorf("after something new %d calls without progress", p.Stale())
	}
}

func TestLoopsAllocateNothing(t *testing.T) {
	var l Loop
	var p Progress
	n := uint64(0)
	if got := testing.AllocsPerRun(1000, func() {
		n++
		l.Add(n % 5)
		p.Add(n % 5)
		sinkFloat = float64(l.Repeats() + p.Stale())
	}); got != 0 {
		t.Errorf("%v allocations for each call", got)
	}
}

var loopKind = kind{
	name:  "Loop",
	fresh: func() stateful { return new(Loop) },
	step: func(s stateful, a, b uint64) string {
		l := s.(*Loop)
		l.Add(mix(a / 3 % 4))
		return fmt.Sprint(l.Repeats(), circle(l))
	},
}

var progressKind = kind{
	name:  "Progress",
	fresh: func() stateful { return new(Progress) },
	step: func(s stateful, a, b uint64) string {
		p := s.(*Progress)
		p.Add(mix(min(b%50, a)))
		return fmt.Sprint(p.Stale())
	},
}

func init() { kinds = append(kinds, loopKind, progressKind) }

func FuzzDecodeLoop(f *testing.F)     { fuzzDecode(f, loopKind) }
func FuzzDecodeProgress(f *testing.F) { fuzzDecode(f, progressKind) }

func BenchmarkLoopAdd(b *testing.B) {
	var l Loop
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		l.Add(i % 3)
		sinkFloat = float64(l.Repeats())
	}
}

func BenchmarkProgressAdd(b *testing.B) {
	var p Progress
	for i := range uint64(rememberedCalls) {
		p.Add(mix(i))
	}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		p.Add(mix(i % rememberedCalls))
	}
}
