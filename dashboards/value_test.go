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
	value := reflect.ValueOf(place).Elem()
	for value.Kind() == reflect.Pointer && !value.IsNil() { // of a column that can be NULL
		value = value.Elem()
	}
	switch v := value.Interface().(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}
