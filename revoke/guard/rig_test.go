package guard_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "0123456789abcdef"

// rig is a real server with a client of the detector's account.
type rig struct {
	t      testing.TB
	dir    string
	port   int
	server *natsd.Server
	signer revoke.Signer
	client *revoke.Client
	nc     *nats.Conn // the detector's
}

func newRig(t testing.TB, expect int) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), port: freePort(t)}
	r.startServer()
	t.Cleanup(func() { r.server.Stop() })
	var err error
	if r.signer, err = revoke.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	r.nc = r.connect(r.server.DetectorURL())
	r.client, err = revoke.NewClient(r.ctx(), r.nc, revoke.ClientOptions{Signer: r.signer, By: "test", Expect: expect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (r *rig) startServer() {
	r.t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: r.dir, Password: password, Port: r.port})
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = s
}

func (r *rig) connect(url string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(url, nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

// guard starts a guard of its own connection and waits until it is synced.
func (r *rig) guard(name string, change ...func(*guard.Options)) *guard.Guard {
	r.t.Helper()
	o := guard.Options{
		Name: name, Conn: r.connect(r.server.URL()), Verifier: r.signer.Verifier(), All: true,
		Poll: 50 * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	g, err := guard.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := g.Start(r.ctx()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.Close() })
	if err := g.WaitSynced(r.ctx()); err != nil {
		r.t.Fatal(err)
	}
	return g
}

// kill sends a revocation of agent in tenant for an hour, changed by change.
func (r *rig) kill(tenant, agent string, change ...func(*revoke.Revocation)) []revoke.Ack {
	r.t.Helper()
	acks, err := r.client.Kill(r.ctx(), target(tenant, agent, change...))
	if err != nil {
		r.t.Fatal(err)
	}
	return acks
}

func target(tenant, agent string, change ...func(*revoke.Revocation)) revoke.Revocation {
	rev := revoke.Revocation{
		Tenant: tenant, Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke,
		Until: time.Now().Add(time.Hour), Reason: "test",
	}
	for _, f := range change {
		f(&rev)
	}
	return rev
}

func scope(s revoke.Scope) func(*revoke.Revocation) {
	return func(r *revoke.Revocation) { r.Scope = s }
}

func action(a revoke.Action) func(*revoke.Revocation) {
	return func(r *revoke.Revocation) { r.Action = a }
}

// eventually waits until f gives nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func call(tenant, agent string) *guard.Call { return &guard.Call{Tenant: tenant, Agent: agent} }

func wantVerdict(t *testing.T, g *guard.Guard, c *guard.Call, want guard.Verdict) {
	t.Helper()
	if got := g.Check(c); got.Verdict != want {
		t.Fatalf("Check(%+v) = %v (%s), want %v", *c, got.Verdict, got.Reason, want)
	}
}

func becomes(g *guard.Guard, c *guard.Call, want guard.Verdict) func() error {
	return func() error {
		if got := g.Check(c); got.Verdict != want {
			return fmt.Errorf("Check(%+v) = %v (%s), want %v", *c, got.Verdict, got.Reason, want)
		}
		return nil
	}
}

// clock is a clock that tests set.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

func revokeKey(t testing.TB) revoke.Signer {
	t.Helper()
	s, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) deleteStream() error {
	js, err := jetstream.New(r.nc)
	if err != nil {
		return err
	}
	return js.DeleteStream(r.ctx(), revoke.Stream)
}
