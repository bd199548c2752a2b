package guard

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/estop-project/estop/revoke"
)

// DefaultReport is how often a guard reports unless Options say otherwise.
const DefaultReport = 10 * time.Second

const (
	minReport = 10 * time.Millisecond
	// byeWait bounds how long the last report may take to leave.
	byeWait = 250 * time.Millisecond
	// maxFirst is how many first denials may wait to be told. What is past it is not told, and counted
	// as acknowledgements that failed: a call never waits for the telling.
	maxFirst = 1024
)

// reporter tells the register of guards about this one.
type reporter struct {
	every time.Duration // negative: never
	start string
	next  uint64
	first chan *entry // denied a call, the first one; nil: nobody is told
}

func (p *reporter) init(o Options) {
	if p.every = o.Report; p.every == 0 {
		p.every = DefaultReport
	}
	p.start = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	if p.every > 0 {
		p.every = min(max(p.every, minReport), revoke.MaxReportEvery)
		p.first = make(chan *entry, maxFirst)
	}
}

// report says hello, that the guard goes on, and in the end bye; and between, which revocation has
// denied its first call.
func (g *Guard) report(ctx context.Context) {
	g.say(revoke.Hello)
	t := time.NewTicker(g.reporter.every)
	defer t.Stop()
	synced := g.synced
	for {
		select {
		case <-ctx.Done():
			g.say(revoke.Bye)
			g.leave()
			return
		case <-synced:
			synced = nil // told at once, not only with the next report
			g.say(revoke.Here)
		case <-t.C:
			g.say(revoke.Here)
		case e := <-g.reporter.first:
			g.tellFirst(e)
		}
	}
}

// leave gives the last report the time to go.
func (g *Guard) leave() {
	if !g.o.Conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), byeWait)
	defer cancel()
	// Where it fails, the register notices that no more reports come.
	_ = g.o.Conn.FlushWithContext(ctx)
}

func (g *Guard) say(kind revoke.ReportKind) {
	b, err := json.Marshal(g.describe(kind))
	if err == nil {
		err = g.o.Conn.Publish(revoke.GuardSubject(g.o.Name), b)
	}
	if err != nil && kind != revoke.Bye {
		g.log.Warn("cannot report", "guard", g.o.Name, "error", err)
	}
}

func (g *Guard) describe(kind revoke.ReportKind) revoke.Report {
	p, c := &g.reporter, &g.counters
	r := revoke.Report{
		Kind: kind, Guard: g.o.Name, Start: p.start, Number: p.next, At: g.clock(), Every: p.every, Version: g.o.Version,
		Synced: g.Synced(), Stale: g.blocked.Load()&stale != 0, Age: max(0, g.pulse.age(g.since())), MaxStale: g.o.MaxStale,
		Fails: g.failMode(), InFlight: int(c.inFlight.Load()),
	}
	p.next++
	r.Serve(g.o.All, slices.Sorted(maps.Keys(g.tenants)))
	digest, held, sequence := g.pulse.holds(r.At.Unix())
	r.Digest, r.Held, r.Sequence = hex.EncodeToString(digest[:]), held, sequence
	r.Counts = revoke.Counts{
		Applied: c.applied.Load(), Cancelled: c.cancelled.Load(), Errors: c.ackErrors.Load() + c.readErrors.Load(),
	}
	r.Counts.Allowed, r.Counts.Throttled, r.Counts.Restricted, r.Counts.Denied = c.decisions()
	for i := range c.refused {
		r.Counts.Refused += c.refused[i].Load()
	}
	r.Counts.Missed = g.pulse.missedSoFar()
	return r
}

func (g *Guard) failMode() revoke.FailMode {
	switch {
	case g.o.FailClosed != nil || g.o.StaleLimit != nil:
		return revoke.FailsByClass
	case g.o.MaxStale > 0:
		return revoke.FailsClosed
	}
	return revoke.FailsOpen
}

// holds returns what the guard knows the stream to hold, and up to where.
func (p *pulse) holds(asOf int64) (revoke.Digest, uint64, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.ledger.At(asOf)
	if !ok {
		return revoke.Digest{}, 0, p.located
	}
	digest, n := v.All()
	return digest, n, p.located
}

func (p *pulse) missedSoFar() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missed
}

// deniedFirst notes that e has denied a call, the first one, and leaves the telling to another goroutine.
// The caller has seen that none was noted, so this happens once for each revocation.
func (g *Guard) deniedFirst(e *entry) {
	if g.reporter.first == nil || !e.denied.CompareAndSwap(0, g.clock().UnixNano()) {
		return
	}
	select {
	case g.reporter.first <- e:
	default:
		g.counters.ackErrors.Add(1)
	}
}

// tellFirst reports when a revocation was seen to hold. It waits for what is being put in force: a call
// may be denied while those in flight are still being cancelled, and whoever hears of it must not take
// that for the end of it.
func (g *Guard) tellFirst(e *entry) {
	g.enforcing.Lock()
	at := time.Unix(0, e.denied.Load())
	g.enforcing.Unlock()
	b, err := json.Marshal(revoke.Ack{
		Revocation: e.rev.ID, Guard: g.o.Name, Tenant: e.rev.Tenant, AppliedAt: at, Latency: at.Sub(e.rev.IssuedAt), FirstDenied: at,
	})
	if err == nil {
		err = g.o.Conn.Publish(revoke.AckSubject(g.o.Name), b)
	}
	if err != nil {
		g.counters.ackErrors.Add(1)
		g.log.Error("cannot tell of the first denied call", "guard", g.o.Name, "revocation", e.rev.ID, "error", err)
	}
}
