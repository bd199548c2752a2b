package archive

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestQueuePausesFetchingUntilHalfIsTaken(t *testing.T) {
	var states []string
	q := queue{
		arrived: make(chan struct{}, 1),
		pause:   func() { states = append(states, "pause") },
		resume:  func() { states = append(states, "resume") },
	}
	records := make([]*kgo.Record, 10)
	for i := range records {
		records[i] = &kgo.Record{Offset: int64(i), Value: make([]byte, 800)}
	}
	size := recordSize(records[0])
	q.push(records[:5], 6*size)
	if len(states) != 0 {
		t.Fatalf("%v with less than the bound", states)
	}
	q.push(records[5:], 6*size)
	for want := range int64(6) {
		if r := q.pop(math.MaxInt64, 6*size); r.Offset != want {
			t.Fatalf("offset %d, want %d", r.Offset, want)
		}
	}
	if len(states) != 1 || states[0] != "pause" {
		t.Fatalf("%v with more than half, want a pause", states)
	}
	q.pop(math.MaxInt64, 6*size)
	if len(states) != 2 || states[1] != "resume" {
		t.Fatalf("%v with half, want pause and resume", states)
	}
}

func TestQueueKeepsWhatIsBehindTheEnd(t *testing.T) {
	q := queue{arrived: make(chan struct{}, 1), pause: func() {}, resume: func() {}}
	q.push([]*kgo.Record{{Offset: 3}, {Offset: 8}}, math.MaxInt)
	if r := q.pop(5, math.MaxInt); r == nil || r.Offset != 3 {
		t.Fatalf("got %v, want offset 3", r)
	}
	if r := q.pop(5, math.MaxInt); r != nil {
		t.Fatalf("got offset %d, want none up to 5", r.Offset)
	}
	if next, ok := q.next(); !ok || next != 8 {
		t.Fatalf("next is %d, %v; want 8", next, ok)
	}
}
