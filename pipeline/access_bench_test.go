package pipeline

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// BenchmarkWorker is the way of a call through a worker, without what is sent: decode, key, access
// graph, shard with the whole catalogue. There are 1,000 agents with 20 different calls each, and
// 100 calls come in a second of their own time, so that snapshots are taken and computed beside.
func BenchmarkWorker(b *testing.B) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		b.Fatal(err)
	}
	records := workerRecords(1000, 20)
	for _, with := range []string{"no graph", "graph", "graph and snapshots"} {
		b.Run(with, func(b *testing.B) {
			w := &worker{shard: shard.New(set.Plan, shard.Options{})}
			switch with {
			case "graph": // nothing computes beside
				w.access = newAccess(graph.Options{Run: func(func()) {}}, time.Minute)
			case "graph and snapshots":
				w.access = newAccess(*poolOf(graph.Options{}), time.Minute)
			}
			now, index := time.Unix(1_790_000_000, 0).UnixNano(), 0
			step := func(i int) {
				r := records[i%len(records)]
				now += int64(10 * time.Millisecond)
				src := shard.Source{Topic: TopicCalls, Offset: int64(index), Appended: now}
				index++
				w.decoder.Start(telemetry.JSON, r.Value)
				if err := w.decoder.Next(&w.call); err != nil || !w.keyed(r) {
					b.Fatal("no call")
				}
				w.call.Time = now
				if w.access != nil {
					w.place = w.access.call(&w.call, src)
				}
				w.shard.Call(&w.call, src)
				w.shard.Detections, w.shard.Samples = w.shard.Detections[:0], w.shard.Samples[:0]
			}
			for i := range 4 * len(records) {
				step(i)
			}
			runtime.GC()
			b.ReportAllocs()
			before := cpu(b)
			for i := 0; b.Loop(); i++ {
				step(i)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
	// The one call in 30,000 that takes a snapshot.
	b.Run("crossing", func(b *testing.B) {
		beside := func() {}
		a := newAccess(graph.Options{Run: func(compute func()) { beside = compute }}, time.Minute)
		var d telemetry.Decoder
		var c telemetry.Call
		now := time.Unix(1_790_000_000, 0).UnixNano()
		var held []time.Duration
		for b.Loop() {
			b.StopTimer()
			for _, r := range records {
				d.Start(telemetry.JSON, r.Value)
				if err := d.Next(&c); err != nil {
					b.Fatal(err)
				}
				c.Time = now
				a.call(&c, shard.Source{Appended: now})
			}
			beside()
			b.StartTimer()
			now += int64(5 * time.Minute)
			c.Time = now
			begin := time.Now()
			a.call(&c, shard.Source{Appended: now})
			held = append(held, time.Since(begin))
		}
		b.ReportMetric(float64(slices.Max(held).Microseconds()), "max-µs")
	})
}

// cpu is the processor time of this process, which other work on the machine disturbs less.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func workerRecords(agents, kinds int) []*kgo.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	var records []*kgo.Record
	for a := range agents {
		for k := range kinds {
			c := telemetry.Call{
				ID: fmt.Append(nil, "call-", a, "-", k), Time: 1, Tenant: []byte("acme"), Agent: fmt.Append(nil, "agent-", a),
				Identity: fmt.Append(nil, "arn:aws:iam::123456789012:role/team-", a/10), Session: fmt.Append(nil, "s-", a),
				Action: fmt.Append(nil, "s3:Action", k%5), Resource: fmt.Append(nil, "arn:aws:s3:::team-", a/10, "/bucket-", (a+k)%25), BytesOut: 100,
			}
			if a%10 != 0 {
				c.Chain = [][]byte{fmt.Append(nil, "agent-", a/10*10), c.Agent}
			}
			records = append(records, &kgo.Record{Key: telemetry.Key(&c), Value: telemetry.AppendJSON(nil, &c)})
		}
	}
	rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	return records
}
