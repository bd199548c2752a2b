package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// gates are the enforcement points around the fleet, one for each tenant. A call asks its
// gate, is appended to Kafka, and is then in flight for as long as it takes.
type gates struct {
	guards   map[string]*guard.Guard
	nats     *nats.Conn
	producer *kgo.Client
	flights  sync.WaitGroup

	mu       sync.Mutex
	appended map[string]time.Time // by call id: when bad calls were handed to Kafka
	suspects map[string]*suspect  // by agent
	allowed  int
	denied   map[string]int // by agent, or by the bad agent that it acts for
	failed   error
}

// suspect is what the gates saw of an agent that goes bad.
type suspect struct {
	calls       int       // that were let through
	cut         int       // that were cut while in flight
	firstCut    time.Time // of those
	firstDenied time.Time // of the calls that were not let through
}

func openGates(ctx context.Context, c node.Config, tenants []string) (*gates, error) {
	g := &gates{guards: map[string]*guard.Guard{}, appended: map[string]time.Time{}, suspects: map[string]*suspect{}, denied: map[string]int{}}
	var err error
	if g.producer, err = kgo.NewClient(append(pipeline.ProducerOptions(), kgo.SeedBrokers(c.Kafka.Brokers...))...); err != nil {
		return nil, err
	}
	// The guards are guests: they hear revocations and cannot publish any.
	if g.nats, err = nats.Connect(c.NATS.URL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		return nil, fmt.Errorf("cannot connect to NATS: %w", err)
	}
	keys, err := revoke.LoadVerifier(c.VerifierPath())
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		point, err := guard.New(guard.Options{Name: "gate-" + t, Conn: g.nats, Verifier: keys, Tenants: []string{t}})
		if err != nil {
			return nil, err
		}
		if err := point.Start(ctx); err != nil {
			return nil, err
		}
		if err := point.WaitSynced(ctx); err != nil {
			return nil, err
		}
		g.guards[t] = point
	}
	return g, nil
}

func (g *gates) close() {
	for _, point := range g.guards {
		point.Close()
	}
	g.flights.Wait()
	g.producer.Close()
	g.nats.Close()
}

// watch makes the gates remember what they see of an agent.
func (g *gates) watch(agent string) *suspect {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &suspect{}
	g.suspects[agent] = s
	return s
}

// seen returns what was seen of a suspect so far.
func (g *gates) seen(s *suspect) suspect {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *s
}

// call passes one call through the gate of its tenant.
func (g *gates) call(ctx context.Context, c fleet.Call) {
	ctx = context.WithoutCancel(ctx) // the end of the demo ends no call
	point := g.guards[c.Tenant]
	inFlight, flight, decision := point.Begin(ctx, &guard.Call{
		Tenant: c.Tenant, Agent: c.Agent, Identity: c.Identity, Session: c.Session, Chain: c.Chain,
		Resource: c.Resource, Action: c.Action,
	})
	now := time.Now()
	if !g.note(c, decision.Verdict != guard.Deny, now) {
		return
	}
	var tc telemetry.Call
	c.Telemetry(&tc)
	g.producer.Produce(ctx, node.CallRecord(&tc, telemetry.JSON, telemetry.AppendJSON(nil, &tc)), func(_ *kgo.Record, err error) {
		if err != nil {
			g.mu.Lock()
			g.failed = err
			g.mu.Unlock()
		}
	})
	g.flights.Go(func() { g.fly(inFlight, flight, c) })
}

// fly is the call in flight: it ends by itself, or is cut.
func (g *gates) fly(ctx context.Context, flight *guard.InFlight, c fleet.Call) {
	defer flight.End()
	timer := time.NewTimer(c.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		now := time.Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		if s := g.suspects[c.Agent]; s != nil {
			if s.cut == 0 {
				s.firstCut = now
			}
			s.cut++
		}
	}
}

// note writes down what became of a call and returns whether it goes on.
func (g *gates) note(c fleet.Call, allowed bool, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.suspects[c.Agent]
	if !allowed {
		// What an agent does on behalf of a bad one is the bad one's doing.
		by := c.Agent
		for _, member := range c.Chain {
			if g.suspects[member] != nil {
				by = member
			}
		}
		g.denied[by]++
		if s != nil && s.firstDenied.IsZero() {
			s.firstDenied = now
		}
		return false
	}
	g.allowed++
	if s != nil {
		s.calls++
		g.appended[c.ID] = now
	}
	return true
}
