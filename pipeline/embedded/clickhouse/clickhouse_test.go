package clickhouse_test

import (
	"context"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// connect opens clickhouse-go as the archive does; change edits its options.
func connect(t testing.TB, addr string, change ...func(*chgo.Options)) driver.Conn {
	t.Helper()
	options := &chgo.Options{
		Protocol:    chgo.HTTP,
		Addr:        []string{addr},
		Compression: &chgo.Compression{Method: chgo.CompressionLZ4},
		DialTimeout: 10 * time.Second,
	}
	for _, f := range change {
		f(options)
	}
	conn, err := chgo.Open(options)
	if err != nil {
		t.Fatalf("cannot open clickhouse-go: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustExec(t testing.TB, conn driver.Conn, query string, args ...any) {
	t.Helper()
	if err := conn.Exec(deadline(t), query, args...); err != nil {
		t.Fatalf("cannot run %q: %v", query, err)
	}
}

func queryCount(t testing.TB, conn driver.Conn, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(deadline(t), query, args...).Scan(&n); err != nil {
		t.Fatalf("cannot run %q: %v", query, err)
	}
	return n
}

var _ = clickhouse.Running

func TestClickhouseGoPingsCreatesInsertsAndReads(t *testing.T) {
	server := chtest.Start(t)
	for name, method := range map[string]*chgo.Compression{
		"none":    nil,
		"lz4":     {Method: chgo.CompressionLZ4},
		"zstd":    {Method: chgo.CompressionZSTD},
		"gzip":    {Method: chgo.CompressionGZIP, Level: 3},
		"deflate": {Method: chgo.CompressionDeflate, Level: 3},
		"br":      {Method: chgo.CompressionBrotli, Level: 3},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, server.Addr(), func(o *chgo.Options) { o.Compression = method })
			if err := conn.Ping(deadline(t)); err != nil {
				t.Fatal(err)
			}
			mustExec(t, conn, "CREATE TABLE "+name+" (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
			batch, err := conn.PrepareBatch(deadline(t), "INSERT INTO "+name)
			if err != nil {
				t.Fatal(err)
			}
			for n := range uint64(1000) {
				if err := batch.Append(n, "line\nbreak"); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			if got := queryCount(t, conn, "SELECT sum(n) FROM "+name+" WHERE s = ?", "line\nbreak"); got != 499500 {
				t.Errorf("sum is %d, want 499500", got)
			}
			if err := conn.Exec(deadline(t), "SELECT * FROM nowhere"); err == nil {
				t.Error("an unknown table is no error")
			}
		})
	}
}
