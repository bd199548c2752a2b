package mcp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// drain bounds how long the last words of a server that has ended are waited for.
const drain = time.Second

// process is a server and all that it has started.
type process struct {
	cmd     *exec.Cmd
	in, out *os.File // our ends of its standard input and output

	sent    syscall.Signal // the last one
	closing sync.Once
	closed  chan struct{} // its input is closed
	silent  chan struct{} // its output has ended; closed by whoever reads it
	exited  chan struct{}
}

// start starts the server in a process group of its own, so that none of it is left behind.
func start(o Stdio) (*process, error) {
	p := &process{cmd: exec.Command(o.Argv[0], o.Argv[1:]...), closed: make(chan struct{}), silent: make(chan struct{}), exited: make(chan struct{})}
	in, toServer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start MCP server: %w", err)
	}
	defer in.Close()
	fromServer, out, err := os.Pipe()
	if err != nil {
		toServer.Close()
		return nil, fmt.Errorf("cannot start MCP server: %w", err)
	}
	defer out.Close()
	p.in, p.out = toServer, fromServer
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Env = in, out, o.Env
	if o.Err != nil {
		p.cmd.Stderr = o.Err
	}
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		toServer.Close()
		fromServer.Close()
		return nil, fmt.Errorf("cannot start MCP server: %w", err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // ProcessState says how it ended
	}()
	return p, nil
}

// closeInput tells the server that there is no more to do.
func (p *process) closeInput() {
	p.closing.Do(func() {
		p.in.Close()
		close(p.closed)
	})
}

// wait waits until the server ends, and makes it end once ctx ends or its input is closed:
// first by a closed input, then by SIGTERM, then by SIGKILL. It returns the exit code; a server
// that died of a signal of the gate did what it was told, and that is 0.
func (p *process) wait(ctx context.Context, grace time.Duration) int {
	hurry := ctx.Done()
	select {
	case <-p.exited:
	case <-p.closed:
	case <-hurry:
		hurry = nil // it has its time from now on
		p.closeInput()
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if p.ends(grace, hurry) {
			break
		}
		p.sent, hurry = s, nil
		p.signal(s)
	}
	<-p.exited
	p.closeInput()
	within(drain, p.silent)   // unless something that it started holds its output
	p.signal(syscall.SIGKILL) // what it has started and left
	within(drain, p.silent)   // unless the client does not read
	p.out.Close()
	return p.code()
}

// ends waits until the server has ended or must hurry, and reports whether it has ended.
func (p *process) ends(limit time.Duration, hurry <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	case <-hurry:
	}
	return false
}

// within waits for done, and reports whether it came in time.
func within(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

func (p *process) code() int {
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		if s.Signal() == p.sent {
			return 0
		}
		return 128 + int(s.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// signal signals the server and all of its group. There may be nobody left to hear it.
func (p *process) signal(s syscall.Signal) { _ = signalGroup(p.cmd.Process, s) }
