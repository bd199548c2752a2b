package chaos

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a program that is to run: when it ends by itself it is started again, as a supervisor would.
type process struct {
	name    string
	command func() *exec.Cmd
	log     string // file of what it writes
	journal *slog.Logger

	mu     sync.Mutex
	run    *run // nil: it does not run
	wanted bool
	ends   int // times that it ended by itself
}

// run is one run of the program.
type run struct {
	pid    int
	ended  chan struct{} // closed once it has been waited for
	status error         // set before
}

const (
	stopLimit    = 45 * time.Second
	restartDelay = time.Second
)

func newProcess(dir, name string, journal *slog.Logger, command func() *exec.Cmd) *process {
	return &process{name: name, command: command, log: filepath.Join(dir, name+".log"), journal: journal.With("process", name)}
}

// start starts it, unless it runs.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	return p.begin()
}

func (p *process) begin() error {
	if p.run != nil {
		return nil
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the log of %s: %w", p.name, err)
	}
	cmd := p.command()
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, ownGroup()
	r := &run{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the death signal to the thread that started the process, so the thread must live as long.
		runtime.LockOSThread()
		defer out.Close()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("cannot start %s: %w", p.name, err)
			return
		}
		r.pid = cmd.Process.Pid
		started <- nil
		r.status = cmd.Wait()
		close(r.ended)
		p.gone(r)
	}()
	if err := <-started; err != nil {
		return err
	}
	p.run = r
	return nil
}

// gone starts the program again if nobody wanted it to end.
func (p *process) gone(r *run) {
	p.mu.Lock()
	if p.run != r {
		p.mu.Unlock()
		return
	}
	p.run = nil
	p.ends++
	p.mu.Unlock()
	p.journal.Warn("ended by itself", "status", r.status)
	time.Sleep(restartDelay)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted {
		if err := p.begin(); err != nil {
			p.journal.Error("does not start again", "err", err)
		}
	}
}

// end ends it by a signal and waits until it is gone. One that does not end in time is killed, which is no error: under
// faults it may be waiting for what does not come.
func (p *process) end(sig syscall.Signal) {
	p.mu.Lock()
	r := p.run
	p.run, p.wanted = nil, false
	p.mu.Unlock()
	if r == nil {
		return
	}
	_ = r.signal(sig)
	select {
	case <-r.ended:
		return
	case <-time.After(stopLimit):
	}
	p.journal.Warn("does not end and is killed", "signal", sig, "after", stopLimit)
	_ = r.signal(syscall.SIGKILL)
	<-r.ended
}

// signal sends a signal to the program, if it runs.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return nil
	}
	return p.run.signal(sig)
}

func (r *run) signal(sig syscall.Signal) error {
	if err := syscall.Kill(-r.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot send %v to process %d: %w", sig, r.pid, err)
	}
	return nil
}

// pid returns the id of the program, 0 while it does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return 0
	}
	return p.run.pid
}

func (p *process) endings() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ends
}
