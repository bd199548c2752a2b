package graph

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// What is compared is every place of a call and every answer, until the end of the log.
func TestARecorderGoesOnFromItsStateAndTheCallsSince(t *testing.T) {
	opt := Options{MaxNodes: 400, HalfLife: 4 * interval, Keep: true, Wait: true}
	f, other := newFleet(1, "t", 50), newFleet(2, "other", 20)
	var log []*telemetry.Call
	for range 4000 {
		log = append(log, f.next(), other.next())
	}
	when := func(i int) int64 { return at(float64(i) / 1200) }
	step := func(r *Recorder, i int) Place {
		r.At = Position{Offset: int64(i / 10), Index: i % 10}
		return r.Call(log[i], when(i))
	}
	a := newTest(opt)
	var states []State
	var places []Place
	said := map[int][]any{}
	for i := range log {
		places = append(places, step(a, i))
		if s, ok := a.State(); ok {
			states = append(states, s)
		}
		if i%400 == 0 {
			said[i] = answers(a.Current(), "t", 50)
		}
	}
	if len(states) != 6 {
		t.Fatalf("%d states", len(states))
	}
	for n, last := range states {
		from := int(last.From.Offset)*10 + last.From.Index
		if want := 1200 * (n + 1); from != want {
			t.Errorf("state %d is of the calls before %d, want %d", n, from, want)
		}
		opt.Run = func(compute func()) { go compute() }
		b := newTest(opt)
		var before []byte
		if n > 0 {
			before = states[n-1].Data
		}
		if err := b.Restore(last.Data, before); err != nil {
			t.Fatal(err)
		}
		for i := from; i < len(log); i++ {
			if got := step(b, i); got != places[i] {
				t.Fatalf("state %d, call %d: %+v, want %+v", n, i, got, places[i])
			}
			if i%400 == 0 {
				if diff := cmp.Diff(said[i], answers(b.Current(), "t", 50)); diff != "" {
					t.Fatalf("state %d, call %d: %s", n, i, diff)
				}
			}
			if s, ok := b.State(); ok && i > from+1200 && !slices.ContainsFunc(states, func(x State) bool {
				return x.From == s.From && string(x.Data) == string(s.Data)
			}) {
				t.Fatalf("state %d, call %d: another state is written", n, i)
			}
		}
	}
	// Without the state before, and with one that is not the one before.
	for _, before := range [][]byte{nil, states[1].Data, states[3].Data, states[4].Data} {
		b := newTest(opt)
		if err := b.Restore(states[3].Data, before); err != nil {
			t.Fatal(err)
		}
		for i := 4 * 1200; i < len(log); i++ {
			got, want := step(b, i), places[i]
			if i < 5*1200 {
				if b.Current().Size().Agents != 0 {
					t.Fatalf("call %d: a snapshot of nobody knows when is asked", i)
				}
				want.Group, want.Snapshot = 0, 0
			}
			if got != want {
				t.Fatalf("call %d: %+v, want %+v", i, got, want)
			}
		}
	}
}

func TestAStateIsToldOnceAndOnlyWhereItIsKept(t *testing.T) {
	var compute func()
	for _, keep := range []bool{false, true} {
		r := New(Options{Keep: keep, Run: func(c func()) { compute = c }})
		r.Call(call("t", "a i read r"), at(0))
		r.Call(call("t", "a i read r"), at(1))
		if _, ok := r.State(); ok {
			t.Error("a state is told before it is there")
		}
		compute()
		if _, ok := r.State(); ok != keep {
			t.Errorf("keep %v: told %v", keep, ok)
		}
		if _, ok := r.State(); ok {
			t.Error("a state is told twice")
		}
	}
}

// Calls of days that come in a minute must not wait for what is computed beside.
func TestCallsDoNotWaitForASnapshotThatIsNotReady(t *testing.T) {
	var compute func()
	r := New(Options{Keep: true, Run: func(c func()) { compute = c }})
	known := func() bool { _, ok := r.Current().GroupOf([]byte("t"), []byte("a1")); return ok }
	for i := range 10 {
		r.Call(call("t", "a1 i1 read r1"), at(float64(i)))
		r.Call(call("t", "a2 i1 read r1"), at(float64(i)))
	}
	if r.Stats.Snapshots != 1 || known() {
		t.Errorf("%d snapshots", r.Stats.Snapshots)
	}
	compute()
	if known() {
		t.Error("a snapshot is asked within an interval")
	}
	r.Call(call("t", "a1 i1 read r1"), at(10))
	if r.Stats.Snapshots != 2 || !known() {
		t.Errorf("%d snapshots", r.Stats.Snapshots)
	}
	if taken := r.Current().Size().Taken.UnixNano(); taken != at(1) {
		t.Errorf("the snapshot says that it was taken at %d, want %d", taken, at(1))
	}
}

func smallState(t testing.TB) (last, before []byte) {
	r := newTest(Options{Keep: true})
	f := newFleet(1, "t", 20)
	for i := range 200 {
		r.Call(f.next(), at(float64(i)/50))
		if s, ok := r.State(); ok {
			last, before = s.Data, last
		}
	}
	if before == nil {
		t.Fatal("no state")
	}
	return last, before
}

func TestAStateThatIsCutOrOfOtherOptionsIsRefused(t *testing.T) {
	code, before := smallState(t)
	for n := range code {
		r := newTest(Options{})
		if err := r.Restore(code[:n], nil); !errors.Is(err, models.ErrEncoding) || len(r.kinds) > 0 {
			t.Fatalf("%d of %d bytes give %v", n, len(code), err)
		}
	}
	for n := 1; n < len(before); n++ {
		if err := newTest(Options{}).Restore(code, before[:n]); !errors.Is(err, models.ErrEncoding) {
			t.Fatalf("%d of %d bytes of the state before give %v", n, len(before), err)
		}
	}
	if err := newTest(Options{MaxOut: math.MaxInt}).Restore(code, nil); !errors.Is(err, models.ErrParameters) {
		t.Errorf("another bound gives %v", err)
	}
	if err := newTest(Options{}).Restore(append([]byte{99}, code[1:]...), nil); !errors.Is(err, models.ErrEncoding) {
		t.Errorf("another version gives %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	last, before := smallState(f)
	f.Add(last, before)
	f.Add(last, []byte{})
	f.Fuzz(func(t *testing.T, last, before []byte) {
		r := newTest(Options{Keep: true})
		if err := r.Restore(last, before); err != nil {
			if !errors.Is(err, models.ErrEncoding) && !errors.Is(err, models.ErrParameters) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if err := newTest(Options{}).Restore(r.pending.basis.appendState(nil, r.tick), nil); err != nil {
			t.Fatalf("what was accepted is refused after encoding: %v", err)
		}
		fl := newFleet(1, "t", 10)
		for i := range 20 {
			r.Call(fl.next(), at(float64(i)/4))
			r.Current().Explain([]byte("t"), []byte("agent-1"))
		}
	})
}
