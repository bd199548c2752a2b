package clickhouse_test

import (
	"strings"
	"testing"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

// BenchmarkInsert sends batches of 10,000 rows through clickhouse-go with LZ4, as the archive does.
func BenchmarkInsert(b *testing.B) {
	conn := connect(b, chtest.Start(b).Addr())
	mustExec(b, conn, "CREATE TABLE t (n UInt64, s LowCardinality(String), v String) ENGINE = MergeTree ORDER BY n")
	const rows = 10_000
	for b.Loop() {
		batch, err := conn.PrepareBatch(deadline(b), "INSERT INTO t")
		if err != nil {
			b.Fatal(err)
		}
		for n := range uint64(rows) {
			if err := batch.Append(n, "agent", "some value of a call"); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkPointQuery reads one row by its key over plain HTTP.
func BenchmarkPointQuery(b *testing.B) {
	server := chtest.Start(b)
	mustAsk(b, server, "", "CREATE TABLE t ENGINE = MergeTree ORDER BY n AS SELECT number AS n, toString(number) AS s FROM numbers(1000000)")
	for b.Loop() {
		if got := mustAsk(b, server, "", "SELECT s FROM t WHERE n = 777777"); strings.TrimSpace(got) != "777777" {
			b.Fatalf("got %q", got)
		}
	}
}
