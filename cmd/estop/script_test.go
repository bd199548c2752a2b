package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/node/nodetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts' golden files")

// TestMain lets the scripts, and 'estop up' for its engine, run this binary as estop. The
// name that it is called by decides, not the environment, so that no child becomes a test.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"estop": main, "stubborn": stubborn, "sql": sql})
}

// stubborn is a command whose end takes for ever.
func stubborn() {
	cmd := &cobra.Command{RunE: func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal(cmd)
		defer stop()
		fmt.Println("works")
		<-ctx.Done()
		fmt.Println("ends")
		time.Sleep(time.Hour)
		return nil
	}}
	cmd.SetArgs(nil)
	_ = cmd.ExecuteContext(context.Background())
}

// sql prints the answer of the node's ClickHouse to a query.
func sql() {
	resp, err := http.Post("http://default:"+os.Getenv("CLICKHOUSE_PASSWORD")+"@"+os.Getenv("CLICKHOUSE")+"/?database=estop", "text/plain", strings.NewReader(os.Args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		os.Exit(1)
	}
}

// TestScript runs the scripts that need no node.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true, Cmds: commands})
}

type commandFunc = func(*testscript.TestScript, bool, []string)

// commands are what the scripts can do beside what testscript offers.
var commands = map[string]commandFunc{
	"exitcode": exitcode, "until": until, "gate": startGate, "service": startService, "http": askHTTP, "envoy": askEnvoy,
}

// exitcode runs a command and wants its exit code: exitcode CODE COMMAND…
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if args[0] != fmt.Sprint(code) {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// TestScriptNode runs the scripts that talk to a node: one 'estop up' for all of them. It
// runs without libchdb too; what needs ClickHouse asks for [libchdb].
func TestScriptNode(t *testing.T) {
	dir := t.TempDir()
	library := nodetest.Library("../..")
	cmd := exec.Command("estop", "up", "--dir", dir, "--http.addr", "127.0.0.1:0")
	cmd.Env = nodetest.Environ()
	if library != "" {
		cmd.Env = append(cmd.Env, "ESTOP_CLICKHOUSE_LIBCHDB="+library)
	}
	c := nodetest.Start(t, cmd, dir)
	t.Run("an interrupted replay", func(t *testing.T) { testInterruptedReplay(t, c, dir) })
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/script/node", UpdateScripts: *update, RequireUniqueNames: true,
			Setup: func(e *testscript.Env) error {
				e.Setenv("ESTOP_DIR", dir)
				e.Setenv("KAFKA", c.Kafka.Brokers[0])
				e.Setenv("CLICKHOUSE", c.ClickHouse.Addr)
				e.Setenv("CLICKHOUSE_PASSWORD", c.ClickHouse.Password)
				e.Setenv("LIBCHDB", library)
				return nil
			},
			Condition: func(name string) (bool, error) {
				if name == "libchdb" {
					return library != "", nil
				}
				return false, fmt.Errorf("unknown condition %q", name)
			},
			Cmds: withGuard(c),
		})
	})
}

func withGuard(c node.Config) map[string]commandFunc {
	all := maps.Clone(commands)
	all["token"], all["flip"], all["readid"] = token, flip, readID
	all["guard"] = func(ts *testscript.TestScript, _ bool, args []string) { startGuard(ts, c, args) }
	all["deaf"] = func(ts *testscript.TestScript, _ bool, args []string) { registerDeaf(ts, c, args) }
	return all
}

// startGuard starts a guard that serves a tenant until the script ends: guard NAME TENANT.
func startGuard(ts *testscript.TestScript, c node.Config, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: guard NAME TENANT")
	}
	keys, err := revoke.LoadVerifier(c.VerifierPath())
	ts.Check(err)
	nc, err := nats.Connect(c.NATS.URL)
	ts.Check(err)
	ts.Defer(nc.Close)
	g, err := guard.New(guard.Options{Name: args[0], Conn: nc, Verifier: keys, Tenants: []string{args[1]}})
	ts.Check(err)
	ts.Check(g.Start(context.Background()))
	ts.Defer(func() { ts.Check(g.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ts.Check(g.WaitSynced(ctx))
}

// registerDeaf registers a guard that hears nothing and so confirms nothing: deaf NAME TENANT.
func registerDeaf(ts *testscript.TestScript, c node.Config, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: deaf NAME TENANT")
	}
	nc, err := nats.Connect(c.NATS.URL)
	ts.Check(err)
	ts.Defer(nc.Close)
	say := func(kind revoke.ReportKind, number uint64) {
		b, err := json.Marshal(revoke.Report{
			Kind: kind, Guard: args[0], Start: "1", Number: number, Every: time.Minute, Tenants: args[1:], Synced: true, Fails: revoke.FailsOpen,
		})
		ts.Check(err)
		ts.Check(nc.Publish(revoke.GuardSubject(args[0]), b))
		ts.Check(nc.Flush())
	}
	say(revoke.Hello, 0)
	ts.Defer(func() { say(revoke.Bye, 1) })
}

// token writes the token of the JSON that the last command printed to a file: token FILE.
func token(ts *testscript.TestScript, _ bool, args []string) {
	var out struct {
		Token string `json:"token"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &out))
	if out.Token == "" {
		ts.Fatalf("no token")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.Token+"\n"), 0o600))
}

// readID puts the id of the revocation in a file, as kill printed it as JSON, into a variable: readid FILE NAME.
func readID(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: readid FILE NAME")
	}
	var out node.Stopped
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &out))
	ts.Setenv(args[1], out.Revocation.ID)
}

// flip copies a file with one bit flipped: flip IN OUT BYTE. A negative byte counts from the end.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: flip IN OUT BYTE")
	}
	b := []byte(ts.ReadFile(args[0]))
	i, err := strconv.Atoi(args[2])
	ts.Check(err)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

// testInterruptedReplay interrupts a replay that waits for its input.
func testInterruptedReplay(t *testing.T, c node.Config, dir string) {
	cmd := exec.Command("estop", "replay", "--dir", dir, "-")
	cmd.Env = nodetest.Environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	fmt.Fprintln(in, `{"ts":"2026-01-01T00:00:00Z","tenant":"interrupted","agent":"a"}`)
	awaitCall(t, c, "interrupted/a")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitSignal || stderr.String() != "estop: interrupted after 1 calls\n" {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// awaitCall waits until Kafka holds a call with the key.
func awaitCall(t *testing.T, c node.Config, key string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...), kgo.ConsumeTopics(pipeline.TopicCalls))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for r := range cl.PollFetches(ctx).RecordsAll() {
			if string(r.Key) == key {
				return
			}
		}
	}
	t.Fatalf("no call of %s in Kafka", key)
}

// until runs a command again and again until its output contains a text: until TEXT COMMAND…
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT COMMAND…")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if bytes.Contains([]byte(ts.ReadFile("stdout")), []byte(args[0])) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %q in the output of %v: %v", args[0], args[1:], err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestASecondSignalEndsWhatDoesNotEnd(t *testing.T) {
	cmd := exec.Command("stubborn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for _, want := range []string{"works\n", "ends\n"} {
		line := make([]byte, len(want))
		if _, err := out.Read(line); err != nil || string(line) != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want the signal", cmd.ProcessState)
	}
}
