// Package guard answers, inside an enforcement point, whether a call may go on. It holds
// the active revocations in memory, hears new ones over NATS, cancels calls in flight and
// acknowledges what it enforces.
package guard

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Defaults of Options.
const (
	DefaultPoll = 2 * time.Second
	minPoll     = 10 * time.Millisecond
)

// Options say what a guard serves and how it behaves when it hears nothing.
type Options struct {
	Name     string     // of this guard, in acknowledgements; unique in the installation
	Conn     *nats.Conn // shared, not closed by the guard
	Verifier revoke.Verifier
	// KeyFile is the file of public keys. When it changes the guard reads it again; what is wrong is
	// refused, and the keys before stay. Without a Verifier the guard begins with it. Empty: keys stay.
	KeyFile string

	// Tenants are the tenants whose calls come here. The guard hears only their
	// revocations and denies calls of others. Empty is refused unless All is true.
	Tenants []string
	All     bool

	// Poll is how often the guard asks the stream for what it may have missed: the bound
	// on the time to stop when a message is lost. 0 means DefaultPoll.
	Poll time.Duration
	// FailClosedUntilSynced denies calls until the active set was loaded.
	FailClosedUntilSynced bool
	// MaxStale is how old the guard's knowledge may be before it is stale and denies calls. It
	// is as old as the last heartbeat whose state the guard has; without heartbeats, as the
	// last reading of the stream. 0: never stale; what is known stays in force.
	MaxStale time.Duration
	// StaleLimit is MaxStale for those calls that are to pass longer than the others. nil: none.
	StaleLimit func(*Call) time.Duration
	// Beats says whether heartbeats are expected.
	Beats Beats
	// Slack is how much later than announced a heartbeat may come before it is missed. 0: half
	// of the interval that it announces.
	Slack time.Duration
	// FailClosed chooses the calls that are denied while the guard is not synced or is
	// stale. nil: all of them.
	FailClosed func(*Call) bool

	// File keeps what the guard knows, so that after a restart it denies what was revoked even
	// where NATS is out of reach: Start then does not wait for it. Each guard needs a file of
	// its own. Empty: none.
	File string

	// Report is how often the guard reports to the register of guards, by which the installation knows
	// who must acknowledge. 0: DefaultReport. Negative: never, and nobody misses it.
	Report time.Duration
	// Version of the program that the guard is in, for the register.
	Version string

	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Guard is safe for concurrent use. Make it with New.
type Guard struct {
	o       Options
	clock   func() time.Time
	log     *slog.Logger
	seed    maphash.Seed
	tenants map[string]struct{} // nil: all

	set        set
	unverified unverified
	inflight   inflightIndex
	counters   counters

	verifier   atomic.Pointer[revoke.Verifier]
	rekeyed    atomic.Bool // all is to be read again, by other keys
	everything uint64      // hash of the target of the scope global

	pulse    pulse
	state    state
	reporter reporter

	blocked atomic.Uint32 // why calls fail closed now: notSynced, stale
	aging   sync.Mutex    // held while stale and age are decided on
	age     atomic.Int64  // ns: how old what the guard knows was when it was last looked at
	born    time.Time

	// enforcing is held from putting a revocation in force to the last cancellation. Lock
	// order: enforcing, then set.mu or one shard of inflight.
	enforcing sync.Mutex

	mu      sync.Mutex // guards what follows
	cancel  context.CancelFunc
	subs    []*nats.Subscription
	stopped bool

	synced chan struct{} // closed when the first complete reading has all messages
	done   sync.WaitGroup
}

// Why calls fail closed.
const (
	notSynced uint32 = 1 << iota
	stale
)

// New checks the options. The guard answers at once, from an empty set, and hears nothing
// before Start.
func New(o Options) (*Guard, error) {
	if len(o.Verifier.Keys) == 0 && o.KeyFile != "" {
		var err error
		if o.Verifier, err = loadKeys(o); err != nil {
			return nil, fmt.Errorf("cannot make guard: %w", err)
		}
	}
	switch {
	case o.Name == "":
		return nil, errors.New("cannot make guard: no name")
	case o.Conn == nil:
		return nil, errors.New("cannot make guard: no connection")
	case len(o.Verifier.Keys) == 0 || o.Verifier.Issuer == "":
		return nil, errors.New("cannot make guard: the verifier has no keys or no issuer")
	case len(o.Tenants) == 0 && !o.All:
		return nil, errors.New("cannot make guard: no tenants; to serve all of them say All")
	case len(o.Tenants) > 0 && o.All:
		return nil, errors.New("cannot make guard: both Tenants and All")
	case o.Poll < 0 || o.MaxStale < 0 || o.Slack < 0:
		return nil, errors.New("cannot make guard: negative duration")
	}
	return newGuard(o)
}

func newGuard(o Options) (*Guard, error) {
	g := &Guard{o: o, clock: o.Clock, log: o.Logger, seed: maphash.MakeSeed(), synced: make(chan struct{})}
	g.verifier.Store(&o.Verifier)
	g.everything = mix(maphash.String(g.seed, revoke.Everything), maphash.String(g.seed, revoke.Everything))
	if g.clock == nil {
		g.clock = time.Now
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.o.Poll == 0 {
		g.o.Poll = DefaultPoll
	}
	g.o.Poll = max(g.o.Poll, minPoll)
	if !o.All {
		g.tenants = make(map[string]struct{}, len(o.Tenants))
		for _, t := range o.Tenants {
			if t == "" {
				return nil, errors.New("cannot make guard: empty tenant")
			}
			g.tenants[t] = struct{}{}
		}
	}
	if o.FailClosedUntilSynced {
		g.blocked.Store(notSynced)
	}
	g.born = g.clock()
	g.inflight.init()
	g.pulse.init(o)
	g.pulse.verified = g.unverified.none
	g.state.init(o.File)
	g.reporter.init(o)
	return g, nil
}

// Start subscribes and then loads the active set behind it, so that nothing falls between.
// It returns once the server knows of the subscriptions; the loading goes on: see
// WaitSynced. The guard runs until ctx ends or Close.
func (g *Guard) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil || g.stopped {
		return errors.New("cannot start guard: started before")
	}
	g.pulse.set(g.since())
	if g.o.File != "" {
		g.load()
	}
	if err := g.subscribe(ctx); err != nil {
		g.unsubscribe()
		return fmt.Errorf("cannot start guard: %w", err)
	}
	ctx, g.cancel = context.WithCancel(ctx)
	g.done.Go(func() { g.follow(ctx) })
	g.done.Go(func() { g.tick(ctx) })
	if g.reporter.every > 0 {
		g.done.Go(func() { g.report(ctx) })
	}
	if g.o.KeyFile != "" {
		g.done.Go(func() { g.watchKeys(ctx) })
	}
	if g.o.File != "" {
		g.done.Go(func() { g.keep(ctx) })
	}
	return nil
}

// since is the time since the guard was made. It does not follow when somebody sets the clock.
func (g *Guard) since() time.Duration { return g.clock().Sub(g.born) }

func (g *Guard) subscribe(ctx context.Context) error {
	for _, subject := range g.filters() {
		sub, err := g.o.Conn.Subscribe(subject, g.hear)
		if err == nil {
			err = sub.SetPendingLimits(-1, 64<<20)
		}
		if err != nil {
			return fmt.Errorf("cannot subscribe %q: %w", subject, err)
		}
		g.subs = append(g.subs, sub)
	}
	if g.o.Beats != BeatsIgnored {
		sub, err := g.o.Conn.Subscribe(revoke.BeatSubject, g.hearBeat)
		if err != nil {
			return fmt.Errorf("cannot subscribe %q: %w", revoke.BeatSubject, err)
		}
		g.subs = append(g.subs, sub)
	}
	err := g.flush(ctx)
	if err != nil && g.o.File != "" && !g.o.Conn.IsClosed() {
		g.log.Warn("NATS is out of reach: going on with what is on disk", "guard", g.o.Name, "error", err)
		return nil
	}
	return err
}

// flush waits until the server has seen the subscriptions.
func (g *Guard) flush(ctx context.Context) error {
	if g.o.File != "" && !g.o.Conn.IsConnected() {
		return nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, startFlush)
	defer cancel()
	return g.o.Conn.FlushWithContext(ctx)
}

func (g *Guard) filters() []string {
	if g.o.All {
		return []string{revoke.RevokePrefix + ".>"}
	}
	subjects := []string{revoke.GlobalSubjects}
	for t := range g.tenants {
		subjects = append(subjects, revoke.TenantSubjects(t))
	}
	return subjects
}

// Close stops hearing and waits for the guard's goroutines. The guard goes on answering
// from what it knows; calls in flight are not cancelled.
func (g *Guard) Close() error {
	g.mu.Lock()
	g.stopped = true
	if g.cancel != nil {
		g.cancel()
	}
	g.unsubscribe()
	g.mu.Unlock()
	g.done.Wait()
	return nil
}

func (g *Guard) unsubscribe() {
	for _, sub := range g.subs {
		// It fails only where the connection is closed already.
		_ = sub.Unsubscribe()
	}
	g.subs = nil
}

// Synced reports whether the active set was loaded: from then on every call is answered by all of it.
// Signatures of what no call has met yet may still be to verify.
func (g *Guard) Synced() bool {
	select {
	case <-g.synced:
		return true
	default:
		return false
	}
}

// WaitSynced waits until the active set was loaded, or returns the error of ctx.
func (g *Guard) WaitSynced(ctx context.Context) error {
	select {
	case <-g.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("guard is not synced: %w", ctx.Err())
	}
}
