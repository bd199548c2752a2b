//go:build linux || darwin

package clickhouse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// inProcess opens the engine inside the test's process.
func inProcess(t *testing.T) *engine {
	t.Helper()
	// The library of the module, as chtest finds it: two imports of one package would cycle.
	path, err := FindLibrary("", "../../../data")
	if errors.Is(err, ErrNoLibrary) && os.Getenv("ESTOP_REQUIRE_LIBCHDB") != "1" {
		t.Skipf("no ClickHouse engine to test with: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	e, err := openEngine(path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func session(t *testing.T, e *engine) *conn {
	t.Helper()
	c, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGoKeepsItsSignalHandlers(t *testing.T) {
	e := inProcess(t)
	for range 3 { // the library resets them at every connect
		c := session(t, e)
		func() {
			defer func() {
				if _, ok := recover().(runtime.Error); !ok {
					t.Error("a nil dereference is no panic")
				}
			}()
			var p *struct{ field int }
			p.field = 1
		}()
		c.close()
	}
}

func TestSQLWithANULByteIsNotCut(t *testing.T) {
	c := session(t, inProcess(t))
	defer c.close()
	answer, _, err := c.exec("SELECT length('a\x00b') + 39", "TSV")
	if err != nil || string(answer) != "42\n" {
		t.Errorf("got %q, %v", answer, err)
	}
	var streamed bytes.Buffer
	if _, err := c.stream("SELECT 'a\x00b' AS s FORMAT RawBLOB", "TSV", &streamed); err != nil || streamed.String() != "a\x00b" {
		t.Errorf("got %q, %v", streamed.String(), err)
	}
}

func TestAStreamIsGivenUpWhenItsReaderFails(t *testing.T) {
	c := session(t, inProcess(t))
	defer c.close()
	broken := errors.New("the client is gone")
	counted, err := c.stream("SELECT number FROM numbers(1e12)", "TSV", failing{broken})
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if counted.readRows > 100_000_000 {
		t.Errorf("%d rows were read for a reader that failed at once", counted.readRows)
	}
	// The connection is free for the next query.
	if answer, _, err := c.exec("SELECT 1", "TSV"); err != nil || string(answer) != "1\n" {
		t.Errorf("got %q, %v", answer, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestConnectionsAreApartFromEachOtherAndRunAtTheSameTime(t *testing.T) {
	e := inProcess(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			c, err := e.connect()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.close()
			for range 20 {
				if _, _, err := c.exec(fmt.Sprintf("SET max_block_size = %d, param_i = '%d'", 1000+i, i), ""); err != nil {
					t.Error(err)
				}
				answer, _, err := c.exec("SELECT getSetting('max_block_size'), {i:UInt8}", "TSV")
				if want := fmt.Sprintf("%d\t%d\n", 1000+i, i); err != nil || string(answer) != want {
					t.Errorf("got %q, %v; want %q", answer, err, want)
				}
			}
		})
	}
	wait.Wait()
}

func TestAClosedEngineRefuses(t *testing.T) {
	e := inProcess(t)
	e.close()
	e.close()
	if _, err := e.connect(); !errors.Is(err, errClosed) {
		t.Errorf("error is %v", err)
	}
}

func TestAFileThatIsNoLibraryIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openEngine(path, t.TempDir()); err == nil {
		t.Error("no error")
	}
}

func TestASpoolKeepsItsBytesWhenItMovesToDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := newSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var want bytes.Buffer
	for i := 0; want.Len() < spoolMemory+1<<20; i++ {
		line := fmt.Appendf(nil, "line %d\n", i)
		want.Write(line)
		if _, err := s.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if !s.disk {
		t.Error("it is still in memory")
	}
	path, err := s.path()
	if err != nil {
		t.Fatal(err)
	}
	named, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(named, want.Bytes()) {
		t.Errorf("by its name it has %d bytes, %v; want %d", len(named), err, want.Len())
	}
	r, n, err := s.whole()
	if err != nil || n != int64(want.Len()) {
		t.Fatalf("it measures %d, %v", n, err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("it reads %d bytes, %v", len(got), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("files with a name are left: %v, %v", left, err)
	}
}
