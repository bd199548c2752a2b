package history

import (
	"context"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
)

// ClickHouse is the table of calls, in the order in which they came to Kafka.
type ClickHouse struct {
	Progress Progress

	reader *archive.Reader
	query  archive.CallsQuery
	extent archive.CallsExtent
}

// OpenClickHouse asks how many calls there are. Those that come later are not read.
func OpenClickHouse(ctx context.Context, r *archive.Reader, q archive.CallsQuery) (*ClickHouse, error) {
	extent, err := r.CallsExtent(ctx, q)
	q.Before = extent.Last
	return &ClickHouse{reader: r, query: q, extent: extent}, err
}

// Partitions returns how many the topic had that the calls came from.
func (c *ClickHouse) Partitions() int { return c.extent.Partitions }

// Read gives the calls. Where the topic was made anew the places in it come twice, so the calls are numbered.
func (c *ClickHouse) Read(ctx context.Context, each func(backtest.Entry) error) error {
	done := int64(0)
	return c.reader.Calls(ctx, c.query, func(s archive.Stored) error {
		if done++; c.Progress != nil {
			c.Progress(done, int64(c.extent.Calls))
		}
		return each(backtest.Entry{
			Source: shard.Source{
				Topic: pipeline.TopicCalls, Partition: s.Partition, Offset: s.Offset, Index: int(s.Part), Appended: s.Appended.UnixNano(),
			},
			Numbered: c.extent.Logs > 1, Call: s.Call,
		})
	})
}
