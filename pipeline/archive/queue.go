package archive

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queue holds the fetched records of one partition until its worker takes them.
type queue struct {
	mu      sync.Mutex
	records []*kgo.Record
	bytes   int
	paused  bool // fetching is

	pause, resume func() // fetching

	// arrived has a value in it after a push. One goroutine waits for it.
	arrived chan struct{}
}

// push appends records. It pauses fetching if the queue holds more than most bytes now.
// pause and resume are called under the queue's lock, so that neither overtakes the other.
func (q *queue) push(records []*kgo.Record, most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range records {
		q.bytes += recordSize(r)
	}
	q.records = append(q.records, records...)
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	if !q.paused && q.bytes >= most {
		q.paused = true
		q.pause()
	}
}

// pop takes the next record if its offset is at most end; nil if there is none. It resumes
// fetching once no more than half of most is left.
func (q *queue) pop(end int64, most int) *kgo.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	var r *kgo.Record
	if len(q.records) > 0 && q.records[0].Offset <= end {
		r = q.records[0]
		q.records[0] = nil
		q.records = q.records[1:]
		q.bytes -= recordSize(r)
	}
	if q.paused && q.bytes <= most/2 {
		q.paused = false
		q.resume()
	}
	return r
}

// next returns the offset of the next record; false if there is none.
func (q *queue) next() (int64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) == 0 {
		return 0, false
	}
	return q.records[0].Offset, true
}

// size returns how many bytes the queue holds.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// recordSize is about what a record occupies.
func recordSize(r *kgo.Record) int {
	n := 200 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}
