package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/estop-project/estop/pipeline/node"
)

// process is a running 'estop up'.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// startNode starts 'estop up' in the demo's folder and waits until it is ready.
func (d *demo) startNode(ctx context.Context) (*process, error) {
	log, err := os.OpenFile(filepath.Join(d.Dir, "estop.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	args := []string{"up", "--dir", d.Dir, "--http.addr", ""}
	if d.LibCHDB != "" {
		args = append(args, "--clickhouse.libchdb", d.LibCHDB)
	}
	p := &process{cmd: exec.Command(d.Binary, args...), log: log, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("cannot start %s: %w", d.Binary, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	if err := d.awaitNode(ctx, p); err != nil {
		p.stop()
		tail, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w; its log ends with:\n%s", err, bytes.TrimSpace(tail[max(0, len(tail)-2000):]))
	}
	return p, nil
}

// awaitNode waits until NATS and ClickHouse of the node answer, or the process has ended.
func (d *demo) awaitNode(ctx context.Context, p *process) error {
	c := node.Default()
	c.Dir = d.Dir
	ended := false
	err := until(ctx, 20*time.Second, "the node is up", func() bool {
		select {
		case err := <-p.done:
			p.done <- err
			ended = true
			return true
		default:
		}
		found, err := c.Find()
		if err != nil {
			return false
		}
		d.config = found
		resp, err := http.Get("http://" + found.ClickHouse.Addr + "/ping")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if err == nil && ended {
		err = errors.New("the node ended")
	}
	return err
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.log.Close()
}

// stop ends the process in good order.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.log.Close()
}

// errLate says that something did not come to be in time.
var errLate = errors.New("waited in vain")

// until waits until ok holds, or says what did not come to be.
func until(ctx context.Context, limit time.Duration, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w for %v: %s", errLate, limit, what)
		case <-tick.C:
		}
	}
	return nil
}
