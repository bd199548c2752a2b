package audit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/pipeline"
)

// BenchmarkAudit measures the writer alone: from the records of a partition, in JSON, to
// published checkpoints on the disk. agents is how many take turns: with many the map costs
// more. Beside it stands BenchmarkDetect/json of pipeline/shard.
func BenchmarkAudit(b *testing.B) {
	for _, agents := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint("agents=", agents), func(b *testing.B) {
			r := newRigged(b, DefaultMaxLeaves)
			w := r.writer()
			defer w.Close()
			t := newTape(agents)
			id := topicID(pipeline.TopicCalls)
			add := func() {
				w.Add(id, t.next())
				if w.Due() > 0 {
					return
				}
				if err := w.Publish(); err != nil {
					b.Fatal(err)
				}
			}
			for range agents { // all of them are known
				add()
			}
			defer stopwatch.Pin()()
			b.ResetTimer()
			began := stopwatch.Now()
			for b.Loop() {
				add()
			}
			b.ReportMetric(float64(b.N)/(stopwatch.Now()-began).Seconds(), "audited/s")
			b.ReportMetric(float64(t.bytes), "B/call")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// tape is records of which each next one is of another agent and has the next offset.
type tape struct {
	records []*kgo.Record
	digits  []int // where in each record's value the agent's number is
	agents  int
	offset  int
	bytes   int
}

func newTape(agents int) *tape {
	t := &tape{agents: agents}
	for i := range 1 << 12 {
		r := callRecord("a0000000", 0, int64(i))
		t.records = append(t.records, r)
		t.digits = append(t.digits, bytes.Index(r.Value, []byte("0000000")))
		t.bytes = len(r.Value)
	}
	return t
}

func (t *tape) next() *kgo.Record {
	i := t.offset % len(t.records)
	r := t.records[i]
	r.Offset = int64(t.offset)
	agent := t.offset * 7919 % t.agents
	for d := 6; d >= 0; d-- {
		r.Value[t.digits[i]+d] = '0' + byte(agent%10)
		agent /= 10
	}
	t.offset++
	return r
}

// BenchmarkBundle measures the bundle of an agent with 100,000 calls and that of one call:
// bytes, and the time to prove and to verify.
func BenchmarkBundle(b *testing.B) {
	const calls = 100_000
	r := newRigged(b, DefaultMaxLeaves)
	k := &book{}
	for i := range 2 * calls {
		k.records = append(k.records, callRecord(fmt.Sprint("agent-", i%2), 0, int64(i)))
	}
	l := r.fed(k)
	s := Subject{"t1", "agent", "agent-1"}
	measure := func(b *testing.B, prove func() (*Proved, error)) {
		var proving, verifying time.Duration
		defer stopwatch.Pin()()
		var data []byte
		for b.Loop() {
			began := stopwatch.Now()
			p, err := prove()
			if err != nil {
				b.Fatal(err)
			}
			data = encode(b, p.Bundle)
			proving += stopwatch.Now() - began
			began = stopwatch.Now()
			check(b, data, VerifyOptions{Log: r.key})
			verifying += stopwatch.Now() - began
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(data); err != nil {
			b.Fatal(err)
		}
		z.Close()
		b.ReportMetric(float64(len(data)), "B")
		b.ReportMetric(float64(packed.Len()), "B-gzip")
		b.ReportMetric(float64(proving.Microseconds())/1000/float64(b.N), "prove-ms")
		b.ReportMetric(float64(verifying.Microseconds())/1000/float64(b.N), "verify-ms")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("one-call", func(b *testing.B) {
		one := &book{k.records[77_777:77_778]}
		measure(b, func() (*Proved, error) {
			return l.One(b.Context(), pipeline.TopicCalls, Place{topicID(pipeline.TopicCalls), 0, 77_777, 0}, one)
		})
	})
	b.Run("100000-calls", func(b *testing.B) {
		measure(b, func() (*Proved, error) {
			return l.Trails(b.Context(), Request{Subject: s, Topics: []string{pipeline.TopicCalls}}, k)
		})
	})
}
