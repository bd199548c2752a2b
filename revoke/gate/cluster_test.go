package gate_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// cluster are three NATS servers that keep the stream together: it goes on while two of them live.
type cluster struct {
	servers []*server.Server
	urls    string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	const size = 3
	var ports, routes []string
	for range 2 * size {
		ports = append(ports, strconv.Itoa(gatetest.FreePort(t)))
	}
	for _, port := range ports[size:] {
		routes = append(routes, `"nats://127.0.0.1:`+port+`"`)
	}
	c := &cluster{}
	var urls []string
	for i := range size {
		o := &server.Options{NoSigs: true, NoLog: true}
		err := o.ProcessConfigString(fmt.Sprintf(`server_name: n%d
listen: "127.0.0.1:%s"
jetstream { store_dir: %q }
cluster { name: estop, listen: "127.0.0.1:%s", routes: [%s] }
`, i, ports[i], t.TempDir(), ports[size+i], strings.Join(routes, ", ")))
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		c.servers = append(c.servers, s)
		urls = append(urls, "nats://"+net.JoinHostPort("127.0.0.1", ports[i]))
	}
	c.urls = strings.Join(urls, ",")
	return c
}

func (c *cluster) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(c.urls, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// kill repeats an order until guards have acknowledged it: a cluster that has lost a server chooses another leader first.
func kill(t *testing.T, c *revoke.Client, agent string) {
	t.Helper()
	r := revoke.Revocation{
		Tenant: gatetest.Tenant, Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	}
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = c.Kill(ctx, r)
		cancel()
		if err == nil {
			return
		}
		if errors.Is(err, revoke.ErrInvalid) {
			break
		}
	}
	t.Fatalf("the kill of %s does not land: %v", agent, err)
}

// Two of whatever publishes, three servers, two gates: one of each dies, and a kill lands at the gate that is left.
func TestComplaint14OneOfEachDiesAndAKillStillLands(t *testing.T) {
	c := newCluster(t)
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	client := func() *revoke.Client {
		t.Helper()
		nc := c.connect(t)
		var made *revoke.Client
		gatetest.Eventually(t, func() error { // the cluster has a leader after a while
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var err error
			made, err = revoke.NewClient(ctx, nc, revoke.ClientOptions{Signer: signer, By: "test", Expect: 1, Replicas: 3})
			return err
		})
		t.Cleanup(made.Close)
		return made
	}
	stand := func(name string) (*guard.Guard, ask) {
		t.Helper()
		g, err := guard.New(guard.Options{
			Name: name, Conn: c.connect(t), Verifier: signer.Verifier(), Tenants: []string{gatetest.Tenant},
			Poll: 50 * time.Millisecond, FailClosedUntilSynced: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.WaitSynced(ctx); err != nil {
			t.Fatal(err)
		}
		return g, gates["http"](t, g)
	}
	first, second := client(), client()
	one, throughOne := stand("one")
	_, throughTwo := stand("two")
	kill(t, first, "a")
	for _, send := range []ask{throughOne, throughTwo} {
		gatetest.Eventually(t, func() error {
			if send("a", closedResource) || !send("bot", closedResource) {
				return errors.New("a is not the one that is stopped")
			}
			return nil
		})
	}

	c.servers[0].Shutdown()
	first.Close()
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	kill(t, second, "b")
	if throughTwo("b", closedResource) || throughTwo("a", closedResource) {
		t.Error("a killed agent passes")
	}
	if !throughTwo("bot", closedResource) {
		t.Error("an agent that nobody stopped does not pass")
	}
	_, joined := stand("three") // whoever comes after the fall hears of both
	if joined("a", closedResource) || joined("b", closedResource) || !joined("bot", closedResource) {
		t.Error("who joins late does not know what the cluster keeps")
	}
}
