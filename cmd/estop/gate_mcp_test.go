package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/node/nodetest"
)

// The gate in front of a server over HTTP, as a process: it says where it listens, reads who
// calls, shows its metrics, and ends when it is told to.
func TestTheGateServesHTTPUntilItIsToldToEnd(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	defer upstream.Close()
	dir := t.TempDir()
	keys := exec.Command("estop", "keys", "init", "--dir", dir)
	keys.Env = nodetest.Environ()
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("estop", "gate", "mcp", "--tenant", "acme", "--agent-from", "header:X-Agent", "--fail", "open",
		"--listen", "127.0.0.1:0", "--upstream", upstream.URL, "--http.addr", "127.0.0.1:0",
		"--nats.url", "nats://127.0.0.1:1", "--kafka.brokers", "127.0.0.1:1", "--keys.verifier", filepath.Join(dir, "keys", "verifier.jwks"))
	cmd.Env = nodetest.Environ()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	at := map[string]string{}
	for in := bufio.NewScanner(out); len(at) < 2 && in.Scan(); {
		if m := regexp.MustCompile(`^  (listens|metrics) +(?:http://)?(\S+)$`).FindStringSubmatch(in.Text()); m != nil {
			at[m[1]] = m[2]
		}
	}
	if len(at) < 2 {
		t.Fatalf("it said where it listens: %v", at)
	}
	for agent, want := range map[string]int{"bot": http.StatusOK, "": http.StatusForbidden} {
		r, err := http.NewRequest(http.MethodPost, "http://"+at["listens"]+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Agent", agent)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("agent %q: %s, want %d", agent, resp.Status, want)
		}
	}
	resp, err := http.Get("http://" + at["metrics"])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`estop_gate_calls_total{passed="true",verdict="allow"} 1`, `estop_gate_calls_total{passed="false",verdict="deny"} 1`,
		"estop_gate_calls_cut_total 0", `estop_gate_calls_dropped_total{reason="full"} 0`, "estop_gate_synced 0",
	} {
		if !strings.Contains(string(b), "\n"+want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, b)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// A gate that is killed leaves no server behind that nobody guards.
func TestTheServerDoesNotOutliveAGateThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the server sees its input end, no more")
	}
	dir := t.TempDir()
	keys := exec.Command("estop", "keys", "init", "--dir", dir)
	keys.Env = nodetest.Environ()
	if out, err := keys.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("estop", "gate", "mcp", "--tenant", "acme", "--agent", "bot", "--dir", dir,
		"--nats.url", "nats://127.0.0.1:1", "--kafka.brokers", "127.0.0.1:1", "--", "sh", "-c", "echo $$; exec sleep 1000")
	cmd.Env = nodetest.Environ()
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d runs on", pid)
		}
	}
}
