// Package kafkatest runs a real Apache Kafka broker for integration tests: one node in KRaft combined mode, on
// loopback, from the jars of Maven Central.
//
// A test that needs a broker of its own (to kill it) calls Start; the others share one by Shared, with topics named
// apart:
//
//	func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }
//
// Without java, or without the jars and mvn, tests skip; ESTOP_REQUIRE_KAFKA=1 makes that a failure.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
)

const (
	startLimit = 90 * time.Second // a cold start on a busy machine, log recovery included
	stopLimit  = 30 * time.Second
	clusterID  = "ZXN0b3Ata2Fma2F0ZXN0LQ" // a base64 UUID, as StorageTool wants it
)

// Cluster is one Apache Kafka node and its data.
type Cluster struct {
	java, libs, dir string
	addr            string

	mu  sync.Mutex
	run *process
}

// Start runs a broker for this test alone, waits until it serves, and stops it when the test ends.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c, err := newCluster(t.TempDir())
	if err != nil {
		skipOrFail(t, err)
	}
	t.Cleanup(func() {
		if err := c.stop(syscall.SIGKILL); err != nil { // nobody needs its data any more
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the broker's last words:\n%s", c.logTail())
		}
	})
	return c
}

func skipOrFail(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errMissing) && os.Getenv("ESTOP_REQUIRE_KAFKA") != "1" {
		t.Skipf("%v (set ESTOP_REQUIRE_KAFKA=1 to make this a failure)", err)
	}
	t.Fatal(err)
}

func newCluster(dir string) (*Cluster, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: no java in PATH", errMissing)
	}
	libs, err := findJars()
	if err != nil {
		return nil, err
	}
	broker, err := freeport.Find()
	if err != nil {
		return nil, err
	}
	controller, err := freeport.Find()
	if err != nil {
		return nil, err
	}
	c := &Cluster{java: java, libs: libs, dir: dir, addr: "127.0.0.1:" + strconv.Itoa(broker)}
	text := properties(broker, controller, filepath.Join(dir, "data"))
	if err := os.WriteFile(c.config(), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the broker's configuration: %w", err)
	}
	if out, err := c.command("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", c.config()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot format the broker's storage: %w: %s", err, out)
	}
	return c, c.start()
}

// Brokers returns the bootstrap addresses. They stay the same over Kill, Stop and Restart.
func (c *Cluster) Brokers() []string { return []string{c.addr} }

// Kill ends the broker with SIGKILL, as a crash would, and waits until it is gone.
func (c *Cluster) Kill(t testing.TB) { c.mustStop(t, syscall.SIGKILL) }

// Stop ends the broker in good order.
func (c *Cluster) Stop(t testing.TB) { c.mustStop(t, syscall.SIGTERM) }

func (c *Cluster) mustStop(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := c.stop(sig); err != nil {
		t.Fatal(err)
	}
}

// Restart starts the broker again on its data and addresses, after Stop or Kill, and waits until it serves.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run != nil {
		return errors.New("the broker runs already")
	}
	run, err := startProcess(c.command("kafka.Kafka", c.config()), c.logPath())
	if err != nil {
		return err
	}
	if err := waitReady(c.addr, run.exited); err != nil {
		_ = run.signal(syscall.SIGKILL)
		<-run.exited
		return fmt.Errorf("%w; its last words:\n%s", err, c.logTail())
	}
	c.run = run
	return nil
}

func (c *Cluster) stop(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil {
		return nil
	}
	run := c.run
	c.run = nil
	if err := run.signal(sig); err != nil {
		return err
	}
	select {
	case <-run.exited:
		return nil
	case <-time.After(stopLimit):
	}
	_ = run.signal(syscall.SIGKILL)
	<-run.exited
	return fmt.Errorf("the broker did not stop within %v and was killed", stopLimit)
}

// command runs a class of Kafka. The flags trade peak speed for a quick start and little memory.
func (c *Cluster) command(class string, args ...string) *exec.Cmd {
	flags := []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(c.libs, "*"), class}
	cmd := exec.Command(c.java, append(flags, args...)...)
	cmd.Dir = c.dir
	return cmd
}

// waitReady returns once the controller has admitted the broker, which is when metadata lists it.
func waitReady(addr string, exited <-chan struct{}) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DialTimeout(time.Second), kgo.RequestRetries(0))
	if err != nil {
		return fmt.Errorf("cannot make a client for the broker: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	deadline := time.After(startLimit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-exited:
			return errors.New("the broker ended before it served")
		case <-deadline:
			return fmt.Errorf("the broker did not serve within %v", startLimit)
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		brokers, err := adm.ListBrokers(ctx)
		cancel()
		if err == nil && len(brokers) == 1 {
			return nil
		}
	}
}

func (c *Cluster) config() string  { return filepath.Join(c.dir, "server.properties") }
func (c *Cluster) logPath() string { return filepath.Join(c.dir, "broker.log") }

// logTail returns the end of what the broker wrote.
func (c *Cluster) logTail() []byte {
	const limit = 4 << 10
	raw, err := os.ReadFile(c.logPath())
	if err != nil {
		return []byte(err.Error())
	}
	return raw[max(0, len(raw)-limit):]
}
