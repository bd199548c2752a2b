package dashboards_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// timeRange is what a person chose in Grafana, and the interval that Grafana made of it.
type timeRange struct {
	from, to time.Time
	interval time.Duration
}

var macro = regexp.MustCompile(`\$__(\w+)(?:\((\w+(?:\.\w+)?)\))?`)

// expand writes a panel's query as Grafana's ClickHouse data source sends it: it replaces
// the macros, and the variables by what was chosen, and refuses those that it does not know. What each
// macro becomes is that of pkg/macros in github.com/grafana/clickhouse-datasource.
func expand(query string, r timeRange, choice map[string][]string) (string, error) {
	var unknown error
	query = macro.ReplaceAllStringFunc(query, func(m string) string {
		parts := macro.FindStringSubmatch(m)
		name, column := parts[1], parts[2]
		switch {
		case name == "timeFilter" && column != "":
			return fmt.Sprintf("%s >= toDateTime(%d) AND %s <= toDateTime(%d)", column, r.from.Unix(), column, r.to.Unix())
		case name == "timeInterval" && column != "":
			return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", column, seconds(r.interval))
		case name == "fromTime_ms" && column == "":
			return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", r.from.UnixMilli())
		case name == "toTime_ms" && column == "":
			return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", r.to.UnixMilli())
		case name == "interval_s" && column == "":
			return fmt.Sprint(seconds(r.interval))
		}
		unknown = fmt.Errorf("unknown macro %q", m)
		return m
	})
	if unknown != nil {
		return "", unknown
	}
	for name, values := range choice {
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		query = strings.ReplaceAll(query, "${"+name+":sqlstring}", strings.Join(quoted, ","))
	}
	if strings.Contains(query, "$") {
		return "", fmt.Errorf("a variable is left in %q", query)
	}
	return query, nil
}

func seconds(d time.Duration) int { return max(int(d.Seconds()), 1) }

func TestExpandWritesMacrosAsTheDataSourceDoes(t *testing.T) {
	r := timeRange{time.Unix(1000, 0), time.Unix(4600, 0), 15 * time.Second}
	for _, c := range []struct{ in, want string }{
		{"$__timeFilter(ts)", "ts >= toDateTime(1000) AND ts <= toDateTime(4600)"},
		{"$__timeFilter(r.issued_at) AND x", "r.issued_at >= toDateTime(1000) AND r.issued_at <= toDateTime(4600) AND x"},
		{"$__timeInterval(ts) AS time", "toStartOfInterval(toDateTime(ts), INTERVAL 15 second) AS time"},
		{"count() / $__interval_s AS calls", "count() / 15 AS calls"},
		{"tenant IN (${tenant:sqlstring})", "tenant IN ('acme','o''neill')"},
		{"greatest($__fromTime_ms, least($__toTime_ms, x))", "greatest(fromUnixTimestamp64Milli(1000000), least(fromUnixTimestamp64Milli(4600000), x))"},
		{"version = ${version:sqlstring}", "version = ''"},
		{"no macro", "no macro"},
	} {
		if got, err := expand(c.in, r, map[string][]string{"tenant": {"acme", "o'neill"}, "version": {""}}); err != nil || got != c.want {
			t.Errorf("%q becomes %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"$__timeFilter", "$__nothing(ts)", "$__interval_s(ts)", "$tenant", "${tenant}"} {
		if got, err := expand(in, r, nil); err == nil {
			t.Errorf("%q becomes %q without an error", in, got)
		}
	}
}
