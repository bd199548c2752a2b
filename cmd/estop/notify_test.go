package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	"github.com/estop-project/estop/pipeline/node/nodetest"
	"github.com/estop-project/estop/pipeline/rig"
)

// TestScriptNotify runs the scripts that tell others.
func TestScriptNotify(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script/notify", UpdateScripts: *update, RequireUniqueNames: true, Cmds: commands,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"PORT", "HTTP"} {
				port, err := freeport.Find()
				if err != nil {
					return err
				}
				e.Setenv(name, strconv.Itoa(port))
			}
			path := filepath.Join(e.WorkDir, "sinks.yaml")
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, bytes.ReplaceAll(b, []byte("$PORT"), []byte(e.Getenv("PORT"))), 0o600)
		},
	})
}

// A process that is killed when the receiver has an event and nobody knows: the next one sends it again, with the
// same id, so that the receiver knows it.
func TestAnEventComesAgainWithItsIDAfterAKillInTheMiddle(t *testing.T) {
	var mu sync.Mutex
	var ids []string
	var node *os.Process
	to := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, r.Header.Get("Webhook-Id"))
		if len(ids) == 1 {
			_ = node.Kill() // before it has an answer
		}
	}))
	defer to.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "sinks.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "sinks:\n  - {name: hook, type: webhook, url: %q}\n", to.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	up := func() *exec.Cmd {
		cmd := exec.Command("estop", "up", "--dir", dir, "--http.addr", "", "--notify.file", file, "--detectors.dir", "", "--log.level", "error")
		cmd.Env = nodetest.Environ()
		return cmd
	}
	first := up()
	first.Stderr = t.Output()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	node = first.Process
	mu.Unlock()
	awaitNode(t, dir)
	defer func() { _ = first.Process.Kill() }()
	// A node that is just up may not take a kill yet.
	rig.Await(t, time.Minute, func() error {
		kill := exec.Command("estop", "kill", "--dir", dir, "--tenant", "acme", "--agent", "bot", "--for", "5m", "--wait", "10ms", "--reason", "test")
		kill.Env = nodetest.Environ()
		out, err := kill.CombinedOutput()
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if len(ids) == 0 {
			return fmt.Errorf("nothing came: %v: %s", err, out)
		}
		return nil
	})
	_ = first.Wait()

	second := up()
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = second.Process.Kill()
		_ = second.Wait()
	}()
	rig.Await(t, time.Minute, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(ids) < 2 {
			return fmt.Errorf("%d requests", len(ids))
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if ids[0] != ids[1] || !strings.HasPrefix(ids[0], "revocation-") {
		t.Errorf("the ids are %v", ids)
	}
}

// awaitNode waits until the node in a folder takes connections.
func awaitNode(t *testing.T, dir string) {
	t.Helper()
	rig.Await(t, time.Minute, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
		if err != nil {
			return err
		}
		var e struct{ NATS string }
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.NATS, "nats://"))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
