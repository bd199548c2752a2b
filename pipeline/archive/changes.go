package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

// changes projects the changes of detectors, one a record. The keys and the lists stay together, as JSON.
type changes struct {
	*batch
	ts          *column[time.Time]
	number      *column[int64]
	canary, cut *column[bool]
	texts       []*column[string]
}

func newChanges(log string) *changes {
	b := newBatch("changes", log)
	c := &changes{
		batch:  b,
		ts:     addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"),
		number: addColumn[int64](b, "number", "Int64"),
		canary: addColumn[bool](b, "canary", "Bool"),
		cut:    addColumn[bool](b, "cut", "Bool"),
	}
	for _, t := range [][2]string{
		{"id", "String"}, {"node", lowText}, {"detector", lowText}, {"kind", lowText}, {"file", lowText},
		{"version_before", lowText}, {"version_now", lowText}, {"mode_before", lowText}, {"mode_now", lowText},
		{"by", "String"}, {"from", lowText}, {"commit", "String"}, {"keys", "String"}, {"text", "String"}, {"lists", "String"},
		{"diff", "String"},
	} {
		c.texts = append(c.texts, addColumn[string](b, t[0], t[1]))
	}
	return c
}

func (c *changes) add(r *kgo.Record) error {
	var v detector.ChangeRecord
	if err := parseJSON(r, &v); err != nil {
		return err
	}
	keys, err := jsonUnless(len(v.Keys) == 0, v.Keys)
	if err != nil {
		return fmt.Errorf("cannot keep the keys of change %q: %w", v.ID, err)
	}
	lists, err := jsonUnless(len(v.Lists) == 0, v.Lists)
	if err != nil {
		return fmt.Errorf("cannot keep the lists of change %q: %w", v.ID, err)
	}
	c.begin(r, 0, len(r.Value))
	c.ts.add(eventTime(v.Time))
	c.number.add(v.Number)
	c.canary.add(v.Canary)
	c.cut.add(v.Cut)
	for i, text := range []string{
		v.ID, v.Node, v.Detector, v.Kind, v.File, v.VersionBefore, v.VersionNow, v.ModeBefore, v.ModeNow,
		v.By, v.From, v.Commit, keys, v.Text, lists, v.Diff,
	} {
		c.texts[i].add(text)
	}
	return nil
}

// ChangesQuery says which changes of detectors are read. Empty and zero mean all.
type ChangesQuery struct {
	Detector string
	Since    time.Time
	Most     int // the last so many; 0: all
}

// Changes returns who changed which detector, newest first.
func (r *Reader) Changes(ctx context.Context, q ChangesQuery) ([]detector.ChangeRecord, error) {
	var since, most int64
	if !q.Since.IsZero() {
		since = eventTime(q.Since).UnixNano()
	}
	if most = int64(q.Most); most <= 0 {
		most = 1 << 40
	}
	rows, err := r.store.Query(ctx, "SELECT id, number, ts, node, detector, canary, kind, file, version_before, version_now, mode_before, mode_now, "+
		"`by`, `from`, commit, keys, text, lists, diff, cut FROM changes_once"+`
		WHERE (@id = '' OR detector = @id) AND ts >= fromUnixTimestamp64Nano(toInt64(@since))
		ORDER BY ts DESC, detector, number DESC, canary LIMIT toUInt64(@most)`,
		clickhouse.Named("id", q.Detector), clickhouse.Named("since", since), clickhouse.Named("most", most))
	if err != nil {
		return nil, fmt.Errorf("cannot read the changes of detectors: %w", err)
	}
	defer rows.Close()
	all := []detector.ChangeRecord{}
	for rows.Next() {
		c, err := scanChange(rows)
		if err != nil {
			return nil, fmt.Errorf("cannot read the changes of detectors: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read on in the changes of detectors: %w", err)
	}
	return all, nil
}

func scanChange(rows driver.Rows) (detector.ChangeRecord, error) {
	c := detector.ChangeRecord{Keys: []detector.KeyChange{}}
	var keys, lists string
	err := rows.Scan(&c.ID, &c.Number, &c.Time, &c.Node, &c.Detector, &c.Canary, &c.Kind, &c.File, &c.VersionBefore, &c.VersionNow, &c.ModeBefore,
		&c.ModeNow, &c.By, &c.From, &c.Commit, &keys, &c.Text, &lists, &c.Diff, &c.Cut)
	if err == nil {
		err = unmarshal(keys, &c.Keys)
	}
	if err == nil {
		err = unmarshal(lists, &c.Lists)
	}
	return c, err
}
