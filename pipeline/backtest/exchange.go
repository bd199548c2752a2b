package backtest

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// exchange takes calls, and the signs that they led to, to the shards of their other entities, as the
// topic does in production. All that a call leads to is done before the next call.
type exchange struct {
	shards []*shard.Shard
	place  kgo.TopicPartitioner
	record kgo.Record
	sent   int64         // so far: the offsets, which grow from one to the next
	signs  []shard.Signs // on their way
	// Of the last call.
	found   []shard.Detected
	samples []detector.Sample
}

func newExchange(plan *detector.Plan, opt shard.Options, partitions int) exchange {
	x := exchange{place: kgo.StickyKeyPartitioner(nil).ForTopic("")}
	for range partitions {
		x.shards = append(x.shards, shard.New(plan, opt))
	}
	return x
}

// deliver takes away what the call led to in the shard of its agent, and delivers the call to its other groups. It
// returns all detections, valid until the next call.
func (x *exchange) deliver(agents *shard.Shard, groups shard.Groups, c *telemetry.Call, src shard.Source) []shard.Detected {
	x.found, x.samples = x.found[:0], x.samples[:0]
	x.take(agents)
	for by := range groups.All() {
		s := x.of(by, c)
		x.sent++
		s.Grouped(by, c, src, x.sent)
		x.take(s)
	}
	for i := 0; i < len(x.signs); i++ {
		out := x.signs[i]
		s := x.of(out.By, c)
		x.sent++
		s.Correlate(out.By, c, out.Signs, src, x.sent)
		x.take(s)
	}
	x.signs = x.signs[:0]
	return x.found
}

// take takes a shard's output away.
func (x *exchange) take(s *shard.Shard) {
	x.found, x.samples, x.signs = append(x.found, s.Detections...), append(x.samples, s.Samples...), append(x.signs, s.Signs...)
	s.Detections, s.Signs, s.Samples, s.Excuses = s.Detections[:0], s.Signs[:0], s.Samples[:0], s.Excuses[:0]
}

// of returns the shard that owns the call's entity.
func (x *exchange) of(by detector.Entity, c *telemetry.Call) *shard.Shard {
	if len(x.shards) == 1 {
		return x.shards[0]
	}
	x.record.Key = shard.AppendEntityKey(x.record.Key[:0], by, c)
	return x.shards[x.place.Partition(&x.record, len(x.shards))]
}
