package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/pipeline/embedded/faultproxy"
	"github.com/estop-project/estop/revoke/guard"
)

const (
	directGuards = 3
	maxStale     = 5 * time.Second
	askEvery     = 10 * time.Millisecond
)

// gate is a guard that is asked all the time.
type gate struct {
	name  string
	conn  *nats.Conn
	guard *guard.Guard
	spans []check.Span // ended ones
	now   []check.Span // of each suspect; one without a target has not begun
}

// connect opens a connection to servers, which notices soon that one does not answer, and comes back.
func (c *Cluster) connect(urls string) (*nats.Conn, error) {
	nc, err := nats.Connect(urls, nats.Name("chaos"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.IgnoreDiscoveredServers(), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(time.Second))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS: %w", err)
	}
	return nc, nil
}

// openGates starts guards of all tenants that fail closed: some on all servers, and one that knows one server, through a
// proxy.
func (c *Cluster) openGates(ctx context.Context, proxy *faultproxy.Proxy, suspects int) ([]*gate, error) {
	var gates []*gate
	for i := range directGuards + 1 {
		name, urls := fmt.Sprint("direct-", i+1), c.nats.guests()
		if i == directGuards {
			name, urls = "proxied", proxy.URL()
		}
		conn, err := c.connect(urls)
		if err != nil {
			return gates, err
		}
		g, err := guard.New(guard.Options{
			Name: name, Conn: conn, Verifier: c.verifier, All: true, Version: "chaos",
			FailClosedUntilSynced: true, MaxStale: maxStale, Beats: guard.BeatsRequired,
		})
		if err != nil {
			return gates, err
		}
		gates = append(gates, &gate{name: name, conn: conn, guard: g, now: make([]check.Span, suspects)})
		if err := g.Start(ctx); err != nil {
			return gates, err
		}
	}
	for _, g := range gates {
		if err := until(ctx, startLimit, "guard "+g.name+" is synced", g.guard.WaitSynced); err != nil {
			return gates, err
		}
	}
	return gates, nil
}

func (g *gate) close() {
	g.guard.Close()
	g.conn.Close()
}

// ask asks of all suspects until ctx ends. An answer is dated by the moment before the question: what is allowed was
// allowed no earlier.
func (g *gate) ask(ctx context.Context, suspects []Suspect) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		for i := range suspects {
			s := &suspects[i]
			at := time.Now()
			g.note(i, s.Target, at, g.guard.Check(&guard.Call{Tenant: s.Tenant, Agent: s.Agent, Session: s.Session}))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *gate) note(i int, target string, at time.Time, d guard.Decision) {
	answer, id := check.Allowed, ""
	switch {
	case d.Revocation != nil:
		answer, id = check.Denied, d.Revocation.ID
	case d.Verdict != guard.Allow:
		answer = check.Closed
	}
	s := &g.now[i]
	if s.Target == "" || s.Answer != answer || s.Revocation != id {
		if s.Target != "" {
			g.spans = append(g.spans, *s)
		}
		*s = check.Span{Target: target, Answer: answer, Revocation: id, First: at}
	}
	s.Last = at
}

// history is what the guard answered. bound is what the protocol promises of it.
func (g *gate) history(bound time.Duration) check.Guard {
	h := check.Guard{Name: g.name, Bound: bound, Spans: g.spans}
	for _, s := range g.now {
		if s.Target != "" {
			h.Spans = append(h.Spans, s)
		}
	}
	return h
}

// stalls measures by how much this program itself was late at worst: an answer may be so much older than it seems.
type stalls struct {
	mu    sync.Mutex
	worst time.Duration
}

func (s *stalls) watch(ctx context.Context) {
	const every = 5 * time.Millisecond
	for before := time.Now(); sleep(ctx, every); {
		now := time.Now()
		s.mu.Lock()
		s.worst = max(s.worst, now.Sub(before)-every)
		s.mu.Unlock()
		before = now
	}
}

func (s *stalls) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worst
}
