package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
)

// shared is the broker that the tests of one binary have in common.
var shared struct {
	mu      sync.Mutex
	inMain  bool
	cluster *Cluster
	err     error
	dir     string
}

// Main runs the tests and then ends the shared broker, if a test asked for it. TestMain exits with what it returns.
func Main(m *testing.M) int {
	shared.mu.Lock()
	shared.inMain = true
	shared.mu.Unlock()

	code := m.Run()

	shared.mu.Lock()
	defer shared.mu.Unlock()
	if err := endShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Shared returns the broker that all tests of this binary share, started at the first call. TestMain must call Main.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.inMain {
		t.Fatal("kafkatest.Shared needs a TestMain that calls kafkatest.Main")
	}
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = startShared()
	}
	if shared.err != nil {
		skipOrFail(t, shared.err)
	}
	return shared.cluster
}

func startShared() (*Cluster, error) {
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		return nil, fmt.Errorf("cannot create a folder for the broker: %w", err)
	}
	shared.dir = dir
	return newCluster(dir)
}

func endShared() error {
	var stopped error
	if shared.cluster != nil {
		stopped = shared.cluster.stop(syscall.SIGKILL)
	}
	return errors.Join(stopped, os.RemoveAll(shared.dir))
}
