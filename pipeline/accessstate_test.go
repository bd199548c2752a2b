package pipeline

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
)

func TestAPlaceIsReadBackAsItWasWritten(t *testing.T) {
	var p packer
	for _, want := range []graph.Place{
		{},
		{Snapshot: 1 << 31, Group: 7, ChainShape: models.ChainShape{Depth: 64, Repeated: 63}, FanOut: 4096, Sharing: 1 << 20, ResourceBeyond: true},
		{Snapshot: 3, IdentityBeyond: true, ResourceBeyond: true},
	} {
		c, src := packedCall(5)
		p.place = &want
		r := p.record(detector.ByIdentity, c, src)
		if got, ok := placed(r); !ok || got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if from, err := parseOrigin(r); err != nil || from.source() != src {
			t.Errorf("the origin beside it is %+v, %v", from, err)
		}
	}
	p.place = nil
	c, src := packedCall(6)
	if _, ok := placed(p.record(detector.ByIdentity, c, src)); ok {
		t.Error("a call whose place nobody knows has one")
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add(appendPlace(nil, graph.Place{Snapshot: 1, Group: 300, ChainShape: models.ChainShape{Depth: 2}, FanOut: 5, IdentityBeyond: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, err := parsePlace(b)
		if err != nil {
			return
		}
		if again, err := parsePlace(appendPlace(nil, at)); err != nil || again != at {
			t.Errorf("%+v, %v, want %+v", again, err, at)
		}
	})
}

// topic is what a compacted topic keeps.
type topic map[string][]byte

func (k topic) write(states []shard.EntityState) {
	for _, s := range states {
		if k[s.Key] = s.Value; len(s.Value) == 0 {
			delete(k, s.Key)
		}
	}
}

func (k topic) whole() (numbers []uint64) {
	for slot := range graphSlots {
		if s, ok := wholeState(func(i int) []byte { return k[graphKey(slot, i)] }); ok {
			numbers = append(numbers, s.number)
		}
	}
	return numbers
}

func TestAStateInChunksIsWholeOrNotThere(t *testing.T) {
	a, kept := newAccess(graph.Options{}, 0), topic{}
	state := func(number uint64, size int) graphState {
		data := bytes.Repeat([]byte{byte(number)}, size)
		return graphState{number, graph.State{From: graph.Position{Offset: 40 + int64(number), Index: 3}, Data: data}}
	}
	for number, size := range map[uint64]int{1: 10, 2: 3 * maxChunk, 3: maxChunk + 1} {
		want := state(number, size)
		kept.write(a.records(want))
		got, ok := wholeState(func(i int) []byte { return kept[graphKey(int(number%graphSlots), i)] })
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(graphState{})); !ok || diff != "" {
			t.Errorf("state %d: %s", number, diff)
		}
		for key, value := range kept {
			if len(value) > 512<<10 {
				t.Errorf("chunk %q has %d bytes", key, len(value))
			}
		}
	}
	// A crash while state 5 is written over 2 leaves the others.
	half := a.records(state(5, 2*maxChunk))
	kept.write(half[:1])
	if diff := cmp.Diff([]uint64{3, 1}, kept.whole()); diff != "" {
		t.Error(diff)
	}
	kept.write(half[1:])
	if diff := cmp.Diff([]uint64{3, 1, 5}, kept.whole()); diff != "" {
		t.Error(diff)
	}
	if n := len(kept); n != 1+2+2 {
		t.Errorf("%d chunks are left, want 5: the longer state before is not cleared away", n)
	}
	// One of the same number and length, but of another time.
	other := state(5, 2*maxChunk)
	other.Data[0]++
	kept.write(a.records(other)[1:])
	if diff := cmp.Diff([]uint64{3, 1}, kept.whole()); diff != "" {
		t.Error(diff)
	}
	if _, ok, err := a.restore(kept, 41); ok || err != nil {
		t.Errorf("a state past the marker is taken: %v", err)
	}
}

func FuzzWholeState(f *testing.F) {
	s := graphState{1, graph.State{Data: []byte("abc")}}
	f.Add(append(s.appendHead(nil, 1), s.Data...), []byte{})
	f.Add(append(s.appendHead(nil, 2), s.Data[:1]...), append(s.appendHead(nil, 2), s.Data[1:]...))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		chunks := [][]byte{first, second}
		s, ok := wholeState(func(i int) []byte {
			if i >= 0 && i < len(chunks) {
				return chunks[i]
			}
			return nil
		})
		if ok && len(s.Data) > len(first)+len(second) {
			t.Errorf("%d bytes of %d", len(s.Data), len(first)+len(second))
		}
	})
}

// What the exchange finds is explained where the call was judged, if that is in this process.
func TestADetectionOfTheExchangeWaitsForNobody(t *testing.T) {
	there := &worker{source: source{TopicCalls, 2}, access: newAccess(graph.Options{}, 0)}
	d := &Detect{workers: map[source]*worker{there.source: there}}
	w := &worker{source: source{TopicExchange, 0}, detect: d, outputs: &outputs{}, placed: true}
	w.place = graph.Place{ChainShape: models.ChainShape{Depth: 3}, Sharing: 2}
	found := detector.Detection{ID: "x", Topic: TopicCalls, Partition: 2}
	if other := (detector.Detection{Topic: TopicCalls, Partition: 1}); w.ask(t.Context(), other) {
		t.Error("a worker that is elsewhere was asked")
	}
	for range maxQuestions {
		if !w.ask(t.Context(), found) {
			t.Fatal("nobody takes the question")
		}
	}
	if w.ask(t.Context(), found) {
		t.Error("more questions than the bound are taken")
	}
	q := <-there.access.asked
	var got *detector.Graph
	q.send = func(d detector.Detection) { got = d.Graph }
	there.access.answer(q)
	if diff := cmp.Diff(&detector.Graph{Depth: 3, Sharing: 2}, got); diff != "" {
		t.Error(diff)
	}
	// A worker that ends sends on what it was handed.
	for range len(there.access.asked) - 1 {
		<-there.access.asked
	}
	last := <-there.access.asked
	sent := ""
	last.send = func(d detector.Detection) { sent = d.ID }
	there.access.asked <- last
	there.refuse()
	if sent != "x" {
		t.Error("what nobody explained is lost")
	}
}
