package kafka

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkProduceToConsume is the time from Produce to the record in the consumer's hands, one record at a time,
// with all acknowledgements, for the client settings that could matter. It reports p50 and p99 in µs.
func BenchmarkProduceToConsume(b *testing.B) {
	for _, set := range []struct {
		name               string
		sync               bool
		producer, consumer []kgo.Opt
	}{
		{"defaults", false, nil, nil},
		{"linger=0", false, []kgo.Opt{kgo.ProducerLinger(0)}, nil},
		{"linger=0,max-wait=10ms", false, []kgo.Opt{kgo.ProducerLinger(0)}, []kgo.Opt{kgo.FetchMaxWait(10 * time.Millisecond)}},
		{"linger=0,min-bytes=1", false, []kgo.Opt{kgo.ProducerLinger(0)}, []kgo.Opt{kgo.FetchMinBytes(1)}},
		{"linger=0,no-sessions", false, []kgo.Opt{kgo.ProducerLinger(0)}, []kgo.Opt{kgo.DisableFetchSessions()}},
		{"linger=0,not-idempotent", false, []kgo.Opt{kgo.ProducerLinger(0), kgo.DisableIdempotentWrite()}, nil},
		{"linger=0,no-compression", false, []kgo.Opt{kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression())}, nil},
		{"linger=0,sync", true, []kgo.Opt{kgo.ProducerLinger(0)}, nil},
	} {
		b.Run(set.name, func(b *testing.B) { benchLatency(b, set.sync, set.producer, set.consumer) })
	}
}

func benchLatency(b *testing.B, sync bool, producer, consumer []kgo.Opt) {
	broker := start(b, Options{Dir: b.TempDir(), Sync: sync})
	createTopic(b, client(b, broker), "calls", 1, nil)
	p, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker.Addrs()...), kgo.DefaultProduceTopic("calls")}, producer...)...)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker.Addrs()...), kgo.ConsumeTopics("calls")}, consumer...)...)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	value := make([]byte, 500)
	ctx := b.Context()
	send := func() time.Duration {
		began := time.Now()
		p.Produce(ctx, &kgo.Record{Key: []byte("agent"), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Errorf("cannot produce: %v", err)
			}
		})
		for c.PollFetches(ctx).NumRecords() == 0 {
		}
		return time.Since(began)
	}
	for range 20 {
		send() // connections, metadata
	}
	times := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		times = append(times, send())
	}
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkReadFromStart reads 500-byte records from the start of a partition.
func BenchmarkReadFromStart(b *testing.B) {
	broker := start(b, Options{Dir: b.TempDir(), Retention: Retention{Bytes: 1 << 40}})
	p := client(b, broker, kgo.DefaultProduceTopic("calls"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	createTopic(b, p, "calls", 1, nil)
	value := make([]byte, 500)
	for i := range b.N {
		p.Produce(b.Context(), &kgo.Record{Key: []byte(fmt.Sprint(i % 100)), Value: value}, nil)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	c := client(b, broker, kgo.ConsumeTopics("calls"))
	b.ResetTimer()
	for n := 0; n < b.N; {
		n += c.PollFetches(b.Context()).NumRecords()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkCompaction stops the broker for as long as it takes, so its time is the longest gap in detection.
// The topic holds 64 MiB, a quarter of them live.
func BenchmarkCompaction(b *testing.B) {
	for range b.N {
		b.StopTimer()
		broker := start(b, Options{Dir: b.TempDir(), Retention: Retention{Every: never}})
		c := client(b, broker, manual(), uncompressed())
		stateTopic(b, c)
		putState(b, c, 16<<10, 4)
		b.StartTimer()
		compactNow(b, broker)
		b.StopTimer()
		if broker.Stats().Compactions != 1 {
			b.Fatal("nothing was compacted")
		}
		broker.Stop()
	}
}
