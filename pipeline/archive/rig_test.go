package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// errCrash is what hooks return to end a worker as a crash would.
var errCrash = errors.New("crash")

const partitions = 4

// rig is a Kafka, and the ClickHouse that its topics are archived in.
type rig struct {
	t     testing.TB
	kafka *kfake.Cluster
	admin *kgo.Client
	ch    ch.Options
	store driver.Conn // nil without ClickHouse
	made  int         // calls produced
}

func newKafka(t testing.TB) *rig {
	t.Helper()
	others := Topics()[1:]
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100"}),
		kfake.SeedTopics(partitions, TopicCalls), kfake.SeedTopics(1, others...))
	if err != nil {
		t.Fatalf("cannot start Kafka: %v", err)
	}
	t.Cleanup(cluster.Close)
	admin, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return &rig{t: t, kafka: cluster, admin: admin}
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := newKafka(t)
	r.use(chtest.Start(t).Addr())
	return r
}

// use connects the rig to the ClickHouse at addr.
func (r *rig) use(addr string) {
	r.t.Helper()
	r.ch = ch.Options{
		Addr:        []string{addr},
		Protocol:    ch.HTTP,
		Auth:        ch.Auth{Database: "archive"},
		Compression: &ch.Compression{Method: ch.CompressionLZ4},
		DialTimeout: time.Second,
	}
	if err := Migrate(r.t.Context(), r.ch); err != nil {
		r.t.Fatal(err)
	}
	store, err := ch.Open(&r.ch)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { store.Close() })
	r.store = store
}

func (r *rig) options() Options {
	return Options{
		Kafka:      []kgo.Opt{kgo.SeedBrokers(r.kafka.ListenAddrs()...), kgo.FetchMaxWait(50 * time.Millisecond), kgo.HeartbeatInterval(100 * time.Millisecond)},
		ClickHouse: r.ch,
		MaxWait:    50 * time.Millisecond,
		Logger:     slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
}

// running is an archiver under test.
type running struct {
	*Archiver
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

func (r *rig) start(change func(*Options), hook hooks) *running {
	r.t.Helper()
	options := r.options()
	if change != nil {
		change(&options)
	}
	a, err := New(options)
	if err != nil {
		r.t.Fatal(err)
	}
	a.hooks = hook
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{Archiver: a, t: r.t, cancel: cancel, done: make(chan error, 1)}
	go func() { run.done <- a.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-run.done })
	return run
}

// stop ends the archiver in good order.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.ended(); err != nil {
		r.t.Fatalf("Run: %v", err)
	}
}

// ended waits for Run to return by itself.
func (r *running) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err // for whoever asks again
		return err
	case <-time.After(time.Minute):
		r.t.Fatal("Run does not end")
		return nil
	}
}

// call is the JSON of call n.
func call(n int) []byte {
	return fmt.Appendf(nil, `{"id":"call-%d","ts":"2026-03-0%dT10:00:00.%09dZ","tenant":"t%d","agent":"agent-%d","identity":"role-%d","session":"s%d","chain":["root","agent-%d"],"action":"read","resource":"db/%d","outcome":"%s","latency_ns":1500,"bytes_in":10,"bytes_out":20,"context":{"region":"eu","n":"%d"}}`,
		n, 1+n%9, n, n%3, n%17, n%5, n%100, n%17, n%50, [...]string{"ok", "denied", "error"}[n%3], n)
}

// produce appends n further calls, spread over the partitions, and returns their records.
// change may alter each record before.
func (r *rig) produce(n int, change func(i int, record *kgo.Record)) {
	r.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: TopicCalls, Partition: int32(r.made % partitions), Value: call(r.made)}
		if change != nil {
			change(i, records[i])
		}
		r.made++
	}
	r.send(records...)
}

func (r *rig) send(records ...*kgo.Record) {
	r.t.Helper()
	if err := r.admin.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatalf("cannot produce: %v", err)
	}
}

// waitFor polls until the condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (r *rig) number(query string, arguments ...any) uint64 {
	r.t.Helper()
	var n uint64
	if err := r.store.QueryRow(r.t.Context(), query, arguments...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// caughtUp waits until everything in the topic is committed as stored.
func (r *rig) caughtUp(topic string) {
	r.t.Helper()
	admin := kadm.NewClient(r.admin)
	waitFor(r.t, "the archive of "+topic, func() bool {
		ends, err := admin.ListEndOffsets(r.t.Context(), topic)
		if err != nil {
			r.t.Fatal(err)
		}
		committed := r.committed()
		behind := false
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(end.Topic, end.Partition)
			in, _ := parseIntent(at.Metadata)
			if end.Offset > 0 && (!ok || at.At != end.Offset || in.end >= 0) {
				behind = true
			}
		})
		return !behind
	})
}

// committed returns the group's offsets; none if there is no group yet.
func (r *rig) committed() kadm.OffsetResponses {
	r.t.Helper()
	committed, err := kadm.NewClient(r.admin).FetchOffsets(r.t.Context(), DefaultGroup)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.t.Fatal(err)
	}
	return committed
}

// forget deletes the group, and with it what it has committed.
func (r *rig) forget() {
	r.t.Helper()
	if _, err := kadm.NewClient(r.admin).DeleteGroup(r.t.Context(), DefaultGroup); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.t.Fatal(err)
	}
}

// check says whether each of the calls made is there once, and the edges agree with them.
func (r *rig) check() {
	r.t.Helper()
	r.caughtUp(TopicCalls)
	if n := r.number("SELECT count() FROM calls"); n != uint64(r.made) {
		r.t.Errorf("%d rows of %d calls", n, r.made)
	}
	if n := r.number("SELECT uniqExact(id) FROM calls"); n != uint64(r.made) {
		r.t.Errorf("%d different calls of %d", n, r.made)
	}
	if n := r.number("SELECT uniqExact(partition, offset, part) FROM calls"); n != uint64(r.made) {
		r.t.Errorf("%d different places of %d calls", n, r.made)
	}
	for _, kind := range []string{"resource", "identity", "action", "parent"} {
		if n := r.number("SELECT sum(calls) FROM access_edges WHERE kind = $1", kind); n != uint64(r.made) {
			r.t.Errorf("edges of kind %s count %d of %d calls", kind, n, r.made)
		}
	}
	if a, b := r.number("SELECT countIf(outcome = 'denied') FROM calls"), r.number("SELECT sum(denied) FROM access_edges WHERE kind = 'action'"); a != b {
		r.t.Errorf("%d calls denied, edges say %d", a, b)
	}
}

// intentOf returns the committed offset of a partition and its metadata.
func (r *rig) intentOf(at place) (int64, intent) {
	r.t.Helper()
	offset, ok := r.committed().Lookup(at.topic, at.partition)
	if !ok {
		return -1, intent{end: -1}
	}
	in, err := parseIntent(offset.Metadata)
	if err != nil {
		r.t.Fatal(err)
	}
	return offset.At, in
}

// crashOnce returns a hook that fails the n-th time, and then no more.
func crashOnce(n int32) func(place, int64) error {
	var calls atomic.Int32
	return func(place, int64) error {
		if calls.Add(1) == n {
			return errCrash
		}
		return nil
	}
}

// recreate deletes a topic and makes it again.
func (r *rig) recreate(topic string) {
	r.t.Helper()
	admin := kadm.NewClient(r.admin)
	if _, err := admin.DeleteTopic(r.t.Context(), topic); err != nil {
		r.t.Fatal(err)
	}
	r.admin.PurgeTopicsFromClient(topic)
	if _, err := admin.CreateTopic(r.t.Context(), partitions, 1, nil, topic); err != nil {
		r.t.Fatal(err)
	}
}

// gate makes connections whose writes wait while it is locked.
type gate struct{ sync.RWMutex }

func (g *gate) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, host)
	return gated{conn, g}, err
}

type gated struct {
	net.Conn
	gate *gate
}

func (c gated) Write(p []byte) (int, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	return c.Conn.Write(p)
}
