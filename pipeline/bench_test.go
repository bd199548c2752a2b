package pipeline_test

import (
	"fmt"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
)

// BenchmarkAppendToDenied measures the time from the append of the call that breaks a
// detector until a guard denies the agent, with the catalogue loaded and all engines in
// this process. An operation is one kill and, in turn with it, one message that takes the
// same ways without any work: produce, consume, publish over NATS, receive.
func BenchmarkAppendToDenied(b *testing.B) {
	r := rig.New(b, rig.Options{})
	r.Detect(rig.Plan(b, append(catalogue(b), loop("loop", "enforce"))...))
	g := r.Guard("gate")
	bare := newBareWay(b, r)
	for i := range 20 { // connections, metadata
		latencyOf(b, r, g, fmt.Sprintf("warm-%d", i))
		bare.once(b)
	}
	var denied, bared []time.Duration
	kills := 0
	b.ResetTimer()
	for b.Loop() {
		denied = append(denied, latencyOf(b, r, g, fmt.Sprintf("agent-%d", kills)))
		bared = append(bared, bare.once(b))
		kills++
	}
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		d, n := quantile(denied, q), quantile(bared, q)
		b.ReportMetric(float64(d.Microseconds()), "denied-"+name+"-µs")
		b.ReportMetric(float64(n.Microseconds()), "bare-"+name+"-µs")
		b.ReportMetric(float64(d)/float64(n), "x-bare-"+name)
	}
	b.ReportMetric(0, "ns/op")
}

// catalogue returns the files of the catalogue.
func catalogue(b *testing.B) (texts []string) {
	names, err := fs.Glob(catalog.FS, "*.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(catalog.FS, name)
		if err != nil {
			b.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// bareWay is the way of a kill without the work: what consumes the call publishes at once.
type bareWay struct {
	producer *kgo.Client
	received atomic.Int64
	sent     int64
}

const bareTopic = "bare"

func newBareWay(b *testing.B, r *rig.Rig) *bareWay {
	w := &bareWay{}
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(r.Seeds(), opts...)...)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(cl.Close)
		return cl
	}
	w.producer = client(pipeline.ProducerOptions()...)
	if _, err := kadm.NewClient(w.producer).CreateTopic(b.Context(), 1, 1, nil, bareTopic); err != nil {
		b.Fatal(err)
	}
	guard := r.Connect(r.NATS.URL())
	if _, err := guard.Subscribe(bareSubject, func(*nats.Msg) { w.received.Add(1) }); err != nil {
		b.Fatal(err)
	}
	if err := guard.Flush(); err != nil {
		b.Fatal(err)
	}
	consumer := client(kgo.ConsumeTopics(bareTopic), kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond))
	detector := r.Connect(r.NATS.DetectorURL())
	go func() {
		for {
			fetches := consumer.PollFetches(b.Context())
			if fetches.IsClientClosed() || b.Context().Err() != nil {
				return
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				if err := detector.Publish(bareSubject, rec.Value); err != nil {
					b.Error(err)
				}
			})
		}
	}()
	return w
}

// bareSubject is one that the detector may publish on and a guard may hear.
const bareSubject = "estop.v1.revoke.t1.bare.x"

// once returns the time from just before the append of a call until its bytes have come.
func (w *bareWay) once(b *testing.B) time.Duration {
	w.sent++
	record := rig.Record(rig.Call(fmt.Sprint("bare-", w.sent), "bare", "doc-1", time.Now()))
	record.Topic = bareTopic
	start := time.Now()
	w.producer.Produce(b.Context(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			b.Error(err)
		}
	})
	for w.received.Load() < w.sent {
		time.Sleep(50 * time.Microsecond)
		if time.Since(start) > 30*time.Second {
			b.Fatal("the bare message never comes")
		}
	}
	return time.Since(start)
}
