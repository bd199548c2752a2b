package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is one run of the broker.
type process struct {
	pid    int
	exited chan struct{} // closed once the process has been waited for
}

// startProcess runs a command in its own process group, its output appended to logPath.
func startProcess(cmd *exec.Cmd, logPath string) (*process, error) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the broker's log: %w", err)
	}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, ownGroup()
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the death signal to the thread that started the process, so the thread must live as long.
		runtime.LockOSThread()
		defer close(p.exited)
		defer out.Close()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("cannot start the broker: %w", err)
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // a killed broker's status says nothing
	}()
	return p, <-started
}

// signal sends sig to the process group.
func (p *process) signal(sig syscall.Signal) error {
	if err := syscall.Kill(-p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot signal the broker: %w", err)
	}
	return nil
}
