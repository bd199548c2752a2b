package clickhouse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

// parentVariable makes the test binary a parent that starts an engine, prints the child's
// process id and waits to be killed. It holds the data folder.
const parentVariable = "ESTOP_TEST_CLICKHOUSE_PARENT"

func beParent(dir string) {
	os.Unsetenv(parentVariable) // or the child would be a parent too, without end
	executable, err := os.Executable()
	if err == nil {
		var server *clickhouse.Server
		server, err = clickhouse.Start(context.Background(), clickhouse.StartOptions{
			Options: clickhouse.Options{Dir: dir},
			Argv:    []string{executable},
			Env:     []string{chtest.ChildVariable + "=1"},
		})
		if err == nil {
			err = server.WaitReady(context.Background())
			fmt.Println(server.Pid())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func TestTheChildDoesNotOutliveAParentThatIsKilled(t *testing.T) {
	library := chtest.Library(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(executable)
	parent.Env = append(os.Environ(), parentVariable+"="+t.TempDir(), clickhouse.LibraryVariable+"="+library)
	parent.Stderr = t.Output()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || child == 0 {
		t.Fatalf("the parent printed %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	waitFor(t, "the child to end", func() bool { return !runs(child) })
}

// runs tells whether a process exists and is not a zombie, which only awaits its new parent.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestAnAcknowledgedInsertSurvivesKill9AndARetryCountsOnce(t *testing.T) {
	server := chtest.Start(t)
	addr := server.Addr()
	conn := connect(t, addr)
	mustExec(t, conn, "CREATE TABLE t (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000")
	const batches, rows, kills = 60, 1000, 3
	send := func(number uint64) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		ctx = chgo.Context(ctx, chgo.WithSettings(chgo.Settings{"insert_deduplication_token": fmt.Sprint("batch ", number)}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO t")
		if err != nil {
			return err
		}
		for n := range uint64(rows) {
			if err := batch.Append(number, n); err != nil {
				return err
			}
		}
		return batch.Send()
	}
	killed := make(chan error, kills)
	retries := 0
	for number := range uint64(batches) {
		if number%20 == 10 {
			pid := server.Pid()
			// Killed from beside, so that it meets an insert at any point.
			go func() { killed <- syscall.Kill(pid, syscall.SIGKILL) }()
		}
		limit := time.Now().Add(time.Minute)
		for err := send(number); err != nil; err = send(number) {
			if retries++; time.Now().After(limit) {
				t.Fatalf("batch %d: %v", number, err)
			}
		}
	}
	for range kills {
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
	}
	if got := queryCount(t, conn, "SELECT count() FROM t"); got != batches*rows {
		t.Errorf("%d rows, want %d", got, batches*rows)
	}
	if got := queryCount(t, conn, "SELECT uniqExact(batch, n) FROM t"); got != batches*rows {
		t.Errorf("%d different rows, want %d", got, batches*rows)
	}
	if server.Starts() != kills+1 {
		t.Errorf("the child was started %d times, want %d", server.Starts(), kills+1)
	}
	if server.Addr() != addr {
		t.Errorf("the address moved from %s to %s", addr, server.Addr())
	}
	t.Logf("%d sends were repeated", retries)
}

func TestAStoppedServerRefusesAndStartsAgainWithItsData(t *testing.T) {
	options := clickhouse.Options{Dir: t.TempDir()}
	server := chtest.StartWith(t, options)
	options.Addr = server.Addr()
	pid := server.Pid()
	mustExec(t, connect(t, options.Addr), "CREATE TABLE t ENGINE = MergeTree ORDER BY n AS SELECT number AS n FROM numbers(100)")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if runs(pid) {
		t.Error("the child runs after Stop")
	}
	if conn, err := net.Dial("tcp", options.Addr); err == nil {
		conn.Close()
		t.Error("the address is open after Stop")
	}
	if state, _ := server.State(); state != clickhouse.Stopped {
		t.Errorf("the state is %s", state)
	}
	if err := server.WaitReady(deadline(t)); err == nil {
		t.Error("a stopped server gets ready")
	}
	again := chtest.StartWith(t, options)
	if again.Addr() != options.Addr {
		t.Errorf("the address is %s, want %s", again.Addr(), options.Addr)
	}
	if got := queryCount(t, connect(t, again.Addr()), "SELECT count() FROM t"); got != 100 {
		t.Errorf("%d rows after the restart, want 100", got)
	}
	if err := errors.Join(server.Stop(), again.Stop(), again.Stop()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

func TestClientsWaitWhileTheChildRestarts(t *testing.T) {
	server := chtest.Start(t)
	conn := connect(t, server.Addr())
	if err := conn.Ping(deadline(t)); err != nil {
		t.Fatal(err)
	}
	pid := server.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the child to be gone", func() bool { return server.Pid() != pid })
	// A new connection is not refused: it is answered when the next child is there.
	if got := mustAsk(t, server, "", "SELECT 1"); got != "1\n" {
		t.Errorf("got %q", got)
	}
}

func TestStopEndsAQueryThatRuns(t *testing.T) {
	server := chtest.Start(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ask(t, server, "", "SELECT count() FROM numbers(1e18) WHERE sipHash64(number) = 1")
	}()
	waitFor(t, "the query to run", func() bool {
		return mustAsk(t, server, "", "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%processes%'") == "1\n"
	})
	began := time.Now()
	server.Stop()
	if took := time.Since(began); took > 14*time.Second {
		t.Errorf("Stop took %v: the child was killed, not ended", took)
	}
	<-ended
}

func TestAFolderBelongsToOneEngine(t *testing.T) {
	first := chtest.Start(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	second, err := clickhouse.Start(deadline(t), clickhouse.StartOptions{
		Options: clickhouse.Options{Dir: first.Dir(), Library: chtest.Library(t)},
		Argv:    []string{executable},
		Env:     []string{chtest.ChildVariable + "=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop()
	waitFor(t, "the second engine to give up", func() bool { _, err := second.State(); return err != nil })
	if _, err := second.State(); !strings.Contains(err.Error(), "is another process using it?") {
		t.Errorf("the second says %v", err)
	}
	if got := mustAsk(t, first, "", "SELECT 1"); got != "1\n" {
		t.Errorf("the first answers %q", got)
	}
	// When the first lets go, the second takes over by itself.
	first.Stop()
	if err := second.WaitReady(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestAMissingLibraryIsAnErrorOfItsOwn(t *testing.T) {
	t.Setenv(clickhouse.LibraryVariable, "")
	t.Chdir(t.TempDir())
	missing := filepath.Join(t.TempDir(), "libchdb.so")
	for _, o := range []clickhouse.Options{{Dir: "data"}, {Dir: "data", Library: missing}, {Dir: "data", Library: t.TempDir()}} {
		_, err := clickhouse.Start(t.Context(), clickhouse.StartOptions{Options: o, Argv: []string{"/nowhere"}})
		if !errors.Is(err, clickhouse.ErrNoLibrary) || !strings.Contains(err.Error(), "deploy/libchdb/fetch.sh") {
			t.Errorf("%+v: %v", o, err)
		}
		if err := clickhouse.Serve(t.Context(), o); !errors.Is(err, clickhouse.ErrNoLibrary) {
			t.Errorf("Serve %+v: %v", o, err)
		}
	}
}

func TestTheLibraryIsFoundBesideTheDataAndWhereItIsNamed(t *testing.T) {
	t.Setenv(clickhouse.LibraryVariable, "")
	t.Chdir(t.TempDir())
	root := t.TempDir()
	library := filepath.Join(root, ".cache", "libchdb", "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(library), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(explicit, dir, variable string) {
		t.Helper()
		t.Setenv(clickhouse.LibraryVariable, variable)
		if got, err := clickhouse.FindLibrary(explicit, dir); err != nil || got != library {
			t.Errorf("FindLibrary(%q, %q) is %q, %v; want %q", explicit, dir, got, err, library)
		}
	}
	f(library, "", "")
	f("", "", library)
	f("", root, "")
	f("", filepath.Join(root, "estop-data"), "")
	t.Chdir(root)
	f("", "", "")
	t.Setenv(clickhouse.LibraryVariable, filepath.Join(root, "other.so"))
	if got, err := clickhouse.FindLibrary("", ""); err == nil {
		t.Errorf("a named library that is missing is passed over for %q", got)
	}
}

func TestADatabaseWithoutAPasswordStaysOnThisMachine(t *testing.T) {
	library := chtest.Library(t)
	_, err := clickhouse.Start(t.Context(), clickhouse.StartOptions{
		Options: clickhouse.Options{Dir: t.TempDir(), Library: library, Addr: "0.0.0.0:0"},
		Argv:    []string{"/nowhere"},
	})
	if err == nil || !strings.Contains(err.Error(), "without a password") {
		t.Errorf("listening everywhere without a password: %v", err)
	}
}

func TestAConfigurationInTheWorkingFolderIsNotRead(t *testing.T) {
	library := chtest.Library(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.xml", []byte("<clickhouse><timezone>Asia/Tokyo</timezone></clickhouse>"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := chtest.StartWith(t, clickhouse.Options{Library: library, Settings: map[string]string{"max_threads": "3"}, MaxMemory: 2 << 30})
	got := mustAsk(t, server, "", "SELECT serverTimezone() = 'Asia/Tokyo', getSetting('max_threads'), (SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage')")
	if got != "0\t3\t2147483648\n" {
		t.Errorf("got %q", got)
	}
}

func TestACommandThatIsNoEngineIsStartedAgainWithPauses(t *testing.T) {
	library := chtest.Library(t)
	server, err := clickhouse.Start(t.Context(), clickhouse.StartOptions{
		Options: clickhouse.Options{Dir: t.TempDir(), Library: library},
		Argv:    []string{"/bin/sh", "-c", "echo it cannot >&2; exit 3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "three starts", func() bool { return server.Starts() >= 3 })
	if _, err := server.State(); err == nil || !strings.Contains(err.Error(), "exit status 3: it cannot") {
		t.Errorf("the state says %v", err)
	}
	began := time.Now()
	server.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Stop took %v", took)
	}
}
