package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/node/nodetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts' golden files")

// TestMain lets the scripts, and 'estop up' for its engine, run this binary as estop. The
// name that it is called by decides, not the environment, so that no child becomes a test.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"estop": main, "stubborn": stubborn})
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

// TestScript runs the scripts that need no node.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true, Cmds: commands})
}

type commandFunc = func(*testscript.TestScript, bool, []string)

// commands are what the scripts can do beside what testscript offers.
var commands = map[string]commandFunc{"exitcode": exitcode, "until": until}

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
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/script/node", UpdateScripts: *update, RequireUniqueNames: true,
			Setup: func(e *testscript.Env) error {
				e.Setenv("ESTOP_DIR", dir)
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
	all["guard"] = func(ts *testscript.TestScript, _ bool, args []string) { startGuard(ts, c, args) }
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

// until runs a command again and again until its output contains a text: until TEXT COMMAND…
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT COMMAND…")
	}
	deadline := time.Now().Add(30 * time.Second)
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
