package gatetest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
)

// Program returns the path of a proxy: in the folder that ESTOP_PROXIES names, in
// .cache/proxies of the module, where deploy/proxies/fetch.sh puts it, or in PATH. Without it
// the test is skipped.
func Program(t testing.TB, name string) string {
	t.Helper()
	folders := []string{os.Getenv("ESTOP_PROXIES")}
	for dir, err := os.Getwd(); err == nil; dir = filepath.Dir(dir) {
		if _, found := os.Stat(filepath.Join(dir, "go.mod")); found == nil {
			folders = append(folders, filepath.Join(dir, ".cache", "proxies"))
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, folder := range folders {
		if path := filepath.Join(folder, name); folder != "" {
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path
			}
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s: 'make proxies' installs it", name)
	}
	return path
}

// FreePort returns a port of loopback for a program that must know its own.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Run starts a program and waits until it takes connections on a port of loopback. It is
// killed when the test ends.
func Run(t testing.TB, port int, argv ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &out
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(argv[0]), &out)
		}
	})
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended at once", argv[0])
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s takes no connection: %v", argv[0], err)
		}
	}
}

// File writes a file into a folder of the test's own and returns its path.
func File(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
