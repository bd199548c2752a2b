package archive

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Reader answers how far the projection is.
type Reader struct{ store driver.Conn }

// NewReader reads over an open connection, which stays the caller's to close.
func NewReader(store driver.Conn) *Reader { return &Reader{store} }

// tables are those with a row for each call or record, in the order of Topics.
var tables = []string{"calls", "features", "detections", "revocations", "decisions", "acks", "guards", "changes", "dlq"}

// Counts returns how many rows each table has.
func (r *Reader) Counts(ctx context.Context) (map[string]uint64, error) {
	counts := make(map[string]uint64, len(tables))
	for _, table := range tables {
		var n uint64
		if err := r.store.QueryRow(ctx, "SELECT count() FROM "+quoteName(table)).Scan(&n); err != nil {
			return nil, fmt.Errorf("cannot count the rows of %q: %w", table, err)
		}
		counts[table] = n
	}
	return counts, nil
}

// LogPartition is a partition of a topic, named by the topic's id.
type LogPartition struct {
	Log       string
	Partition int32
}

// LastOffsets returns the greatest offset that the table has a row of, for each partition.
func (r *Reader) LastOffsets(ctx context.Context, table string) (map[LogPartition]int64, error) {
	rows, err := r.store.Query(ctx, "SELECT log, partition, max(offset) FROM "+quoteName(table)+" GROUP BY log, partition")
	if err != nil {
		return nil, fmt.Errorf("cannot read the offsets of %q: %w", table, err)
	}
	defer rows.Close()
	last := map[LogPartition]int64{}
	for rows.Next() {
		var at LogPartition
		var offset int64
		if err := rows.Scan(&at.Log, &at.Partition, &offset); err != nil {
			return nil, fmt.Errorf("cannot read the offsets of %q: %w", table, err)
		}
		last[at] = offset
	}
	return last, rows.Err()
}
