package backtest

import (
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// player is the detect role without Kafka, for some tenants: a shard for each partition of the calls and
// of the exchange.
type player struct {
	calls []*shard.Shard
	exchange
	since int // calls since the shards last settled
}

func newPlayer(plan *detector.Plan, opt shard.Options, partitions int) *player {
	p := &player{exchange: newExchange(plan, opt, partitions)}
	for range partitions {
		p.calls = append(p.calls, shard.New(plan, opt))
	}
	return p
}

// call judges a call, and returns the detections that it led to, valid until the next call. A stray
// stands in a partition that is not its agent's.
func (p *player) call(c *telemetry.Call, src shard.Source, stray bool) []shard.Detected {
	calls := p.calls[int(src.Partition)%len(p.calls)]
	var groups shard.Groups
	if stray {
		groups = calls.Stray(c)
	} else {
		groups = calls.Call(c, src)
	}
	found := p.deliver(calls, groups, c, src)
	if p.since++; p.since >= settleEvery || calls.Full() {
		p.settle()
	}
	return found
}

// settleEvery is after how many calls the shards let go of what production writes to the state topic.
const settleEvery = 1 << 19

func (p *player) settle() {
	p.since = 0
	for i := range p.calls {
		p.calls[i].Dirty()
		p.exchange.shards[i].Dirty()
	}
}
