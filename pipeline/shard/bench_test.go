package shard_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/cloudtrail"
	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// The fleet of the benchmarks: a fortnight in which its agents warm up, and the day after it,
// which is measured, again and again, each time a day later.
const (
	benchAgents = 500
	warmFor     = 22 * 24 * time.Hour
	lap         = 24 * time.Hour
)

// tape is a piece of a log that is played in a loop.
type tape struct {
	format  telemetry.Format
	records [][]byte
	at      int   // the next record
	shift   int64 // added to the calls' own times, a lap more each time round
}

func (t *tape) add(raw []byte) { t.records = append(t.records, raw) }

func (t *tape) next() []byte {
	if t.at == len(t.records) {
		t.at = 0
		t.shift += int64(lap)
	}
	t.at++
	return t.records[t.at-1]
}

func (t *tape) bytes() (n int) {
	for _, raw := range t.records {
		n += len(raw)
	}
	return n
}

// judge is the way of a call on one core: decoder, shard of the calls, shard of the exchange.
type judge struct {
	decoder, relay  telemetry.Decoder
	call, relayed   telemetry.Call
	calls, exchange *shard.Shard
	src             shard.Source
	wire            []byte
}

func newJudge(plan *detector.Plan) *judge {
	return &judge{calls: shard.New(plan, shard.Options{}), exchange: shard.New(plan, shard.Options{})}
}

// decode takes the call of a record off and does nothing with it.
func (j *judge) decode(tb testing.TB, t *tape) {
	j.decoder.Start(t.format, t.next())
	if err := j.decoder.Next(&j.call); err != nil {
		tb.Fatal(err)
	}
}

// judge gives the decoded call to the shards. Where it is relayed it goes to the exchange
// as bytes, as it does through Kafka.
func (j *judge) judge(tb testing.TB, shift int64, relay bool) {
	j.call.Time += shift
	j.src.Offset++
	j.src.Appended = j.call.Time
	groups := j.calls.Call(&j.call, j.src)
	if groups == 0 {
		return
	}
	c := &j.call
	if relay {
		j.wire = telemetry.AppendProto(j.wire[:0], c)
		c = &j.relayed
	}
	for by := range groups.All() {
		if relay {
			j.relay.Start(telemetry.Protobuf, j.wire)
			if err := j.relay.Next(c); err != nil {
				tb.Fatal(err)
			}
		}
		j.exchange.Grouped(by, c, j.src, j.src.Offset)
	}
}

// drain takes the output away, as the worker does.
func (j *judge) drain() {
	for _, s := range []*shard.Shard{j.calls, j.exchange} {
		s.Samples, s.Detections = s.Samples[:0], s.Detections[:0]
	}
}

// fleetTape warms the judge up and returns the day after, encoded.
func fleetTape(j *judge, format telemetry.Format, encode func([]byte, *telemetry.Call) []byte) *tape {
	t := &tape{format: format}
	f := fleet.New(fleet.Options{Seed: 1, Agents: benchAgents, Tenants: 20, DayShape: true})
	begin := fleet.DefaultStart.Add(warmFor)
	for c := range f.Calls(time.Time{}, begin.Add(lap)) {
		c.Telemetry(&j.call)
		if !c.Time.Before(begin) {
			t.add(encode(nil, &j.call))
			continue
		}
		j.judge(nil, 0, false)
		j.drain()
	}
	return t
}

// trailTape is the same with CloudTrail records. They come without a fleet's story: every
// principal calls all the time.
func trailTape(b *testing.B, j *judge) *tape {
	const records = 100_000
	var file bytes.Buffer
	if err := cloudtrail.Write(&file, 1, records); err != nil {
		b.Fatal(err)
	}
	t := &tape{format: telemetry.CloudTrail}
	for raw := range bytes.Lines(file.Bytes()) {
		t.add(raw)
	}
	for range t.records {
		j.decode(b, t)
		j.judge(b, t.shift, false)
		j.drain()
	}
	return t
}

// BenchmarkDetect measures a call's way from its bytes through all detectors of the
// catalogue, beside decoding alone of the same bytes: the two take turns, so that both
// find the machine in the same mood. x-decode is the ratio.
func BenchmarkDetect(b *testing.B) {
	b.Run("json", func(b *testing.B) {
		j := newJudge(catalogue(b))
		benchDetect(b, j, fleetTape(j, telemetry.JSON, telemetry.AppendJSON), false)
	})
	b.Run("protobuf", func(b *testing.B) {
		j := newJudge(catalogue(b))
		benchDetect(b, j, fleetTape(j, telemetry.Protobuf, telemetry.AppendProto), false)
	})
	b.Run("cloudtrail", func(b *testing.B) {
		j := newJudge(catalogue(b))
		benchDetect(b, j, trailTape(b, j), false)
	})
	b.Run("json-relayed", func(b *testing.B) {
		j := newJudge(catalogue(b))
		benchDetect(b, j, fleetTape(j, telemetry.JSON, telemetry.AppendJSON), true)
	})
}

// benchDetect lets decoding and detecting take turns over the tape. An operation is a batch
// of both.
func benchDetect(b *testing.B, j *judge, t *tape, relay bool) {
	const batch = 1024
	pause := *t
	var decoding, detecting time.Duration
	var before, after runtime.MemStats
	calls := 0
	for range len(t.records) { // once round, so that every value of the day is known
		j.decode(b, t)
		j.judge(b, t.shift, relay)
		j.drain()
	}
	defer stopwatch.Pin()()
	b.ResetTimer()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		start := stopwatch.Now()
		for range batch {
			j.decode(b, &pause)
		}
		middle := stopwatch.Now()
		for range batch {
			j.decode(b, t)
			j.judge(b, t.shift, relay)
		}
		j.drain()
		end := stopwatch.Now()
		decoding += middle - start
		detecting += end - middle
		calls += batch
	}
	runtime.ReadMemStats(&after)
	n := float64(calls)
	b.ReportMetric(n/decoding.Seconds(), "decoded/s")
	b.ReportMetric(n/detecting.Seconds(), "detected/s")
	b.ReportMetric(detecting.Seconds()/decoding.Seconds(), "x-decode")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/call")
	b.ReportMetric(float64(t.bytes())/float64(len(t.records)), "B/call")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCall is the shards' work alone, for profiles.
func BenchmarkCall(b *testing.B) {
	j := newJudge(catalogue(b))
	t := fleetTape(j, telemetry.Protobuf, telemetry.AppendProto)
	calls := make([]*telemetry.Call, len(t.records))
	for i := range calls {
		j.decode(b, t)
		calls[i] = j.call.Clone()
	}
	i, shift := 0, int64(0)
	defer stopwatch.Pin()()
	b.ReportAllocs()
	b.ResetTimer()
	start := stopwatch.Now()
	for b.Loop() {
		if i == len(calls) {
			i, shift = 0, shift+int64(lap)
		}
		j.call = *calls[i]
		j.judge(b, shift, false)
		i++
		if i%1024 == 0 {
			j.drain()
		}
	}
	b.ReportMetric(float64(stopwatch.Now()-start)/float64(b.N), "cpu-ns/op")
}

// BenchmarkMemory measures what the shards hold for each agent with the catalogue loaded:
// the agent itself, and the identities that it acts with. An idle agent made a few calls
// and then none; an active one is past its warm-up and works.
func BenchmarkMemory(b *testing.B) {
	b.Run("idle", func(b *testing.B) { benchMemory(b, catalogue(b), 100_000, 2*time.Hour, time.Nanosecond) })
	b.Run("active", func(b *testing.B) { benchMemory(b, catalogue(b), 10_000, 5*24*time.Hour, 365*24*time.Hour) })
}

func benchMemory(b *testing.B, plan *detector.Plan, agents int, d, restAfter time.Duration) {
	f := fleet.New(fleet.Options{Seed: 1, Agents: agents, Tenants: agents / 200})
	for b.Loop() {
		before := heap()
		o := shard.Options{RestAfter: restAfter}
		j := &judge{calls: shard.New(plan, o), exchange: shard.New(plan, o)}
		calls, seen := 0, map[string]int{}
		for c := range f.Calls(time.Time{}, fleet.DefaultStart.Add(d)) {
			c.Telemetry(&j.call)
			j.judge(b, 0, false)
			j.drain()
			calls++
			seen[c.Agent]++
		}
		n := float64(len(seen))
		clear(seen)
		j.call = telemetry.Call{}
		for range 100 { // checkpoints, each of which lets some of the idle rest
			j.calls.Dirty()
			j.exchange.Dirty()
		}
		b.ReportMetric(float64(heap()-before)/n, "B/agent")
		b.ReportMetric(float64(calls)/n, "calls/agent")
		runtime.KeepAlive(j)
	}
	runtime.KeepAlive(f)
	b.ReportMetric(0, "ns/op")
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
