package policy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke/gate/policy"
)

// writer is a log that tests read while it is written.
type writer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func TestAnEditIsLiveAndABrokenOneIsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log writer
	write("a.cedar", "permit (principal, action, resource);")
	l, err := policy.LoadLive(dir, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go l.Watch(ctx, time.Millisecond)
	until := func(allowed bool, refused uint64) {
		t.Helper()
		gatetest.Eventually(t, func() error {
			if s := l.Stats(); l.Authorize(request()).Allowed != allowed || s.Refused < refused || s.Wrong != (refused > 0) {
				return fmt.Errorf("allowed is not %v, or of %+v", allowed, s)
			}
			return nil
		})
	}
	until(true, 0)
	write("b.cedar", "forbid (principal, action, resource);")
	until(false, 0)
	write("b.cedar", "\nforbid (principal, action);")
	until(false, 1)
	if !strings.Contains(log.String(), "b.cedar:2:") {
		t.Errorf("the log does not say where: %s", log.String())
	}
	for _, name := range []string{"a.cedar", "b.cedar"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	until(false, 2) // no policy at all is a mistake too, and opens nothing
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	until(false, 2) // said once, unless the watch saw the folder between the two removals
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write("a.cedar", "permit (principal, action, resource);")
	until(true, 0)
}

func TestALiveSetMustBeRightAtFirst(t *testing.T) {
	for _, name := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := policy.LoadLive(name, nil, nil); err == nil {
			t.Errorf("%s is loaded", name)
		}
	}
}
