// Package chtest gives tests a real ClickHouse engine: the one of the embedded default, in a
// child process that is the test binary itself. A test package that uses it needs
//
//	func TestMain(m *testing.M) { chtest.Main(m) }
//
// The library must be in .cache/libchdb of the module (deploy/libchdb/fetch.sh .cache/libchdb)
// or named by ESTOP_LIBCHDB. Without it the tests are skipped, or fail when
// ESTOP_REQUIRE_LIBCHDB is 1.
package chtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
)

// ChildVariable, when set, makes a test binary act as the engine's child process.
const ChildVariable = "ESTOP_TEST_CLICKHOUSE_CHILD"

// readyLimit is how long a test waits for the engine; a busy machine is slow.
const readyLimit = time.Minute

// Main runs the tests, or the engine in a process that was started as its child. It does not
// return.
func Main(m *testing.M) {
	if os.Getenv(ChildVariable) != "" {
		if err := clickhouse.ServeChild(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Start starts an engine on a folder of the test's own and stops it when the test ends. It
// returns when queries are answered.
func Start(t testing.TB) *clickhouse.Server {
	t.Helper()
	return StartWith(t, clickhouse.Options{Dir: t.TempDir()})
}

// StartWith starts an engine with the given options. It searches for the library when
// o.Library is empty, and gives it a folder of the test's own when o.Dir is empty. The
// returned server may be stopped at any time, and another started on the same folder and
// address.
func StartWith(t testing.TB, o clickhouse.Options) *clickhouse.Server {
	t.Helper()
	if o.Library == "" {
		o.Library = Library(t)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatalf("cannot find the test binary: %v", err)
	}
	server, err := clickhouse.Start(context.Background(), clickhouse.StartOptions{
		Options: o,
		Argv:    []string{executable},
		Env:     []string{ChildVariable + "=1"},
	})
	if err != nil {
		t.Fatalf("cannot start the engine: %v", err)
	}
	t.Cleanup(func() { server.Stop() })
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	if err := server.WaitReady(ctx); err != nil {
		t.Fatalf("cannot start the engine: %v (does TestMain call chtest.Main?)", err)
	}
	return server
}

// Library returns the path of libchdb.so, and skips the test, or fails it, when there is none.
func Library(t testing.TB) string {
	t.Helper()
	root, err := sourcetree.Root()
	if err != nil {
		t.Fatal(err)
	}
	path, err := clickhouse.FindLibrary("", filepath.Join(root, "data"))
	switch {
	case err == nil:
		return path
	case errors.Is(err, clickhouse.ErrNoLibrary) && os.Getenv("ESTOP_REQUIRE_LIBCHDB") != "1":
		t.Skipf("no ClickHouse engine to test with: %v", err)
	default:
		t.Fatal(err)
	}
	return ""
}
