package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// worker runs the shard of one partition in one goroutine.
//
// An offset is committed only when all that its calls led to is safe, in this order:
//
//  1. the outputs of the calls below it (exchange, detections, revocations, dead letters)
//     are acknowledged;
//  2. the entities that the calls changed are written to the state topic;
//  3. the marker with the offset is written after them;
//  4. the offset is committed.
//
// After a crash the calls above the commit come again. An entity takes only calls above
// its own offset, so it is right whichever of its states survived; ids are hashes of
// places in the log, so an output that is repeated is the same output.
type worker struct {
	source
	detect  *Detect
	client  *kgo.Client    // consumes and commits
	plan    *detector.Plan // that the shard judges by
	shard   *shard.Shard
	decoder telemetry.Decoder
	call    telemetry.Call
	packer  packer
	bad     bool        // the last bytes that were decoded are no call
	key     []byte      // of call, as its record should have it
	access  *access     // nil where the calls come from the exchange, or it is off
	place   graph.Place // of call in the access graph,
	placed  bool        // if it is known
	log     *slog.Logger

	in   chan []*kgo.Record
	stop chan bool // ends the worker; true: after a last checkpoint
	done chan struct{}

	next      int64 // the first offset that was not processed
	committed int64
	origins   watermarks
	skipBelow int64      // offsets below are in the restored state, outputs and all
	outputs   *outputs   // since the last checkpoint
	saving    chan saved // non-nil while a checkpoint is on its way
	local     *local     // nil: there is no local file
	room      room
	counted   shardCounters
	agents    counting
	drills    drills
}

// outputs counts what was sent and not yet acknowledged.
type outputs struct {
	wg    sync.WaitGroup
	acked func(*kgo.Record, error) // one for all records
}

func newWorker(d *Detect, client *kgo.Client, src source) *worker {
	plan := d.plan.Load()
	w := &worker{
		source:  src,
		detect:  d,
		client:  client,
		plan:    plan,
		log:     d.log.With("topic", src.topic, "partition", src.partition),
		in:      make(chan []*kgo.Record, 4),
		stop:    make(chan bool, 1),
		done:    make(chan struct{}),
		outputs: &outputs{},
		next:    -1,
	}
	w.shard = w.newShard()
	if src.topic == TopicCalls {
		w.agents.census = d.opt.Census
	}
	if src.topic == TopicCalls && d.opt.Graph != nil {
		w.access, w.placed = newAccess(*d.opt.Graph, d.opt.Shard.MaxAhead), true
	}
	return w
}

func (w *worker) newShard() *shard.Shard {
	o := w.detect.opt.Shard
	o.Fetch = w.fetch
	return shard.New(w.plan, o)
}

// run restores the state and then processes records until the worker is stopped.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	defer w.refuse()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer w.close(cancel)
	marker, graphs, err := w.restoreState(ctx)
	if err != nil {
		w.fail(ctx, err)
		return
	}
	defer w.agents.end()
	w.agents.tell(w.shard)
	if w.access != nil {
		w.restoreGraph(ctx, graphs, marker.next)
	}
	w.origins, w.skipBelow, w.next, w.committed = marker.origins, marker.next, marker.next, marker.next
	tick := time.NewTicker(w.detect.opt.CheckpointEvery)
	defer tick.Stop()
	for {
		select {
		case records := <-w.in:
			if p := w.detect.plan.Load(); p != w.plan {
				w.plan = p
				w.shard.Reload(p)
			}
			for _, r := range records {
				w.record(ctx, r)
				if len(w.shard.Samples) >= maxSamples {
					w.flushSamples(ctx)
				}
				if err := w.shard.Err(); err != nil {
					w.fail(ctx, err)
					return
				}
				if (w.shard.Full() || w.crowded()) && !w.makeRoom(ctx) {
					return
				}
			}
			w.detect.metrics.add(&w.counted, w.shard.Stats, len(records))
			w.detect.metrics.allow(w.plan, w.shard.Allowed)
			w.excused()
			w.tellRisks()
			w.detect.metrics.addGraph(w.access)
			w.tellRoom()
		case q := <-w.asks():
			w.access.answer(q)
		case <-tick.C:
			w.agents.tell(w.shard)
			w.flushSamples(ctx)
			w.evict()
			w.beginCheckpoint(ctx)
		case s := <-w.saving:
			if !w.saved(ctx, s) {
				return
			}
			w.evict()
		case save := <-w.stop:
			if save {
				w.lastCheckpoint(ctx)
			} else if w.saving != nil {
				// Somebody else writes this partition's state from now on.
				cancel()
				w.take(<-w.saving)
				w.saving = nil
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// saved takes in how a checkpoint ended, and reports whether the work goes on.
func (w *worker) saved(ctx context.Context, s saved) bool {
	w.saving = nil
	w.take(s)
	err := s.err
	if errors.Is(err, errCommit) {
		w.log.Warn("the offset is committed later", "err", err)
		w.committed = -1
	} else if err != nil {
		w.fail(ctx, err)
		return false
	}
	return true
}

// makeRoom begins a checkpoint before its time, once the last one is safe: the records of
// what has come together would soon be larger than Kafka takes.
func (w *worker) makeRoom(ctx context.Context) bool {
	if w.saving != nil && !w.saved(ctx, <-w.saving) {
		return false
	}
	w.evict()
	w.beginCheckpoint(ctx)
	return true
}

// close gives up what the worker holds beside its goroutine.
func (w *worker) close(cancel func()) {
	cancel()
	if w.saving != nil {
		w.take(<-w.saving)
	}
	if w.local != nil {
		w.local.file.Close()
	}
	w.giveRoom()
}

// end asks the worker to end; done is closed when it has.
func (w *worker) end(save bool) { w.stop <- save }

// fail gives the process up: what was not committed is read again by whoever comes next.
func (w *worker) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.log.Error("shard gives up", "err", err)
	w.detect.fail(err)
}

// record judges the calls of one record.
func (w *worker) record(ctx context.Context, r *kgo.Record) {
	w.next = r.Offset + 1
	if r.Offset < w.skipBelow {
		return
	}
	if w.topic == TopicExchange {
		w.exchanged(ctx, r)
		return
	}
	if token, ok := drillToken(r); ok && w.drill(ctx, r, token) {
		return
	}
	src := SourceOf(r)
	w.decoder.Start(FormatOf(r), r.Value)
	for ; w.decode(ctx, r); src.Index++ {
		if w.bad {
			continue
		}
		if w.call.Unknown > 0 {
			w.detect.metrics.unknownFields.Add(float64(w.call.Unknown))
		}
		if !w.keyed(r) {
			w.detect.metrics.strays.Inc()
			w.forward(ctx, w.shard.Stray(&w.call), src, false)
			continue
		}
		if w.access != nil {
			w.place = w.access.call(&w.call, src)
		}
		w.forward(ctx, w.shard.Call(&w.call, src), src, w.placed)
		w.publish(ctx, src, judged{signsOfCalls, reached{offset: src.Offset, index: int32(src.Index)}})
	}
}

// SourceOf says where the call of a record stands.
func SourceOf(r *kgo.Record) shard.Source {
	return shard.Source{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Appended: r.Timestamp.UnixNano()}
}

// keyed reports whether the record of the call has the key of the call's agent.
func (w *worker) keyed(r *kgo.Record) bool {
	w.key = telemetry.AppendKey(w.key[:0], &w.call)
	return bytes.Equal(w.key, r.Key)
}

// exchanged judges the call of a record of the exchange, unless it is a repetition.
func (w *worker) exchanged(ctx context.Context, r *kgo.Record) {
	told, signs, ok, err := parseSigns(r)
	if ok && err == nil {
		w.correlate(ctx, r, told, signs)
		return
	}
	var from origin
	if err == nil {
		from, err = parseOrigin(r)
	}
	if err != nil {
		w.deadLetter(ctx, r, &telemetry.BadCall{Reason: "bad_origin", Detail: err.Error()})
		return
	}
	if w.origins.passed(from.place()) {
		return
	}
	w.decoder.Start(FormatOf(r), r.Value)
	if w.decode(ctx, r) && !w.bad {
		w.place, w.placed = placed(r)
		w.shard.Grouped(from.by, &w.call, from.source(), r.Offset)
		w.publish(ctx, from.source(), judged{signsOfGroups, reached{offset: r.Offset}})
	}
}

// decode takes the next call off the record; what is none goes to the dead letters, and
// bad says so. It reports false at the end of the record.
func (w *worker) decode(ctx context.Context, r *kgo.Record) bool {
	err := w.decoder.Next(&w.call)
	if w.bad = false; err == nil {
		return true
	}
	if bad := (*telemetry.BadCall)(nil); errors.As(err, &bad) {
		w.bad = true
		w.deadLetter(ctx, r, bad)
		return true
	}
	return false // io.EOF
}

// forward sends the call to the shards of its other groups, with its place if it has one.
func (w *worker) forward(ctx context.Context, groups shard.Groups, src shard.Source, placed bool) {
	if groups == 0 {
		return
	}
	w.packer.place = nil
	if placed {
		w.packer.place = &w.place
	}
	for by := range groups.All() {
		w.send(ctx, w.packer.record(by, &w.call, src))
	}
}

// publish sends out the detections that a call led to where it was judged: the kill first, over
// NATS, then the records, then what is a sign for others.
func (w *worker) publish(ctx context.Context, src shard.Source, at judged) {
	if len(w.shard.Detections) == 0 {
		return
	}
	for i := range w.shard.Detections {
		w.detect.answer(ctx, w, &w.shard.Detections[i], src.Appended)
	}
	w.shard.Detections = w.shard.Detections[:0]
	if len(w.shard.Signs) > 0 {
		w.sendSigns(ctx, src, at)
	}
	w.flushSamples(ctx)
}

// tellRisks hands on how high the shard takes the risks of its agents for.
func (w *worker) tellRisks() {
	if w.detect.risks != nil {
		w.detect.risks.evidence(w.shard.Risks)
	}
	w.shard.Risks = w.shard.Risks[:0]
}

// maxSamples bounds the samples of one record.
const maxSamples = 1000

func (w *worker) flushSamples(ctx context.Context) {
	for some := range slices.Chunk(w.shard.Samples, maxSamples) {
		w.sendSamples(ctx, some)
	}
	w.shard.Samples = w.shard.Samples[:0]
}

// sendSamples sends samples as one record, or in halves where their names are so long that
// Kafka would not take it.
func (w *worker) sendSamples(ctx context.Context, some []detector.Sample) {
	r := jsonRecord(TopicFeatures, w.topic+"/"+strconv.Itoa(int(w.partition)), some)
	if half := len(some) / 2; len(r.Value) > maxJSON && half > 0 {
		w.sendSamples(ctx, some[:half])
		w.sendSamples(ctx, some[half:])
		return
	}
	w.send(ctx, r)
}

// deadLetter keeps what could not be decoded, with the reason and the place it came from.
func (w *worker) deadLetter(ctx context.Context, r *kgo.Record, bad *telemetry.BadCall) {
	w.detect.metrics.deadLetters.WithLabelValues(bad.Reason).Inc()
	w.send(ctx, DeadLetter(Place{r.Topic, r.Partition, r.Offset}, bad, r.Value, r.Headers))
}

// send hands a record to the producer. The next checkpoint waits for its acknowledgement.
func (w *worker) send(ctx context.Context, r *kgo.Record) {
	w.detect.producer.Produce(w.detect.sending, r, w.outputs.add(ctx, w))
}

// add counts one output more of w, and returns what is to be called when it is acknowledged.
func (out *outputs) add(ctx context.Context, w *worker) func(*kgo.Record, error) {
	if out.acked == nil {
		out.acked = func(_ *kgo.Record, err error) {
			if err != nil {
				w.fail(ctx, err)
				return // the checkpoint never completes, so the offset is never committed
			}
			out.wg.Done()
		}
	}
	out.wg.Add(1)
	return out.acked
}

// FormatOf returns the format that a record's header names; without one the bytes tell.
func FormatOf(r *kgo.Record) telemetry.Format {
	for i := range r.Headers {
		if r.Headers[i].Key != telemetry.HeaderContentType {
			continue
		}
		if f, ok := telemetry.FormatOf(string(r.Headers[i].Value)); ok {
			return f
		}
	}
	return telemetry.Auto
}
