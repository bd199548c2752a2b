package plugin

import (
	"context"
	"fmt"
	"reflect"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// units are how Grafana writes the numbers of a column.
var units = map[string]string{
	"latency_ns": "ns", "slowest_ns": "ns", "age_ns": "ns", "max_stale_ns": "ns", "p50": "ns", "p99": "ns",
	"calls": "reqps", "coverage": "percentunit", "coverage_min": "percentunit", "bytes_in": "bytes", "bytes_out": "bytes",
}

// selectRows sends a statement with its parameters and reads as many rows as were asked for.
func (d *Datasource) selectRows(ctx context.Context, a asked, sql string, parameters []any) (*data.Frame, error) {
	store, err := d.clickHouse()
	if err != nil {
		return nil, err
	}
	// The server gives up too when nobody waits any more.
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"max_execution_time": int(a.timeout.Seconds())}))
	rows, err := store.Query(ctx, sql, parameters...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask ClickHouse for %s: %w", a.Kind, err)
	}
	defer rows.Close()
	frame, err := readRows(rows, a.limit)
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer of ClickHouse for %s: %w", a.Kind, err)
	}
	return frame, nil
}

// readRows makes a frame of rows, of most of them where there are more, and says so.
func readRows(rows driver.Rows, most int) (*data.Frame, error) {
	frame := data.NewFrame("")
	var values []any
	for i, c := range rows.ColumnTypes() {
		values = append(values, reflect.New(c.ScanType()).Interface())
		kind := data.FieldTypeFor(reflect.Zero(c.ScanType()).Interface())
		if kind == data.FieldTypeUnknown {
			return nil, fmt.Errorf("column %q has the type %s, which no panel can show", rows.Columns()[i], c.DatabaseTypeName())
		}
		field := data.NewFieldFromFieldType(kind, 0)
		field.Name = rows.Columns()[i]
		if unit, ok := units[field.Name]; ok {
			field.Config = &data.FieldConfig{Unit: unit}
		}
		frame.Fields = append(frame.Fields, field)
	}
	for n := 0; rows.Next(); n++ {
		if n == most {
			frame.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("There is more: the first %d rows are shown. Ask for a shorter time or fewer agents.", most)})
			break
		}
		if err := rows.Scan(values...); err != nil {
			return nil, err
		}
		for i, v := range values {
			frame.Fields[i].Append(reflect.ValueOf(v).Elem().Interface())
		}
	}
	return frame, rows.Err()
}

// series makes lines of rows: one for each number and each combination of names.
func series(long *data.Frame) (data.Frames, error) {
	meta := &data.FrameMeta{Type: data.FrameTypeTimeSeriesWide, TypeVersion: data.FrameTypeVersion{0, 1}}
	if long.Meta != nil {
		meta.Notices = long.Meta.Notices
	}
	if long.Rows() == 0 {
		return data.Frames{data.NewFrame(long.Name).SetMeta(meta)}, nil
	}
	wide := long
	if len(long.TypeIndices(data.FieldTypeString)) > 0 {
		var err error
		if wide, err = data.LongToWideWithLimit(long, nil, maxCells); err != nil {
			return nil, fmt.Errorf("%w: too many lines to draw; filter, or ask for a shorter time: %w", errQuery, err)
		}
	}
	for _, f := range wide.Fields {
		if unit, ok := units[f.Name]; ok {
			f.Config = &data.FieldConfig{Unit: unit}
		}
	}
	wide.Name = long.Name
	return data.Frames{wide.SetMeta(meta)}, nil
}
