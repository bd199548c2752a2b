package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// Build builds the binary of estop for one test and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "estop")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/estop-project/estop/cmd/estop").CombinedOutput(); err != nil {
		t.Fatalf("cannot build estop: %v\n%s", err, out)
	}
	return path
}

// Process is an 'estop up' in a process of its own. Its data outlives it.
type Process struct {
	Dir     string
	Journal *Journal // what it logs

	t       testing.TB
	command func() *exec.Cmd
	cmd     *exec.Cmd
	ended   chan error
}

// Up starts 'estop up' with further arguments, and kills it when the test ends.
func Up(t testing.TB, binary string, args ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{Dir: dir, Journal: &Journal{out: t.Output()}, t: t, command: func() *exec.Cmd {
		cmd := exec.Command(binary, append([]string{"up", "--dir", dir, "--http.addr", ""}, args...)...)
		// The agents of these tests are of one tenant, and all go bad: nobody is to be held back.
		cmd.Env = append(os.Environ(), "ESTOP_DETECT_CHECKPOINT=200ms", "ESTOP_INTERLOCK_TARGETS=0", "ESTOP_INTERLOCK_TENANTPERCENT=0")
		return cmd
	}}
	p.Start()
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	return p
}

// Start starts it again, after Kill, on the same data.
func (p *Process) Start() {
	p.t.Helper()
	cmd := p.command()
	cmd.Stderr = p.Journal
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p.cmd, p.ended = cmd, ended
	Await(p.t, time.Minute, func() error {
		select {
		case err := <-ended:
			ended <- err
			p.t.Fatalf("estop ended: %v", err)
		default:
		}
		c, err := p.config()
		if err != nil {
			return err
		}
		client, err := c.ConnectNATS("test", p.Journal.Logger())
		if err == nil {
			client.Close()
		}
		return err
	})
}

// Kill ends it with SIGKILL, as a crash would.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Errorf("estop does not end by %v", sig)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	p.cmd = nil
}

func (p *Process) config() (node.Config, error) {
	c := node.Default()
	c.Dir = p.Dir
	return c.Find()
}

// Config is the configuration that leads to the process.
func (p *Process) Config() node.Config {
	p.t.Helper()
	c, err := p.config()
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// Rig returns a rig of the engines in the process. They keep their addresses when it is
// started again.
func (p *Process) Rig() *Rig {
	p.t.Helper()
	c := p.Config()
	r := &Rig{t: p.t, Brokers: c.Kafka.Brokers, Journal: p.Journal, guests: c.NATS.URL, chOptions: clickhouse.Options{Addr: c.ClickHouse.Addr, Password: c.ClickHouse.Password}}
	var err error
	if r.verifier, err = revoke.LoadVerifier(c.VerifierPath()); err != nil {
		p.t.Fatal(err)
	}
	r.producer = r.client(pipeline.ProducerOptions()...)
	Await(p.t, time.Minute, func() error { return r.producer.Ping(p.t.Context()) })
	return r
}
