package audit

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// topicID is what the tests' topics have.
func topicID(topic string) (id [16]byte) {
	copy(id[:], topic[len("estop."):])
	return id
}

// callRecord is a call of an agent as Kafka has it.
func callRecord(agent string, partition int32, offset int64) *kgo.Record {
	at := start.Add(time.Duration(offset) * time.Second)
	value := fmt.Appendf(nil, `{"id":"c-%d-%d","ts":%q,"tenant":"t1","agent":%q,"action":"read","resource":"db/%d","bytes_out":100,"context":{"z":"1","a":"2"}}`,
		partition, offset, at.Format(time.RFC3339Nano), agent, offset%7)
	return &kgo.Record{
		Topic: pipeline.TopicCalls, Partition: partition, Offset: offset, Timestamp: at.Add(50 * time.Millisecond), Value: value,
		Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeJSON)}},
	}
}

// detectionRecord is a detection of an agent.
func detectionRecord(agent string, offset int64) *kgo.Record {
	return &kgo.Record{
		Topic: pipeline.TopicDetections, Offset: offset, Timestamp: start.Add(time.Duration(offset) * time.Second),
		Value: fmt.Appendf(nil, `{"id":"d-%d","tenant":"t1","agent":%q,"reason":"looks bad"}`, offset, agent),
	}
}

// book is what Kafka has in a test: the records of each partition.
type book struct{ records []*kgo.Record }

// newBook fills partitions of calls and one of detections.
func newBook(partitions, calls, agents int, seed uint64) *book {
	random := rand.New(rand.NewPCG(seed, 0))
	b := &book{}
	offsets := make([]int64, partitions+1)
	for range calls {
		p := random.IntN(partitions)
		agent := fmt.Sprintf("agent-%d", p+partitions*random.IntN(agents))
		b.records = append(b.records, callRecord(agent, int32(p), offsets[p]))
		offsets[p]++
		if random.IntN(20) == 0 {
			b.records = append(b.records, detectionRecord(agent, offsets[partitions]))
			offsets[partitions]++
		}
	}
	return b
}

// rigged is a log in a test.
type rigged struct {
	t       testing.TB
	options WriterOptions
	key     *verifier
}

func newRigged(t testing.TB, maxLeaves int) *rigged {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "audit.key")
	public, err := SaveKey(key, LogRole, "estop.test/log")
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return &rigged{t, WriterOptions{Dir: filepath.Join(dir, "log"), Key: key, MaxLeaves: maxLeaves, MaxWait: time.Hour}, v}
}

func (r *rigged) writer() *Writer {
	r.t.Helper()
	w, err := OpenWriter(r.options)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rigged) log() *Log {
	r.t.Helper()
	l, err := OpenLog(folder(r.options.Dir), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// feed adds what the writer lacks of the book and publishes as it says; seen is given each
// published checkpoint.
func feed(w *Writer, b *book, seen func()) error {
	for _, r := range b.records {
		w.Add(topicID(r.Topic), r)
		if w.Due() <= 0 {
			if err := w.Publish(); err != nil {
				return err
			}
			seen()
		}
	}
	if err := w.Publish(); err != nil {
		return err
	}
	seen()
	return nil
}

// holds checks that the log has every record of the book once, in order.
func (r *rigged) holds(b *book) {
	r.t.Helper()
	l := r.log()
	next := map[source]int64{}
	leaves := 0
	for i := range l.Size {
		c, _, err := l.Entry(i)
		if err != nil {
			r.t.Fatal(err)
		}
		at := source{c.TopicID, c.Partition}
		if c.First != next[at] {
			r.t.Fatalf("chunk %d begins at %d, the one before ended at %d", i, c.First, next[at])
		}
		next[at] = c.Last + 1
		f, err := l.leaves(&c, i)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := f.hashes(); err != nil {
			r.t.Fatal(err)
		}
		leaves += c.Leaves
	}
	if leaves != len(b.records) {
		r.t.Fatalf("the log has %d leaves of %d records", leaves, len(b.records))
	}
	fresh := newState()
	for range l.Size {
		if err := l.advance(fresh); err != nil {
			r.t.Fatal(err)
		}
	}
}
