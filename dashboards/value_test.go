package dashboards_test

import (
	"fmt"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// newValue returns a place for one value of the column.
func newValue(c driver.ColumnType) any { return reflect.New(c.ScanType()).Interface() }

// text writes what a place holds.
func text(place any) string {
	switch v := reflect.ValueOf(place).Elem().Interface().(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}
