package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

const (
	detects    = 2
	archives   = 2
	partitions = 6

	startLimit = 4 * time.Minute // of a whole tier, on a busy machine
)

// Cluster is an installation of estop on this machine.
type Cluster struct {
	self    string // this program, which runs servers too
	estop   string // the binary
	dir     string // all data
	logs    string
	journal *slog.Logger

	kafka      *kafkaCluster
	nats       *natsCluster
	clickhouse string // address
	verifier   revoke.Verifier
	tiers      map[string][]*process
}

// newCluster lays an installation out in a folder; nothing runs yet.
func newCluster(estop, dir string, journal *slog.Logger) (*Cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	c := &Cluster{self: self, estop: estop, dir: dir, logs: filepath.Join(dir, "logs"), journal: journal, tiers: map[string][]*process{}}
	if err := os.MkdirAll(c.logs, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of logs: %w", err)
	}
	if c.kafka, err = c.newKafka(); err != nil {
		return nil, err
	}
	if c.nats, err = c.newNATS(); err != nil {
		return nil, err
	}
	port, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	c.clickhouse = loopback(port[0])
	c.tiers[tierKafka], c.tiers[tierNATS] = c.kafka.processes, c.nats.processes
	c.tiers[tierClickHouse] = []*process{newProcess(c.logs, tierClickHouse, journal, func() *exec.Cmd {
		return exec.Command(c.self, childClickHouse, filepath.Join(dir, "clickhouse"), c.clickhouse)
	})}
	return c, c.newRoles()
}

// newRoles lays out the processes of estop itself.
func (c *Cluster) newRoles() error {
	home := filepath.Join(c.dir, "estop")
	config := node.Default()
	config.Dir = home
	if err := config.MakeKeys(); err != nil {
		return err
	}
	var err error
	if c.verifier, err = revoke.LoadVerifier(config.VerifierPath()); err != nil {
		return err
	}
	detectors := filepath.Join(home, "detectors")
	if err := os.CopyFS(detectors, detectorFiles()); err != nil {
		return fmt.Errorf("cannot write the detectors: %w", err)
	}
	environ := append(os.Environ(),
		"ESTOP_KEYS_SIGNER="+config.SignerPath(), "ESTOP_KEYS_VERIFIER="+config.VerifierPath(), "ESTOP_HTTP_ADDR=", "ESTOP_DETECTORS_CATALOG=false", "ESTOP_DETECTORS_DIR="+detectors,
		"ESTOP_KAFKA_BROKERS="+strings.Join(c.kafka.addrs, ","), "ESTOP_KAFKA_REPLICAS=3", "ESTOP_KAFKA_PARTITIONS="+strconv.Itoa(partitions),
		"ESTOP_NATS_URL="+c.nats.guests(), "ESTOP_NATS_PASSWORD="+natsPassword, "ESTOP_NATS_REPLICAS=3",
		"ESTOP_CLICKHOUSE_ADDR="+c.clickhouse,
		// So many agents go bad here that the interlock would hold most of the stops back.
		"ESTOP_INTERLOCK_TARGETS=0", "ESTOP_INTERLOCK_TENANTPERCENT=0",
	)
	for tier, n := range map[string]int{tierDetect: detects, tierArchive: archives, tierAcks: 1} {
		for _, name := range numbered(tier, n) {
			c.tiers[tier] = append(c.tiers[tier], newProcess(c.logs, name, c.journal, func() *exec.Cmd {
				cmd := exec.Command(c.estop, "run", "--role", tier)
				// As on machines of their own: what a process keeps on disk may be long out of date when it needs it again.
				cmd.Env = append(slices.Clone(environ), "ESTOP_DIR="+filepath.Join(c.dir, name))
				return cmd
			}))
		}
	}
	return nil
}

// start starts the servers and then the roles, and waits until each tier answers.
func (c *Cluster) start(ctx context.Context) error {
	for _, tier := range []string{tierKafka, tierNATS, tierClickHouse} {
		if err := c.startTier(tier); err != nil {
			return err
		}
	}
	for what, ready := range map[string]func(context.Context) error{"Kafka": c.kafkaReady, "NATS": c.natsReady, "ClickHouse": c.clickhouseReady} {
		if err := until(ctx, startLimit, what+" is there", ready); err != nil {
			return err
		}
	}
	for _, tier := range []string{tierDetect, tierArchive, tierAcks} {
		if err := c.startTier(tier); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startTier(tier string) error {
	for _, p := range c.tiers[tier] {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) kafkaReady(ctx context.Context) error {
	cl, err := kgo.NewClient(append(c.kafka.seeds(), kgo.RequestRetries(0), kgo.DialTimeout(time.Second))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	all, err := kadm.NewClient(cl).ListBrokers(ctx)
	if err == nil && len(all) < brokers {
		err = fmt.Errorf("%d of %d brokers", len(all), brokers)
	}
	return err
}

// natsReady waits until the servers have a leader, which making the stream takes too.
func (c *Cluster) natsReady(ctx context.Context) error {
	for i := range natsServers {
		nc, err := c.connect(c.nats.detectorURL(i))
		if err != nil {
			return err
		}
		defer nc.Close()
		p, err := revoke.NewPublisher(ctx, nc, revoke.PublisherOptions{Replicas: natsServers})
		if err != nil {
			return err
		}
		p.Close()
	}
	return nil
}

func (c *Cluster) clickhouseReady(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.clickhouse)
	if err != nil {
		return err
	}
	return conn.Close()
}

// all are the processes, servers first.
func (c *Cluster) all() []*process {
	var all []*process
	for _, tier := range []string{tierKafka, tierNATS, tierClickHouse, tierDetect, tierArchive, tierAcks} {
		all = append(all, c.tiers[tier]...)
	}
	return all
}

// named returns the processes of a tier, or the one of a name.
func (c *Cluster) named(target string) []*process {
	if tier, ok := c.tiers[target]; ok {
		return tier
	}
	return slices.DeleteFunc(c.all(), func(p *process) bool { return p.name != target })
}

// heal makes all processes run unhindered.
func (c *Cluster) heal() error {
	var errs []error
	for _, p := range c.all() {
		errs = append(errs, p.signal(syscall.SIGCONT), p.start())
		if limited(p.name) {
			errs = append(errs, limitFiles(p.pid(), -1))
		}
	}
	return errors.Join(errs...)
}

// stop ends everything at once; nobody needs the data any more.
func (c *Cluster) stop() {
	for _, p := range slices.Backward(c.all()) {
		p.end(syscall.SIGKILL)
	}
}

// endings counts the times that processes ended by themselves.
func (c *Cluster) endings() map[string]int {
	ends := map[string]int{}
	for _, p := range c.all() {
		if n := p.endings(); n > 0 {
			ends[p.name] = n
		}
	}
	return ends
}

// errLate says that something did not come to be in time.
var errLate = errors.New("waited in vain")

// until polls until f gives nil.
func until(ctx context.Context, limit time.Duration, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		one, done := context.WithTimeout(ctx, 20*time.Second)
		err := f(one)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w for %v until %s: %w", errLate, limit, what, err)
		}
	}
}
