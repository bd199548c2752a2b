package guard

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

const (
	// settle is the first pause between two readings; the next ones double up to Poll. The
	// stream stores a message a little later than core NATS delivers it, so one that was sent
	// just before the subscription may be missing from the first reading.
	settle     = 20 * time.Millisecond
	tickEvery  = 100 * time.Millisecond
	sweepEvery = time.Minute
	startFlush = 10 * time.Second
)

// follow reads the stream at start, after each reconnection, and at least every Poll what is new:
// core NATS may lose a message, the stream does not.
func (g *Guard) follow(ctx context.Context) {
	status := g.o.Conn.StatusChanged(nats.CONNECTED)
	defer g.o.Conn.RemoveStatusListener(status)
	f := follower{g: g, next: make(map[string]uint64)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := settle
	for {
		select {
		case <-ctx.Done():
			return
		case <-status:
			f.again, pause = true, settle
		case <-timer.C:
		}
		for f.interrupted(ctx, status) {
			f.again, pause = true, settle
		}
		timer.Reset(min(pause, g.o.Poll))
		pause = min(2*pause, g.o.Poll)
	}
}

type follower struct {
	g     *Guard
	next  map[string]uint64 // by filter
	again bool              // read all of it: the server may be another one now
}

// interrupted reads, and reports whether a reconnection broke that off: the answer may have
// been lost with the old connection.
func (f *follower) interrupted(ctx context.Context, status <-chan nats.Status) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.read(ctx)
	}()
	select {
	case <-done:
		return false
	case <-status:
		cancel()
		<-done
		return true
	}
}

func (f *follower) read(ctx context.Context) {
	// What is new comes first: it is the end of the stream that matters in a hurry.
	for _, filter := range f.g.filters() {
		if err := f.readFrom(ctx, filter, f.next[filter]); err != nil {
			f.failed(ctx, err)
			return
		}
	}
	if f.again {
		for _, filter := range f.g.filters() {
			if err := f.readFrom(ctx, filter, 1); err != nil {
				f.failed(ctx, err)
				return
			}
		}
		f.again = false
	}
	f.g.read()
}

func (f *follower) readFrom(ctx context.Context, filter string, from uint64) error {
	next, err := revoke.ReadStream(ctx, f.g.o.Conn, filter, from, func(m revoke.StreamMessage) error {
		f.g.take(m.Subject, m.Token, fromStream)
		return nil
	})
	f.next[filter] = next
	return err
}

func (f *follower) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		f.g.counters.readErrors.Add(1)
		f.g.log.Warn("cannot read revocations", "guard", f.g.o.Name, "error", err)
	}
}

// read notes that all there is was read.
func (g *Guard) read() {
	g.lastRead.Store(g.clock().UnixNano())
	g.blocked.And(^(notSynced | stale))
	if !g.Synced() {
		close(g.synced)
		g.log.Info("synced", "guard", g.o.Name, "active", g.set.size.Load())
	}
}

// tick watches how old the knowledge is and sweeps what has ended.
func (g *Guard) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			g.checkStale()
		case <-sweep.C:
			g.set.sweep(g.clock().UnixNano())
		}
	}
}

func (g *Guard) checkStale() {
	if g.o.MaxStale == 0 {
		return
	}
	age := time.Duration(g.clock().UnixNano() - g.lastRead.Load())
	if age <= g.o.MaxStale {
		return
	}
	if g.blocked.Or(stale)&stale == 0 {
		g.log.Error("stale: no word from the stream", "guard", g.o.Name, "age", age)
	}
}
