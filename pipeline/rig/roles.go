package rig

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// Plan compiles detectors, one a text.
func Plan(t testing.TB, texts ...string) *detector.Plan {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range texts {
		files[string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

// Role is a role that runs.
type Role struct {
	Metrics *prometheus.Registry

	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func (r *Rig) run(metrics *prometheus.Registry, f func(context.Context) error) *Role {
	ctx, cancel := context.WithCancel(context.Background())
	role := &Role{Metrics: metrics, t: r.t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(role.done)
		role.err = f(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-role.done })
	return role
}

// Wait waits for the role to end and returns its error.
func (r *Role) Wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(time.Minute):
		r.t.Fatal("the role does not end")
		return nil
	}
}

// Stop ends the role in good order.
func (r *Role) Stop() {
	r.t.Helper()
	r.cancel()
	if err := r.Wait(); err != nil {
		r.t.Fatalf("the role ended with %v", err)
	}
}

// Detect is a detect role that runs.
type Detect struct {
	*Role
	*pipeline.Detect
	nats *nats.Conn
}

// Hears waits until the role's connection has been given all that NATS had for it.
func (d *Detect) Hears() {
	d.t.Helper()
	if err := d.nats.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

// Detect starts a process's worth of the detect role: connections, publisher, shards.
func (r *Rig) Detect(plan *detector.Plan, change ...func(*pipeline.Options)) *Detect {
	r.t.Helper()
	nc := r.Connect(r.NATS.DetectorURL())
	o := pipeline.Options{
		Kafka: r.Seeds(), Plan: plan, Signer: &r.Signer,
		CheckpointEvery: 200 * time.Millisecond, Log: r.Journal.Logger(), Registerer: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&o)
	}
	if o.Publisher == nil {
		publisher, err := revoke.NewPublisher(r.t.Context(), nc, revoke.PublisherOptions{Verifier: r.Signer.Verifier(), Interlock: o.Interlock})
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(publisher.Close)
		o.Publisher = publisher
	}
	d, err := pipeline.NewDetect(o)
	if err != nil {
		r.t.Fatal(err)
	}
	metrics, _ := o.Registerer.(*prometheus.Registry)
	return &Detect{r.run(metrics, d.Run), d, nc}
}

// Archive starts the archive role.
func (r *Rig) Archive() *Role {
	r.t.Helper()
	metrics := prometheus.NewRegistry()
	a, err := archive.New(archive.Options{
		Kafka:      append(r.Seeds(), kgo.FetchMaxWait(100*time.Millisecond)),
		ClickHouse: r.ClickHouse(), MaxWait: 200 * time.Millisecond,
		Logger: r.Journal.Logger(), Registerer: metrics,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.run(metrics, a.Run)
}

// Acks starts the role that keeps acknowledgements and the register of guards.
func (r *Rig) Acks(change ...func(*pipeline.AcksOptions)) *Role {
	r.t.Helper()
	nc := r.Connect(r.NATS.DetectorURL())
	producer := r.client(pipeline.ProducerOptions()...)
	metrics := prometheus.NewRegistry()
	o := pipeline.AcksOptions{
		NATS: nc, Kafka: r.Seeds(), Producer: producer, Verifier: r.verifier, Deadline: 5 * time.Second,
		Log: r.Journal.Logger(), Registerer: metrics,
	}
	for _, f := range change {
		f(&o)
	}
	role := r.run(metrics, func(ctx context.Context) error { return pipeline.RunAcks(ctx, o) })
	Await(r.t, 10*time.Second, func() error {
		if all, err := metrics.Gather(); err != nil || len(all) == 0 {
			return fmt.Errorf("the acks role has no metrics yet: %v", err)
		}
		return nil
	})
	return role
}

// Guard starts a guard of all tenants and waits until it is synced.
func (r *Rig) Guard(name string) *guard.Guard {
	r.t.Helper()
	g, err := guard.New(guard.Options{
		Name: name, Conn: r.Connect(r.guests), Verifier: r.verifier, All: true,
		Poll: time.Minute, // so that what is seen to be fast is the message, not the poll
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := g.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.WaitSynced(ctx); err != nil {
		r.t.Fatal(err)
	}
	return g
}

// Metric returns the sum of a metric over its labels.
func (r *Role) Metric(name string) float64 {
	r.t.Helper()
	families, err := r.Metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
