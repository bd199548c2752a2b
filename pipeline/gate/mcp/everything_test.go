package mcp_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// everything returns the script of @modelcontextprotocol/server-everything, a public MCP server,
// in the version that testdata pins. It is installed once, into the cache of the repository.
func everything(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, to run an MCP server that others wrote", program)
		}
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "everything", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
		sum.Write(b)
	}
	cache, err := filepath.Abs("../../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(cache, "mcp-everything", hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(home); err != nil {
		install(t, home, files)
	}
	return filepath.Join(home, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
}

// install has npm install a package beside its place, and moves it there whole.
func install(t *testing.T, home string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(home), "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(work, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot install the server: %v\n%s", err, out)
	}
	if err := os.Rename(work, home); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(home); there != nil {
			t.Fatal(err)
		}
	}
}

// A public server, written by others in another language, and a client that knows nothing of
// estop: its agent is stopped in the middle of a call.
func TestAPublicServerIsStoppedInTheMiddleOfACall(t *testing.T) {
	script := everything(t)
	for name, connect := range map[string]func(*testing.T, *rig, *sdk.ClientOptions) *sdk.ClientSession{
		"stdio": func(_ *testing.T, r *rig, o *sdk.ClientOptions) *sdk.ClientSession {
			return r.stdioOf(o, mcp.Stdio{Argv: []string{"node", script, "stdio"}})
		},
		"http": func(t *testing.T, r *rig, o *sdk.ClientOptions) *sdk.ClientSession {
			return dial(t, r.listen("http://"+serveEverything(t, script), mcp.Identify(names, headers))+"/mcp", o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var steps atomic.Int64
			began := make(chan struct{}, 100)
			r := newRig(t)
			c := connect(t, r, &sdk.ClientOptions{ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) {
				steps.Add(1)
				began <- struct{}{}
			}})
			stopInTheMiddle(t, r, c, began, &steps)
		})
	}
}

func stopInTheMiddle(t *testing.T, r *rig, c *sdk.ClientSession, began chan struct{}, steps *atomic.Int64) {
	echo := func() (*sdk.CallToolResult, error) {
		return c.CallTool(t.Context(), &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "hello"}})
	}
	if _, err := c.ListTools(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if res, err := echo(); err != nil || res.Content[0].(*sdk.TextContent).Text != "Echo: hello" {
		t.Fatalf("%v, %v", res, err)
	}
	failed := make(chan error, 1)
	go func() {
		p := &sdk.CallToolParams{Name: "trigger-long-running-operation", Arguments: map[string]any{"duration": 20, "steps": 400}, Meta: sdk.Meta{}}
		p.SetProgressToken("steps")
		_, err := c.CallTool(t.Context(), p)
		failed <- err
	}()
	<-began
	killed := time.Now()
	ack := r.kill(revoke.Revoke)
	if s := wantStopped(t, <-failed); !s.Cut || s.Revocation != ack.Revocation || ack.Cancelled != 1 {
		t.Errorf("got %+v, acknowledged as %+v", s, ack)
	}
	if took := time.Since(killed); took > 5*time.Second {
		t.Errorf("it took %v to cut the call", took)
	} else {
		t.Logf("the kill was acknowledged and the client had the error after %v", took)
	}
	_, err := echo()
	if s := wantStopped(t, err); s.Cut || s.Reason != "reads what it should not" {
		t.Errorf("got %+v", s)
	}
	// The server's tool goes on counting; the client hears nothing of it.
	time.Sleep(50 * time.Millisecond)
	heard := steps.Load()
	time.Sleep(300 * time.Millisecond)
	if now := steps.Load(); now != heard {
		t.Errorf("the client heard of %d steps after the call was cut", now-heard)
	}
	calls := r.reported(3)
	if got := calls[1]; got.Outcome != telemetry.OutcomeDenied || string(got.Resource) != "mcp://tools/trigger-long-running-operation" {
		t.Errorf("reported %s of %s", got.Outcome, got.Resource)
	}
	r.release()
	if _, err := echo(); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// serveEverything starts the server over streamable HTTP and returns its address.
func serveEverything(t *testing.T, script string) string {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script, "streamableHttp")
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr := net.JoinHostPort("localhost", strconv.Itoa(port))
	eventually(t, "the server listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}
