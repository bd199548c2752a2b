package archive

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"
)

// batch is what one insert sends: rows of one table out of consecutive records of one
// partition, column by column, in the order of their offsets.
type batch struct {
	table   string
	log     string
	columns []columner
	rows    int
	bytes   int // about what the rows occupy

	logs       *column[string]
	partitions *column[int32]
	offsets    *column[int64]
	parts      *column[uint32]
	ingested   *column[time.Time]
}

func newBatch(table, log string) *batch {
	b := &batch{table: table, log: log}
	b.logs = addColumn[string](b, "log", "LowCardinality(String)")
	b.partitions = addColumn[int32](b, "partition", "Int32")
	b.offsets = addColumn[int64](b, "offset", "Int64")
	b.parts = addColumn[uint32](b, "part", "UInt32")
	b.ingested = addColumn[time.Time](b, "ingested_at", "DateTime64(3, 'UTC')")
	return b
}

// columner is a column of any type.
type columner interface {
	description() clickhouse.ColumnNameAndType
	slice(lo, hi int) any
	length() int
	reset()
}

// column is one column of a batch.
type column[T any] struct {
	about  clickhouse.ColumnNameAndType
	values []T
}

func addColumn[T any](b *batch, name, kind string) *column[T] {
	c := &column[T]{about: clickhouse.ColumnNameAndType{Name: name, Type: kind}}
	b.columns = append(b.columns, c)
	return c
}

func (c *column[T]) add(v T)                                   { c.values = append(c.values, v) }
func (c *column[T]) description() clickhouse.ColumnNameAndType { return c.about }
func (c *column[T]) slice(lo, hi int) any                      { return c.values[lo:hi] }
func (c *column[T]) length() int                               { return len(c.values) }
func (c *column[T]) reset()                                    { clear(c.values); c.values = c.values[:0] }

// begin starts a row: its place in Kafka, and about how many bytes it occupies.
func (b *batch) begin(r *kgo.Record, part, bytes int) {
	b.logs.add(b.log)
	b.partitions.add(r.Partition)
	b.offsets.add(r.Offset)
	b.parts.add(uint32(part))
	b.ingested.add(ingestedAt(r))
	b.rows++
	b.bytes += bytes + rowOverhead
}

// rowOverhead is about what a row costs beside its texts: slice headers and numbers.
const rowOverhead = 400

func (b *batch) reset() {
	for _, c := range b.columns {
		c.reset()
	}
	b.rows, b.bytes = 0, 0
}

// insertQuery names the columns, so that a table may have gained others.
func (b *batch) insertQuery(table string) string {
	names := make([]string, len(b.columns))
	for i, c := range b.columns {
		names[i] = quoteName(c.description().Name)
	}
	return fmt.Sprintf("INSERT INTO %s (%s)", quoteName(table), strings.Join(names, ", "))
}

func (b *batch) descriptions() []clickhouse.ColumnNameAndType {
	all := make([]clickhouse.ColumnNameAndType, len(b.columns))
	for i, c := range b.columns {
		all[i] = c.description()
	}
	return all
}

// fill copies the rows lo to hi into what will be sent.
func (b *batch) fill(send driver.Batch, lo, hi int) error {
	for i, c := range b.columns {
		if c.length() != b.rows {
			return fmt.Errorf("cannot send table %q: column %q has %d of %d rows", b.table, c.description().Name, c.length(), b.rows)
		}
		if err := send.Column(i).Append(c.slice(lo, hi)); err != nil {
			return fmt.Errorf("cannot encode column %q of table %q: %w", c.description().Name, b.table, err)
		}
	}
	return nil
}

// recordEnd returns the end of the record that row i belongs to.
func (b *batch) recordEnd(i int) int {
	offset := b.offsets.values[i]
	n, _ := slices.BinarySearch(b.offsets.values[i:b.rows], offset+1)
	return i + n
}

// The times that DateTime64(9) and DateTime can hold. What lies outside is held to them.
var (
	earliest     = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	latest       = time.Unix(0, math.MaxInt64).UTC()
	earliestUnix = time.Unix(0, 0).UTC()
	latestUnix   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func held(t, from, to time.Time) time.Time {
	switch {
	case t.Before(from):
		return from
	case t.After(to):
		return to
	}
	return t
}

func eventTime(t time.Time) time.Time { return held(t, earliest, latest) }

func ingestedAt(r *kgo.Record) time.Time { return held(r.Timestamp, earliestUnix, latestUnix) }
