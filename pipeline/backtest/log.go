package backtest

import (
	"context"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Log is where history stands: files, Kafka or ClickHouse. It can be read again and again, and gives the
// same each time.
type Log interface {
	// Partitions is how many the topic of calls has. Peers are those of one partition.
	Partitions() int
	// Read gives the entries in the order in which they were judged, or would have been.
	// An entry's bytes are valid until the function returns. Read ends with its error.
	Read(ctx context.Context, each func(Entry) error) error
}

// Entry is one message of a log.
type Entry struct {
	// Source is the place in the topic of calls. Where Numbered is set the log has no such places, and
	// the good calls get the offsets that they would have in a topic with one partition.
	Source   shard.Source
	Numbered bool

	Format telemetry.Format
	Raw    []byte
	Key    []byte // of its record; nil: that of its call
	// Call is given by a log that keeps calls decoded; Raw is then empty.
	Call *telemetry.Call
	// Bad is given for what is no call at all.
	Bad *telemetry.BadCall
}
