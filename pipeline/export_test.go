package pipeline

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/shard"
)

// Crash makes the role end as if it had failed: what is not committed stays so.
func (d *Detect) Crash(err error) { d.fail(err) }

// CompactSoon makes the role write its local files anew whenever they have grown by a few bytes.
func CompactSoon(o *Options) { o.slack = 1 << 10 }

// StateRecords are the states of a partition of the topic of calls, as a checkpoint up to an offset writes them.
func StateRecords(partition int32, next int64, states []shard.EntityState) []*kgo.Record {
	records, marker := source{TopicCalls, partition}.records(checkpoint{next: next, states: states})
	return append(records, marker)
}
