// Package risk knows how high the risk of each agent is, from what detectors publish.
package risk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Risk is how high the risk of an agent is.
type Risk struct {
	Level revoke.Level
	Score int // 0 to 100
}

// Unknown is the risk of an agent of which nothing is known. Its score is the highest one, so that no bound on scores
// takes it for low.
var Unknown = Risk{Level: revoke.RiskUnknown, Score: 100}

// Defaults of Options.
const (
	DefaultMaxAgents = 1 << 20
	DefaultPoll      = 2 * time.Second
	minPoll          = 10 * time.Millisecond
)

const (
	maxSources = 64 // of one agent
	sweepEvery = time.Minute
)

// Options say whose risks are followed.
type Options struct {
	Conn     *nats.Conn // shared, not closed by the follower
	Verifier revoke.Verifier
	Tenants  []string // none: all
	// MaxStale is for how long what is known holds once nothing more is heard: neither heartbeats of detectors, where
	// there were some, nor the stream. Then all risks are unknown. 0: for ever.
	MaxStale time.Duration
	// MaxAgents bounds of how many agents something is known; of further ones nothing is. 0: DefaultMaxAgents.
	MaxAgents int
	Poll      time.Duration    // how often the stream is asked for what was lost; 0: DefaultPoll
	Clock     func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: none
}

// Follower is safe for concurrent use. Make it with New.
type Follower struct {
	o     Options
	clock func() time.Time
	log   *slog.Logger

	mu     sync.RWMutex
	agents map[name][]revoke.Risk // one of each source

	beat, read atomic.Int64 // Unix nanoseconds: when a heartbeat was heard, and the stream read
	applied    atomic.Uint64
	refused    atomic.Uint64
	dropped    atomic.Uint64

	start  sync.Mutex
	cancel context.CancelFunc
	subs   []*nats.Subscription
	done   sync.WaitGroup
}

type name struct{ tenant, agent string }

// New checks the options. Until Start all risks are unknown.
func New(o Options) (*Follower, error) {
	switch {
	case o.Conn == nil:
		return nil, errors.New("cannot follow risks: no connection")
	case len(o.Verifier.Keys) == 0 || o.Verifier.Issuer == "":
		return nil, errors.New("cannot follow risks: the verifier has no keys or no issuer")
	case o.MaxStale < 0 || o.Poll < 0 || o.MaxAgents < 0:
		return nil, errors.New("cannot follow risks: a negative bound")
	}
	if o.MaxAgents == 0 {
		o.MaxAgents = DefaultMaxAgents
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	o.Poll = max(o.Poll, minPoll)
	f := &Follower{o: o, clock: o.Clock, log: o.Logger, agents: map[name][]revoke.Risk{}}
	if f.clock == nil {
		f.clock = time.Now
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f, nil
}

// Of returns the risk of an agent: of what holds now the highest.
func (f *Follower) Of(tenant, agent string) Risk {
	now := f.clock()
	if f.stale(now) {
		return Unknown
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	worst, found := Unknown, false
	for _, r := range f.agents[name{tenant, agent}] {
		if now.Before(r.Until) && (!found || r.Level.Rank() > worst.Level.Rank() || r.Level == worst.Level && r.Score > worst.Score) {
			worst, found = Risk{r.Level, r.Score}, true
		}
	}
	return worst
}

// stale reports whether nothing was heard for too long.
func (f *Follower) stale(now time.Time) bool {
	if f.o.MaxStale == 0 {
		return false
	}
	heard := f.beat.Load()
	if heard == 0 {
		heard = f.read.Load()
	}
	return now.UnixNano()-heard > int64(f.o.MaxStale)
}

// take takes in a message, of the connection or of the stream.
func (f *Follower) take(subject string, token []byte) {
	now := f.clock()
	r, err := f.o.Verifier.VerifyRisk(subject, token, now)
	if errors.Is(err, revoke.ErrExpired) {
		return // the stream forgets it within a second
	}
	if err != nil {
		if n := f.refused.Add(1); n&(n-1) == 0 {
			f.log.Warn("a risk is not believed", "count", n, "subject", subject, "error", err)
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(r)
}

func (f *Follower) put(r revoke.Risk) {
	n := name{r.Tenant, r.Agent}
	known, ok := f.agents[n]
	if !ok && len(f.agents) >= f.o.MaxAgents {
		f.dropped.Add(1)
		return
	}
	least := 0
	for i := range known {
		if known[i].Source == r.Source {
			if r.IssuedAt.After(known[i].IssuedAt) { // else it is the same, or an old one again
				known[i] = r
				f.applied.Add(1)
			}
			return
		}
		if known[i].Level.Rank() < known[least].Level.Rank() {
			least = i
		}
	}
	f.applied.Add(1)
	if len(known) < maxSources {
		f.agents[n] = append(known, r)
		return
	}
	f.dropped.Add(1)
	if r.Level.Rank() >= known[least].Level.Rank() { // the higher ones are kept
		known[least] = r
	}
}

// sweep forgets what has ended.
func (f *Follower) sweep() {
	now := f.clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, all := range f.agents {
		kept := all[:0]
		for _, r := range all {
			if now.Before(r.Until) {
				kept = append(kept, r)
			}
		}
		if len(kept) == 0 {
			delete(f.agents, n)
		} else {
			f.agents[n] = kept
		}
	}
}

// Stats are the counts of a follower.
type Stats struct {
	Agents  int    // of which something is known
	Applied uint64 // risks taken in
	Refused uint64 // messages that were not believed
	Dropped uint64 // risks for which there was no room
	Stale   bool   // nothing was heard for too long: all risks are unknown
}

// Stats returns a snapshot.
func (f *Follower) Stats() Stats {
	f.mu.RLock()
	n := len(f.agents)
	f.mu.RUnlock()
	return Stats{n, f.applied.Load(), f.refused.Load(), f.dropped.Load(), f.stale(f.clock())}
}
