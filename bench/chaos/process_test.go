//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/rig"
)

// shell is a process that runs a script of the shell.
func shell(t *testing.T, script string) *process {
	t.Helper()
	p := newProcess(t.TempDir(), "shell", slog.New(slog.NewTextHandler(t.Output(), nil)), func() *exec.Cmd { return exec.Command("sh", "-c", script) })
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// starts counts the lines that the script has written, one at each start.
func starts(t *testing.T, p *process, want int) {
	t.Helper()
	rig.Await(t, time.Minute, func() error {
		raw, err := os.ReadFile(p.log)
		if n := strings.Count(string(raw), "\n"); err != nil || n < want {
			return fmt.Errorf("%d starts of %d (%v)", n, want, err)
		}
		return nil
	})
}

func TestWhatEndsByItselfIsStartedAgain(t *testing.T) {
	p := shell(t, "echo started; exit 3")
	starts(t, p, 2)
	if p.endings() == 0 {
		t.Error("it is not counted that it ended by itself")
	}
}

func TestWhatIsKilledStaysAwayUntilItIsStarted(t *testing.T) {
	p := shell(t, "echo started; exec sleep 600")
	starts(t, p, 1)
	pid := p.pid()
	p.end(syscall.SIGKILL)
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if p.pid() != 0 || p.endings() != 0 {
		t.Errorf("pid %d, and it ended by itself %d times", p.pid(), p.endings())
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	starts(t, p, 2)
	if now := p.pid(); now == 0 || now == pid {
		t.Errorf("after the start its pid is %d", now)
	}
}

func TestAFullDiskTakesNothingUntilThereIsRoomAgain(t *testing.T) {
	dir := t.TempDir()
	file, refused := filepath.Join(dir, "file"), filepath.Join(dir, "refused")
	p := shell(t, "trap '' XFSZ; while :; do date >> "+file+" 2>/dev/null || mkdir -p "+refused+"; sleep 0.01; done")
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	grows := func() {
		t.Helper()
		before := size()
		rig.Await(t, time.Minute, func() error {
			if size() <= before {
				return fmt.Errorf("the file has %d bytes", size())
			}
			return nil
		})
	}
	grows()
	if err := limitFiles(p.pid(), full); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, time.Minute, func() error {
		_, err := os.Stat(refused)
		return err
	})
	if err := limitFiles(p.pid(), -1); err != nil {
		t.Fatal(err)
	}
	grows()
}
