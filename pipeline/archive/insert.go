package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// insertion stores the rows of one batch.
type insertion struct {
	worker *worker
	batch  *batch
	end    int64 // the batch's last offset
	// doubt is true once ClickHouse may have some of the rows: the batch is a
	// predecessor's, or an attempt failed.
	doubt bool
}

// insertSettings make an insert repeatable under its token: at once and as it was sent, one
// block for each partition of the table, and the materialised views told of it as well.
func insertSettings(token string) clickhouse.Settings {
	return clickhouse.Settings{
		"insert_deduplication_token":                         token,
		"insert_deduplicate":                                 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"async_insert":                                       0,
		"max_insert_threads":                                 1,
		// A batch must never be cut in blocks by its size: where the cuts are would depend on the server.
		"max_insert_block_size": 1 << 30,
		// However many months the records of a batch are from, it is stored.
		"max_partitions_per_insert_block": 0,
	}
}

// store inserts the rows lo to hi under the token, until ClickHouse has them. Where it
// refuses their content the rows are halved until the record is found that it refuses, which
// becomes a dead letter. The tokens of the halves follow from the batch's own, so that a
// successor halves in the same way.
func (i *insertion) store(token string, lo, hi int) error {
	refusal, err := i.repeat(token, lo, hi)
	if err != nil || refusal == nil {
		return err
	}
	w := i.worker
	middle := i.batch.recordEnd(lo + (hi-lo-1)/2)
	if middle == hi {
		middle = i.recordStart(hi - 1)
	}
	if middle <= lo {
		offset := i.batch.offsets.values[lo]
		for _, r := range w.taken {
			if r.Offset == offset {
				w.dead = append(w.dead, deadLetter{r, reasonRefused, refusal.Error()})
			}
		}
		return nil
	}
	if err := i.store(fmt.Sprintf("%s/%d-%d", token, lo, middle), lo, middle); err != nil {
		return err
	}
	return i.store(fmt.Sprintf("%s/%d-%d", token, middle, hi), middle, hi)
}

func (i *insertion) recordStart(row int) int {
	offsets := i.batch.offsets.values
	for row > 0 && offsets[row-1] == offsets[row] {
		row--
	}
	return row
}

// repeat inserts the rows until ClickHouse has them or refuses them.
func (i *insertion) repeat(token string, lo, hi int) (refusal, err error) {
	w := i.worker
	for pause := newBackoff(); ; {
		if err := i.fence(); err != nil {
			return nil, err
		}
		began := w.archiver.options.Clock()
		err := i.attempt(token, lo, hi)
		if err == nil {
			w.archiver.outage.over(began)
			w.archiver.metrics.rows.WithLabelValues(i.batch.table).Add(float64(hi - lo))
			return nil, nil
		}
		if refused(err) {
			return err, nil
		}
		i.doubt = true
		if w.ctx.Err() != nil || errors.Is(err, errStopped) {
			return nil, errStopped
		}
		w.archiver.outage.failed(err)
		w.archiver.metrics.retries.Inc()
		if !pause.wait(w.stopping) {
			return nil, errStopped
		}
	}
}

// fenceAge is how old an intent may be when its batch is sent.
const fenceAge = 10 * time.Second

// fence commits the intent again if it is old. An archiver that was asleep must not send a
// batch whose token ClickHouse may have forgotten meanwhile.
func (i *insertion) fence() error {
	w := i.worker
	if w.archiver.options.Clock().Sub(w.confirmed) < fenceAge {
		return nil
	}
	return w.commit(w.next, intent{w.log, i.end})
}

// attempt inserts once, and where the batch is in doubt makes sure of the result.
func (i *insertion) attempt(token string, lo, hi int) error {
	a := i.worker.archiver
	select {
	case a.inserts <- struct{}{}:
	case <-i.worker.ctx.Done():
		return i.worker.ctx.Err()
	}
	defer func() { <-a.inserts }()
	ctx, cancel := context.WithTimeout(i.worker.ctx, a.options.InsertTimeout)
	defer cancel()
	began := a.options.Clock()
	err := i.send(ctx, i.batch.table, insertSettings(token), lo, hi)
	a.metrics.insertSeconds.WithLabelValues(i.batch.table).Observe(a.options.Clock().Sub(began).Seconds())
	if err != nil || !i.doubt {
		return err
	}
	return i.makeSure(ctx, lo, hi)
}

// send sends the rows lo to hi as one block.
func (i *insertion) send(ctx context.Context, table string, settings clickhouse.Settings, lo, hi int) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings), clickhouse.WithColumnNamesAndTypes(i.batch.descriptions()))
	send, err := i.worker.archiver.store.PrepareBatch(ctx, i.batch.insertQuery(table))
	if err != nil {
		return fmt.Errorf("cannot begin an insert into %q: %w", table, err)
	}
	defer send.Close()
	if err := i.batch.fill(send, lo, hi); err != nil {
		return err
	}
	if err := send.Send(); err != nil {
		return fmt.Errorf("cannot insert into %q: %w", table, err)
	}
	return nil
}

// refused says whether ClickHouse refuses the content of the rows: then no attempt will do
// better. Everything else may pass: no memory, no disk, a wrong schema that someone repairs.
func refused(err error) bool {
	exception := new(clickhouse.Exception)
	if !errors.As(err, &exception) {
		return false
	}
	switch exception.Code {
	case 128, // TOO_LARGE_ARRAY_SIZE
		131, // TOO_LARGE_STRING_SIZE
		321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
		395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, in a view
		469: // VIOLATED_CONSTRAINT
		return true
	}
	return false
}
