package archive

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkArchive measures the whole way: 200,000 calls of about 300 bytes in 4 partitions
// of Kafka, until all are stored and committed.
func BenchmarkArchive(b *testing.B) {
	const calls = 200_000
	r := newRig(b)
	r.produce(calls, nil)
	for b.Loop() {
		for _, table := range []string{"calls", "access_edges"} {
			if err := r.store.Exec(b.Context(), "TRUNCATE TABLE "+table); err != nil {
				b.Fatal(err)
			}
		}
		r.forget()
		a := r.start(nil, hooks{})
		r.check()
		a.stop()
	}
	b.ReportMetric(float64(calls)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkProject measures decoding calls into columns alone.
func BenchmarkProject(b *testing.B) {
	c := newCalls("log", newMetrics(prometheus.NewRegistry()).skipped)
	record := &kgo.Record{Value: call(7)}
	b.ReportAllocs()
	for b.Loop() {
		if c.rows == 10_000 {
			c.reset()
		}
		if err := c.add(record); err != nil {
			b.Fatal(err)
		}
	}
}
