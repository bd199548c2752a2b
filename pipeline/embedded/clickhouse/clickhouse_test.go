package clickhouse_test

import (
	"context"
	"os"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

func TestMain(m *testing.M) {
	// The engine's own process inherits the parent's environment: without the second test
	// it would become a parent too, and so on without end.
	if dir := os.Getenv(parentVariable); dir != "" && os.Getenv(chtest.ChildVariable) == "" {
		beParent(dir)
	}
	chtest.Main(m)
}

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
