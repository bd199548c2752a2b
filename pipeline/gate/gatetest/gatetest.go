// Package gatetest gives the tests of gates a real NATS server, guards on it, and a person
// who kills.
package gatetest

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// Tenant is the one whose calls the rig's guards serve.
const Tenant = "acme"

const (
	password = "0123456789abcdef"
	patience = time.Minute
)

// Rig is a NATS server with a client of the detector's account.
type Rig struct {
	t      testing.TB
	dir    string
	port   int
	server *natsd.Server
	signer revoke.Signer
	client *revoke.Client
}

// New starts a server. It ends with the test.
func New(t testing.TB) *Rig {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{t: t, dir: t.TempDir(), port: port}
	if r.signer, err = revoke.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	r.Up()
	t.Cleanup(r.Down)
	nc := r.connect(r.server.DetectorURL())
	if r.client, err = revoke.NewClient(r.ctx(), nc, revoke.ClientOptions{Signer: r.signer, By: "test", Expect: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

// Up starts the server where it was.
func (r *Rig) Up() {
	r.t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: r.dir, Password: password, Port: r.port})
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = s
}

// Down stops the server, if it runs.
func (r *Rig) Down() {
	if r.server != nil {
		r.server.Stop()
		r.server = nil
	}
}

// URL is the server's, for guards.
func (r *Rig) URL() string { return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Verifier verifies what Kill publishes.
func (r *Rig) Verifier() revoke.Verifier { return r.signer.Verifier() }

func (r *Rig) connect(url string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(url, nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

func (r *Rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

// Make makes a guard of the tenant that is not started.
func (r *Rig) Make(change ...func(*guard.Options)) *guard.Guard {
	r.t.Helper()
	o := guard.Options{
		Name: "g", Conn: r.connect(r.URL()), Verifier: r.Verifier(), Tenants: []string{Tenant},
		Poll: 50 * time.Millisecond, FailClosedUntilSynced: true,
	}
	for _, f := range change {
		f(&o)
	}
	g, err := guard.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.Close() })
	return g
}

// Guard starts a guard of the tenant and waits until it is synced.
func (r *Rig) Guard(change ...func(*guard.Options)) *guard.Guard {
	r.t.Helper()
	g := r.Make(change...)
	if err := g.Start(r.ctx()); err != nil {
		r.t.Fatal(err)
	}
	if err := g.WaitSynced(r.ctx()); err != nil {
		r.t.Fatal(err)
	}
	return g
}

// Kill stops a scope of the tenant for an hour and waits until a guard enforces that.
func (r *Rig) Kill(action revoke.Action, scope revoke.Scope, subject string) revoke.Ack {
	r.t.Helper()
	acks, err := r.client.Kill(r.ctx(), revoke.Revocation{
		Tenant: Tenant, Scope: scope, Subject: subject, Action: action,
		Until: time.Now().Add(time.Hour), Reason: "reads what it should not",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return acks[0]
}

// DropStream takes the stream away, so that nothing can be read of what is in force.
func (r *Rig) DropStream() {
	r.t.Helper()
	nc := r.connect(r.server.DetectorURL())
	js, err := jetstream.New(nc)
	if err == nil {
		err = js.DeleteStream(r.ctx(), revoke.Stream)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// Clock is one that tests set.
type Clock struct{ ns atomic.Int64 }

// NewClock returns a clock that stands at the present.
func NewClock() *Clock {
	c := &Clock{}
	c.ns.Store(time.Now().UnixNano())
	return c
}

// Now returns the time of the clock.
func (c *Clock) Now() time.Time { return time.Unix(0, c.ns.Load()) }

// Add moves the clock.
func (c *Clock) Add(d time.Duration) { c.ns.Add(int64(d)) }

// Eventually waits until f gives nil.
func Eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Listen returns a listener on a free port of loopback.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
