package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

const (
	// settle is the first pause between two readings; the next ones double up to Poll. The
	// stream stores a message a little later than core NATS delivers it, so one that was sent
	// just before the subscription may be missing from the first reading.
	settle     = 20 * time.Millisecond
	minTick    = 5 * time.Millisecond
	maxTick    = 100 * time.Millisecond
	sweepEvery = time.Minute
	startFlush = 10 * time.Second
	// Readings wait so long for each message before they are given up and begun anew.
	minAnswer = 50 * time.Millisecond
	maxAnswer = 2 * time.Second
	// maxJitter bounds for how long guards spread their readings when all of them hear the same.
	maxJitter = 250 * time.Millisecond
	// maxBackoff is after how many intervals a reading from the start is repeated at last, where
	// it does not bring what heartbeats tell of.
	maxBackoff = 32
)

var errSilent = errors.New("no answer")

// follow reads the stream at start, after each reconnection, and when heartbeats tell of more than
// came over core NATS, which may lose a message. Without heartbeats it reads at least every Poll.
func (g *Guard) follow(ctx context.Context) {
	status := g.o.Conn.StatusChanged(nats.CONNECTED)
	defer g.o.Conn.RemoveStatusListener(status)
	f := follower{g: g, next: make(map[string]uint64)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-status:
			f.reconnected(ctx)
		case <-g.pulse.wake:
			f.pause = 0
			f.wait(ctx)
		case <-timer.C:
			if g.Synced() && g.pulse.calm() && !g.rekeyed.Load() {
				f.again = false
				timer.Reset(g.o.Poll)
				continue
			}
		}
		for f.interrupted(ctx, status) {
			f.reconnected(ctx)
		}
		f.pause = min(max(2*f.pause, settle), g.o.Poll)
		timer.Reset(f.pause)
	}
}

type follower struct {
	g     *Guard
	next  map[string]uint64 // by filter
	again bool              // read all of it: the server may be another one now
	first time.Duration     // but not before: a heartbeat may say that it need not be
	pause time.Duration     // to the next reading

	backoff time.Duration // to the next reading from the start that a heartbeat asks for
	notYet  time.Duration // until when there is none
}

// reconnected makes sure that all is read again. Where heartbeats count, the next one says whether
// that is needed: a thousand guards that lost one server must not all read everything.
func (f *follower) reconnected(ctx context.Context) {
	f.again, f.pause, f.first = true, 0, 0
	if interval, ok := f.g.pulse.beating(); ok {
		f.g.pulse.doubt()
		f.wait(ctx)
		f.first = f.g.since() + interval + interval/2
	}
}

// wait spreads over a part of the interval what a thousand guards do at the same heartbeat.
func (f *follower) wait(ctx context.Context) {
	interval, _ := f.g.pulse.beating()
	t := time.NewTimer(rand.N(min(interval/4, maxJitter) + 1))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// interrupted reads, and reports whether a reconnection broke that off: the answer may have
// been lost with the old connection.
func (f *follower) interrupted(ctx context.Context, status <-chan nats.Status) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.read(ctx); err != nil {
			f.failed(ctx, err)
		}
		// Where the reading failed, too: what is on disk waits.
		_ = f.g.verifyAll(ctx)
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

func (f *follower) read(ctx context.Context) error {
	p, began := &f.g.pulse, f.g.since()
	beat, issued := p.latest()
	// What is new comes first: it is the end of the stream that matters in a hurry.
	for _, filter := range f.g.filters() {
		if err := f.readFrom(ctx, filter, f.next[filter]); err != nil {
			return err
		}
	}
	if rekeyed := f.g.rekeyed.Swap(false); rekeyed || f.again && began >= f.first || p.anew() {
		if err := f.readAll(ctx); err != nil {
			if rekeyed {
				f.g.rekeyed.Store(true) // what the keys before have refused is still to be read
			}
			return err
		}
	}
	f.g.read(began)
	if err := f.g.verifyAll(ctx); err != nil || beat == nil {
		return err
	}
	switch p.settle(beat, issued) {
	case same:
		f.backoff = 0
	case differs:
		return f.resync(ctx, began, beat, issued)
	}
	return nil
}

// resync reads everything because a reading of what is new did not bring what a heartbeat tells of.
func (f *follower) resync(ctx context.Context, now time.Duration, beat *revoke.Beat, issued time.Duration) error {
	if now < f.notYet {
		return nil
	}
	p := &f.g.pulse
	p.count(&p.resyncs)
	err := f.readAll(ctx)
	if err == nil && p.settle(beat, issued) == same {
		f.backoff = 0
		return nil
	}
	if err == nil {
		p.count(&p.diverged)
		f.g.log.Error("the stream does not hold what the heartbeats tell of", "guard", f.g.o.Name,
			"publisher", beat.Publisher, "sequence", beat.Sequence)
	}
	f.backoff = min(max(2*f.backoff, beat.Interval), maxBackoff*beat.Interval)
	f.notYet = f.g.since() + f.backoff/2 + rand.N(f.backoff)
	return err
}

// readAll reads the stream from its start. What it finds takes the place of what was thought to be
// there; what is in force stays so.
func (f *follower) readAll(ctx context.Context) error {
	p := &f.g.pulse
	// What waits from before is of no reading from the start.
	if err := f.g.verifyAll(ctx); err != nil {
		return err
	}
	p.begin()
	for _, filter := range f.g.filters() {
		if err := f.readFrom(ctx, filter, 1); err != nil {
			p.abandon()
			return err
		}
	}
	if err := f.g.verifyAll(ctx); err != nil {
		p.abandon()
		return err
	}
	p.finish()
	f.again = false
	return nil
}

func (f *follower) readFrom(ctx context.Context, filter string, from uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	interval, _ := f.g.pulse.beating()
	patience := min(max(interval, minAnswer), maxAnswer)
	silent := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer silent.Stop()
	takers := takers{g: f.g}
	next, err := revoke.ReadStream(ctx, f.g.o.Conn, filter, from, func(m revoke.StreamMessage) error {
		takers.take(m)
		silent.Reset(patience)
		return nil
	})
	takers.wait()
	f.next[filter] = next
	if err != nil && context.Cause(ctx) == errSilent {
		return errSilent
	}
	return err
}

func (f *follower) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		f.g.counters.readErrors.Add(1)
		f.g.log.Warn("cannot read revocations", "guard", f.g.o.Name, "error", err)
	}
}

// read notes that all there is was read, by a reading that began at a time.
func (g *Guard) read(began time.Duration) {
	g.pulse.known(began)
	g.checkStale()
	if g.open() {
		g.log.Info("synced", "guard", g.o.Name, "active", g.set.size.Load(), "to_verify", g.unverified.left.Load())
	}
}

// open ends that calls fail closed because nothing was read, and reports whether this was the first reading.
func (g *Guard) open() bool {
	g.aging.Lock()
	defer g.aging.Unlock()
	g.blocked.And(^notSynced)
	if g.Synced() {
		return false
	}
	close(g.synced)
	return true
}

// shut makes calls fail closed until all is read, if it was not read yet.
func (g *Guard) shut() {
	g.aging.Lock()
	defer g.aging.Unlock()
	if !g.Synced() {
		g.blocked.Or(notSynced)
	}
}

// complete reports whether all that the stream held was read and is in force.
func (g *Guard) complete() bool { return g.Synced() && g.unverified.none() }

// latest returns the latest heartbeat, or nil, and when it was issued.
func (p *pulse) latest() (*revoke.Beat, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beat, p.issued
}

// anew reports whether heartbeats tell of another stream, or of an older copy of the one that was read.
func (p *pulse) anew() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beat != nil && (p.beat.Stream.After(p.stream) || p.aheads >= patience)
}

// doubt says that what is known is to be confirmed by another heartbeat.
func (p *pulse) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missing = true
}

// begin says that the stream is being read from its start.
func (p *pulse) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh, p.reached = revoke.NewLedger(), 0
}

func (p *pulse) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh = nil
}

// finish puts what was read in the place of what was thought to be in the stream.
func (p *pulse) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger, p.fresh, p.located = p.fresh, nil, p.reached
	p.aheads = 0
	if p.beat != nil && p.beat.Stream.After(p.stream) {
		p.stream, p.covered = p.beat.Stream, 0
	}
}

// settle compares with a heartbeat that came before a reading, after it.
func (p *pulse) settle(b *revoke.Beat, issued time.Duration) match {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.compare(b, true)
	if m != ahead && p.unlike {
		p.mismatches++
	}
	p.unlike = false
	if m == same {
		p.confirm(b, issued)
	}
	return m
}

func (p *pulse) count(n *uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

// tick watches how old the knowledge is and sweeps what has ended.
func (g *Guard) tick(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	swept := g.since()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := g.since()
		g.pulse.miss(now)
		g.checkStale()
		if now-swept >= sweepEvery {
			g.set.sweep(g.clock().UnixNano())
			swept = now
		}
		t.Reset(g.tickEvery())
	}
}

// tickEvery is a tenth of the shortest time that is watched.
func (g *Guard) tickEvery() time.Duration {
	shortest := 10 * maxTick
	if g.o.MaxStale > 0 {
		shortest = min(shortest, g.o.MaxStale)
	}
	if interval, ok := g.pulse.beating(); ok {
		shortest = min(shortest, interval)
	}
	return max(shortest/10, minTick)
}

func (g *Guard) checkStale() {
	if g.o.MaxStale == 0 {
		return
	}
	g.aging.Lock()
	defer g.aging.Unlock()
	age := g.pulse.age(g.since())
	g.age.Store(int64(age))
	switch {
	case age <= g.o.MaxStale:
		if g.blocked.And(^stale)&stale != 0 {
			g.log.Info("no longer stale", "guard", g.o.Name)
		}
	case g.blocked.Or(stale)&stale == 0:
		g.log.Error("stale: what is known is too old", "guard", g.o.Name, "age", age)
	}
}
