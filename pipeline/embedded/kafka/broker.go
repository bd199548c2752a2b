// Package kafka runs a Kafka broker inside this process, for the embedded default and for tests.
//
// The engine is kfake, franz-go's broker, with a data directory. What kfake lacks for a log of record is added
// around it and nowhere else: recovery after a kill, bounded retention that waits for its readers, and
// compaction that a kill cannot tear. docs/decisions/0002-embedded-kafka.md says what was found and why.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options says how a broker runs. Only Dir is needed.
type Options struct {
	// Dir keeps the log, the committed offsets, topic ids and topic configs over restarts. One broker at a time
	// may use it.
	Dir string
	// Port on 127.0.0.1. With 0 the broker takes the port that Dir remembers from its last run, and at the very
	// first run a free one: clients find it again after a restart.
	Port int
	// Retention bounds what each partition keeps.
	Retention Retention
	// Readers names, for each topic, the consumer groups that must have committed a record before retention may
	// delete it. A group without a commit holds everything back, up to Retention.HardBytes.
	Readers map[string][]string
	// Sync writes each batch and each commit through to the disk before it is acknowledged, so that they survive a
	// loss of power too. Without it they survive the end of the process, by whatever signal.
	Sync bool
	// Logger receives warnings and errors, kfake's own among them. Default: slog.Default().
	Logger *slog.Logger
	// Clock tells the age of records. Default: time.Now. (kfake has its own clock for sessions and transactions.)
	Clock func() time.Time
}

// ErrInUse says that another broker holds the directory.
var ErrInUse = errors.New("directory is in use by another broker")

// Broker is one running broker: one node, on loopback only.
type Broker struct {
	opts    Options
	log     *slog.Logger
	lock    *os.File
	cluster *kfake.Cluster
	addr    string
	client  *kgo.Client // to itself, for retention and compaction
	admin   *kadm.Client

	deletedUnread, compactions atomic.Int64

	// Of the loop that keeps the log bounded alone.
	checkpointed   string
	compactedBytes map[string]int64

	stopLoop context.CancelFunc
	loopDone chan struct{}
	stopOnce sync.Once
	done     chan struct{}
	err      error // valid once done is closed
}

// Stats counts since Start.
type Stats struct {
	// DeletedUnread records were deleted at the hard bound before a reader had committed them.
	DeletedUnread int64
	// Compactions of the topics with cleanup.policy=compact.
	Compactions int64
}

// Start opens or creates the log in opts.Dir and serves it. It returns ErrInUse (wrapped) when another broker, in
// this process or another, holds the directory.
func Start(opts Options) (*Broker, error) {
	opts = opts.withDefaults()
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the broker's directory: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %q: %w", opts.Dir, err)
	}
	b := &Broker{
		opts: opts, log: opts.Logger, lock: lock,
		compactedBytes: make(map[string]int64),
		loopDone:       make(chan struct{}),
		done:           make(chan struct{}),
	}
	if err := b.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stopLoop = cancel
	go func() {
		defer close(b.loopDone)
		b.keepBounded(ctx)
	}()
	return b, nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.Retention = o.Retention.withDefaults()
	return o
}

func (b *Broker) open() error {
	if err := recoverDir(b.opts.Dir); err != nil {
		return err
	}
	port, err := choosePort(b.opts.Dir, b.opts.Port)
	if err != nil {
		return err
	}
	gate := newGate()
	opts := []kfake.Opt{
		kfake.Ports(port),
		kfake.ListenFn(gate.listen),
		kfake.ClusterID("estop-embedded"),
		kfake.DataDir(b.opts.Dir),
		kfake.BrokerConfigs(brokerConfigs(b.opts.Retention)),
		kfake.WithLogger(engineLogger{b.log}),
	}
	if b.opts.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	b.cluster, err = kfake.NewCluster(opts...)
	if err != nil {
		return fmt.Errorf("cannot open the log in %q: %w", b.opts.Dir, err)
	}
	b.addr = b.cluster.ListenAddrs()[0]
	if err := b.prepare(); err != nil {
		b.cluster.Close()
		return err
	}
	gate.open()
	return nil
}

// prepare is what happens before the first client is let in.
func (b *Broker) prepare() error {
	if err := forgetCleanStop(b.opts.Dir); err != nil {
		return err
	}
	if err := b.applyLogStarts(); err != nil {
		return err
	}
	if err := rememberPort(b.opts.Dir, b.addr); err != nil {
		return err
	}
	interceptRequests(b.cluster)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return fmt.Errorf("cannot make a client for the broker: %w", err)
	}
	b.client, b.admin = client, kadm.NewClient(client)
	return nil
}

// Addrs returns the bootstrap addresses, as host:port.
func (b *Broker) Addrs() []string { return []string{b.addr} }

// Stats returns what the broker has counted so far.
func (b *Broker) Stats() Stats {
	return Stats{DeletedUnread: b.deletedUnread.Load(), Compactions: b.compactions.Load()}
}

// Stop writes what is still in memory, closes every connection and frees the directory. It may be called twice.
func (b *Broker) Stop() { b.fail(nil) }

// Done is closed once the broker has ended, by Stop or because it could not go on; Err then says why.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Err returns why the broker ended: nil while it runs and after Stop.
func (b *Broker) Err() error {
	select {
	case <-b.done:
		return b.err
	default:
		return nil
	}
}

func (b *Broker) fail(why error) {
	b.stopOnce.Do(func() {
		b.stopLoop()
		<-b.loopDone
		b.client.Close()
		b.cluster.Close()
		if err := b.lock.Close(); err != nil {
			b.log.Error("cannot free the broker's directory", "err", err)
		}
		b.err = why
		close(b.done)
	})
	<-b.done
}

// brokerConfigs keeps kfake from ever deleting by itself: it would delete what nobody has read yet, and an emptied
// partition starts again at offset 0 after a restart.
func brokerConfigs(r Retention) map[string]string {
	const never = "9000000000000" // ms: 285 years, just below what a time.Duration holds
	return map[string]string{
		"log.retention.ms":          "-1",
		"log.retention.bytes":       "-1",
		"log.cleaner.backoff.ms":    never,
		"offsets.retention.minutes": strconv.Itoa(10 * 365 * 24 * 60),
		"log.segment.bytes":         strconv.FormatInt(r.segmentBytes(), 10),
	}
}

// choosePort returns the wanted port, else the one of the last run if it is free, else 0 for any.
func choosePort(dir string, wanted int) (int, error) {
	if wanted != 0 {
		return wanted, nil
	}
	raw, err := os.ReadFile(portFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read the last port: %w", err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || port < 1 || port > 65535 {
		return 0, nil
	}
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, nil // somebody else has it now
	}
	return port, ln.Close()
}

func rememberPort(dir, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("cannot split %q: %w", addr, err)
	}
	return writeFileAtomic(portFile(dir), []byte(port))
}

func portFile(dir string) string { return filepath.Join(dir, "port") }

// engineLogger hands kfake's warnings and errors on; the rest is noise.
type engineLogger struct{ log *slog.Logger }

func (l engineLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Log(context.Background(), slog.LevelError, fmt.Sprintf(format, args...), "engine", "kfake")
	case kfake.LogLevelWarn:
		l.log.Log(context.Background(), slog.LevelWarn, fmt.Sprintf(format, args...), "engine", "kfake")
	}
}
