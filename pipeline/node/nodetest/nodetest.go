// Package nodetest runs 'estop up' as a process of its own, for tests of what people do
// with it.
package nodetest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/node"
)

// Limits of a start and an end. They are generous: a busy machine is slow.
const (
	startLimit = 60 * time.Second
	stopLimit  = 60 * time.Second
)

// Start starts cmd, which must be an 'estop up' that keeps its data in dir, and waits until
// its engines take connections. It returns the configuration that leads to it. When the test
// ends the process gets SIGTERM; the test fails unless it then ends well.
func Start(t testing.TB, cmd *exec.Cmd, dir string) node.Config {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "estop.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start the node: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { stop(t, cmd.Process, ended, log) })

	c := node.Default()
	c.Dir = dir
	deadline := time.Now().Add(startLimit)
	for {
		found, err := c.Find()
		if err == nil {
			return found
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the node ended at once: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is not up after %v: %v", startLimit, err)
		}
	}
}

func stop(t testing.TB, p *os.Process, ended chan error, log *os.File) {
	defer log.Close()
	var err error
	if signal := p.Signal(syscall.SIGTERM); signal != nil && !errors.Is(signal, os.ErrProcessDone) {
		t.Error(signal)
	}
	select {
	case err = <-ended:
	case <-time.After(stopLimit):
		t.Errorf("the node did not end within %v of SIGTERM", stopLimit)
		_ = p.Kill()
		err = <-ended
	}
	if err != nil || t.Failed() {
		b, _ := os.ReadFile(log.Name())
		t.Logf("the node's log ends with:\n%s", bytes.TrimSpace(b[max(0, len(b)-4000):]))
	}
	if err != nil {
		t.Errorf("the node ended with: %v", err)
	}
}

// Library returns the path of libchdb for a module's root folder, or "" if it is not there.
func Library(root string) string {
	path, err := clickhouse.FindLibrary("", filepath.Join(root, "data"))
	if err != nil {
		return ""
	}
	return path
}

// Environ returns this process's environment without the variables that configure estop, so
// that a test does not depend on who runs it.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, node.EnvPrefix) })
}
