// Package rig runs a whole estop inside a test: Kafka, NATS, ClickHouse, the roles and
// guards, all of them real. A test package that uses it needs
//
//	func TestMain(m *testing.M) { rig.Main(m) }
package rig

import (
	"context"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/pipeline/embedded/kafka"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
)

// Main runs the tests, or the ClickHouse engine in a process that was started as its child.
func Main(m *testing.M) { chtest.Main(m) }

// Options say what a rig consists of.
type Options struct {
	// Brokers are those of a Kafka that runs already; empty starts the embedded one.
	Brokers    []string
	Partitions int32 // of the topics of calls; 0: 4
	ClickHouse bool
}

// Rig is a running Kafka and NATS, and ClickHouse if it was asked for.
type Rig struct {
	Brokers []string
	NATS    *natsd.Server
	Signer  revoke.Signer
	Journal *Journal

	t          testing.TB
	guests     string // the NATS address of guards
	verifier   revoke.Verifier
	clickhouse *clickhouse.Server
	chOptions  clickhouse.Options
	producer   *kgo.Client
	store      ch.Conn
}

const natsPassword = "0123456789abcdef"

// New starts a rig for one test.
func New(t testing.TB, o Options) *Rig {
	t.Helper()
	r := &Rig{t: t, Brokers: o.Brokers, Journal: &Journal{out: t.Output()}}
	if len(r.Brokers) == 0 {
		broker, err := kafka.Start(kafka.Options{Dir: t.TempDir(), Logger: r.Journal.Logger()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(broker.Stop)
		r.Brokers = broker.Addrs()
	}
	var err error
	if r.NATS, err = natsd.Start(natsd.Options{Dir: t.TempDir(), Password: natsPassword}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.NATS.Stop)
	if r.Signer, err = revoke.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	r.guests, r.verifier = r.NATS.URL(), r.Signer.Verifier()
	// The stream is there before the first guard, as in an installation that ran before.
	publisher, err := revoke.NewPublisher(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	r.producer = r.client(pipeline.ProducerOptions()...)
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if err := pipeline.EnsureTopics(t.Context(), r.producer, o.Partitions, 1); err != nil {
		t.Fatal(err)
	}
	if o.ClickHouse {
		r.chOptions = clickhouse.Options{Dir: t.TempDir(), Log: r.Journal.Logger()}
		r.StartClickHouse()
	}
	return r
}

// Seeds are the options of every Kafka client.
func (r *Rig) Seeds() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(r.Brokers...)} }

func (r *Rig) client(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(append(opts, r.Seeds()...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

// Connect returns a NATS connection to url that comes back when it is lost.
func (r *Rig) Connect(url string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(url, nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// StartClickHouse starts ClickHouse, the first time or again after StopClickHouse on the
// same data and address.
func (r *Rig) StartClickHouse() {
	r.t.Helper()
	r.clickhouse = chtest.StartWith(r.t, r.chOptions)
	r.chOptions.Addr = r.clickhouse.Addr()
}

// StopClickHouse ends ClickHouse; its address refuses connections.
func (r *Rig) StopClickHouse() {
	r.t.Helper()
	if err := r.clickhouse.Stop(); err != nil {
		r.t.Fatal(err)
	}
}

// ClickHouse are the options of a client of ClickHouse.
func (r *Rig) ClickHouse() ch.Options {
	return ch.Options{
		Addr: []string{r.chOptions.Addr}, Protocol: ch.HTTP,
		Auth: ch.Auth{Database: "estop", Username: "default", Password: r.chOptions.Password}, DialTimeout: time.Second,
	}
}

// Number returns the one number that a query gives.
func (r *Rig) Number(query string, args ...any) uint64 {
	r.t.Helper()
	n, err := r.number(query, args...)
	if err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (r *Rig) number(query string, args ...any) (n uint64, err error) {
	if r.store == nil {
		o := r.ClickHouse()
		if r.store, err = ch.Open(&o); err != nil {
			return 0, err
		}
		store := r.store
		r.t.Cleanup(func() { store.Close() })
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return n, r.store.QueryRow(ctx, query, args...).Scan(&n)
}

// Await polls until f gives nil.
func Await(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %v", limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
