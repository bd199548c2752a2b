package backtest

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// player is the detect role without Kafka, for some tenants: a shard for each partition of the calls and
// of the exchange.
type player struct {
	calls, exchange []*shard.Shard
	place           kgo.TopicPartitioner // of the exchange
	record          kgo.Record
	found           []shard.Detected
	sent            int64 // calls to the exchange so far: the offsets there, which grow from call to call
	since           int   // calls since the shards last settled
}

func newPlayer(plan *detector.Plan, opt shard.Options, partitions int) *player {
	p := &player{place: kgo.StickyKeyPartitioner(nil).ForTopic("")}
	for range partitions {
		p.calls = append(p.calls, shard.New(plan, opt))
		p.exchange = append(p.exchange, shard.New(plan, opt))
	}
	return p
}

// call judges a call, and returns the detections that it led to, valid until the next call. A stray
// stands in a partition that is not its agent's.
func (p *player) call(c *telemetry.Call, src shard.Source, stray bool) []shard.Detected {
	calls := p.calls[int(src.Partition)%len(p.calls)]
	p.found = p.found[:0]
	var groups shard.Groups
	if stray {
		groups = calls.Stray(c)
	} else {
		groups = calls.Call(c, src)
		p.take(calls)
	}
	for by := range groups.All() {
		exchange := p.exchangeOf(by, c)
		p.sent++
		exchange.Grouped(by, c, src, p.sent)
		p.take(exchange)
	}
	if p.since++; p.since >= settleEvery || calls.Full() {
		p.settle()
	}
	return p.found
}

// settleEvery is after how many calls the shards let go of what production writes to the state topic.
const settleEvery = 1 << 19

func (p *player) settle() {
	p.since = 0
	for i := range p.calls {
		p.calls[i].Dirty()
		p.exchange[i].Dirty()
	}
}

// take takes a shard's output away.
func (p *player) take(s *shard.Shard) {
	p.found = append(p.found, s.Detections...)
	s.Detections, s.Samples, s.Excuses = s.Detections[:0], s.Samples[:0], s.Excuses[:0]
}

// exchangeOf returns the shard that owns the call's entity.
func (p *player) exchangeOf(by detector.Entity, c *telemetry.Call) *shard.Shard {
	if len(p.exchange) == 1 {
		return p.exchange[0]
	}
	p.record.Key = shard.AppendEntityKey(p.record.Key[:0], by, c)
	return p.exchange[p.place.Partition(&p.record, len(p.exchange))]
}
