package archive

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A table that is not replicated writes a block's token to its deduplication log before the
// block becomes visible. Killed in between, the server comes back without the rows but with
// the token, and would drop them at every repetition. So a batch in doubt is counted after
// it was repeated, and what is missing is put back under the table itself: a table of the
// same structure takes the missing rows, and its parts are attached. Attaching tells no
// materialised view, and none must be told: views keep tokens of their own, and the
// repetition has reached them.

// makeSure counts the rows lo to hi in ClickHouse and puts missing ones back.
func (i *insertion) makeSure(ctx context.Context, lo, hi int) error {
	have, distinct, err := i.countStored(ctx, lo, hi)
	if err != nil {
		return err
	}
	if have > distinct {
		i.worker.archiver.metrics.doubled.Inc()
		i.worker.archiver.log.Error("ClickHouse has rows twice", "table", i.batch.table, "at", i.worker.at, "from", i.worker.next, "to", i.end, "rows", have, "different", distinct)
	}
	if distinct >= uint64(hi-lo) {
		return nil
	}
	return i.repair(ctx, lo, hi)
}

// within is the condition that holds for the rows lo to hi and no others.
func (i *insertion) within(lo, hi int) (condition string, arguments []any) {
	b := i.batch
	from, to := b.ingested.values[lo], b.ingested.values[lo]
	for _, t := range b.ingested.values[lo:hi] {
		if t.Before(from) {
			from = t
		}
		if t.After(to) {
			to = t
		}
	}
	return "log = $1 AND partition = $2 AND offset BETWEEN $3 AND $4" +
			" AND ingested_at >= fromUnixTimestamp64Milli($5, 'UTC') AND ingested_at <= fromUnixTimestamp64Milli($6, 'UTC')",
		[]any{b.log, i.worker.at.partition, b.offsets.values[lo], b.offsets.values[hi-1], from.UnixMilli(), to.UnixMilli()}
}

func (i *insertion) countStored(ctx context.Context, lo, hi int) (have, distinct uint64, err error) {
	condition, arguments := i.within(lo, hi)
	row := i.worker.archiver.store.QueryRow(ctx, "SELECT count(), uniqExact(offset, part) FROM "+quoteName(i.batch.table)+" WHERE "+condition, arguments...)
	if err := row.Scan(&have, &distinct); err != nil {
		return 0, 0, fmt.Errorf("cannot count a batch in %q: %w", i.batch.table, err)
	}
	return have, distinct, nil
}

// rowPlace is a row's place in its partition.
type rowPlace struct {
	offset int64
	part   uint32
}

func (i *insertion) repair(ctx context.Context, lo, hi int) error {
	stored, err := i.stored(ctx, lo, hi)
	if err != nil {
		return err
	}
	// Only the partition's owner repairs.
	if err := i.worker.commit(i.worker.next, intent{i.worker.log, i.end}); err != nil {
		return err
	}
	table := fmt.Sprintf("%s_repair_%d_%d", i.batch.table, i.worker.at.partition, i.worker.next)
	store := i.worker.archiver.store
	drop := "DROP TABLE IF EXISTS " + quoteName(table)
	for _, statement := range []string{drop, fmt.Sprintf("CREATE TABLE %s AS %s", quoteName(table), quoteName(i.batch.table))} {
		if err := store.Exec(ctx, statement); err != nil {
			return fmt.Errorf("cannot prepare to repair %q: %w", i.batch.table, err)
		}
	}
	missing := 0
	for row := lo; row < hi; row++ {
		if stored[rowPlace{i.batch.offsets.values[row], i.batch.parts.values[row]}] {
			continue
		}
		end := row + 1
		for end < hi && !stored[rowPlace{i.batch.offsets.values[end], i.batch.parts.values[end]}] {
			end++
		}
		if err := i.send(ctx, table, clickhouse.Settings{"async_insert": 0, "max_partitions_per_insert_block": 0}, row, end); err != nil {
			return err
		}
		missing += end - row
		row = end
	}
	if err := i.attach(ctx, table); err != nil {
		return err
	}
	if err := store.Exec(ctx, drop); err != nil {
		return fmt.Errorf("cannot clean up after the repair of %q: %w", i.batch.table, err)
	}
	i.worker.archiver.metrics.repaired.Add(float64(missing))
	i.worker.archiver.log.Warn("put rows back that ClickHouse claimed to have", "table", i.batch.table, "at", i.worker.at, "from", i.worker.next, "to", i.end, "rows", missing)
	return nil
}

// stored returns which of the rows ClickHouse has.
func (i *insertion) stored(ctx context.Context, lo, hi int) (map[rowPlace]bool, error) {
	condition, arguments := i.within(lo, hi)
	rows, err := i.worker.archiver.store.Query(ctx, "SELECT offset, part FROM "+quoteName(i.batch.table)+" WHERE "+condition, arguments...)
	if err != nil {
		return nil, fmt.Errorf("cannot read a batch of %q: %w", i.batch.table, err)
	}
	defer rows.Close()
	have := make(map[rowPlace]bool, hi-lo)
	for rows.Next() {
		var p rowPlace
		if err := rows.Scan(&p.offset, &p.part); err != nil {
			return nil, fmt.Errorf("cannot read a batch of %q: %w", i.batch.table, err)
		}
		have[p] = true
	}
	return have, rows.Err()
}

// attach gives all parts of the table to the batch's own.
func (i *insertion) attach(ctx context.Context, table string) error {
	store := i.worker.archiver.store
	rows, err := store.Query(ctx, "SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase() AND table = $1 AND active", table)
	if err != nil {
		return fmt.Errorf("cannot list the parts of %q: %w", table, err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("cannot list the parts of %q: %w", table, err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot list the parts of %q: %w", table, err)
	}
	for _, id := range ids {
		statement := fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION ID '%s' FROM %s", quoteName(i.batch.table), id, quoteName(table))
		if err := store.Exec(ctx, statement); err != nil {
			return fmt.Errorf("cannot repair %q: %w", i.batch.table, err)
		}
	}
	return nil
}
