package guard

import (
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/estop-project/estop/revoke"
)

// reasons are the causes of a refused message, with their names in Stats.
var reasons = []struct {
	err  error
	name string
}{
	{revoke.ErrTooLarge, "too_large"},
	{revoke.ErrType, "type"},
	{revoke.ErrAlgorithm, "algorithm"},
	{revoke.ErrUnknownKey, "unknown_key"},
	{revoke.ErrSignature, "signature"},
	{revoke.ErrUnapproved, "unapproved"},
	{revoke.ErrRole, "role"},
	{revoke.ErrKeyTime, "key_time"},
	{revoke.ErrIssuer, "issuer"},
	{revoke.ErrAudience, "audience"},
	{revoke.ErrUnderfilled, "underfilled"},
	{revoke.ErrExpired, "expired"},
	{revoke.ErrNotYetValid, "not_yet_valid"},
	{errSubject, "subject"},
	{revoke.ErrMalformed, "malformed"},
	{errReplayed, "replayed"},
	{errStarts, "publishers"},
}

const maxReasons = 24

// counters are the guard's metrics.
type counters struct {
	verdicts [64]verdictCounters // of which each goroutine has its own, mostly

	applied, duplicates, superseded, unknown atomic.Uint64
	cancelled, ackErrors, readErrors         atomic.Uint64
	keyErrors                                atomic.Uint64
	refused                                  [maxReasons]atomic.Uint64
	inFlight                                 atomic.Int64
}

// verdictCounters fill a cache line, so that processors do not fight over one number.
type verdictCounters struct {
	n [Deny + 1]atomic.Uint64
	_ [32]byte
}

func (c *counters) decided(v Verdict) {
	// Where a goroutine's stack is tells it from others at no cost: any place in one is as good, and if it moves
	// another counter goes on. A random counter would let two processors meet at every second call or so.
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	c.verdicts[stack*0x9e3779b97f4a7c15>>58].n[v].Add(1)
}

// decisions returns how many there were, by verdict.
func (c *counters) decisions() (allowed, throttled, restricted, denied uint64) {
	for i := range c.verdicts {
		v := &c.verdicts[i].n
		allowed += v[Allow].Load()
		throttled += v[Throttle].Load()
		restricted += v[Restrict].Load()
		denied += v[Deny].Load()
	}
	return allowed, throttled, restricted, denied
}

func (c *counters) refuse(err error) (string, uint64) {
	for i, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name, c.refused[i].Add(1)
		}
	}
	return "other", c.refused[maxReasons-1].Add(1)
}

// Stats are a guard's counts since it was made. All but Stale, Age, Active, Unverified and InFlight only grow.
type Stats struct {
	Applied    uint64            // revocations and releases put in force
	Duplicates uint64            // messages already in force
	Superseded uint64            // older than what is in force
	Unknown    uint64            // genuine, but of unknown scope or action: their subject is stopped
	Refused    map[string]uint64 // messages not believed, by reason; only reasons that occurred
	Allowed    uint64            // decisions, by verdict
	Throttled  uint64
	Restricted uint64
	Denied     uint64
	Cancelled  uint64 // calls in flight cancelled
	AckErrors  uint64
	ReadErrors uint64 // readings of the stream that failed
	Beats      uint64 // heartbeats heard
	Missed     uint64 // times that heartbeats were due and did not come
	Mismatches uint64 // heartbeats that told of something else than the guard had
	Resyncs    uint64 // readings of the stream from its start because of that
	Diverged   uint64 // of these, those after which the guard still had something else
	Saved      uint64 // times that what is known was written to disk
	FileErrors uint64 // times that it could not be written or read
	KeyErrors  uint64 // times that the file of keys had changed and could not be used
	Stale      bool   // the guard fails closed now, because what it knows is too old
	// Age is how old what the guard knows is: the time since the last heartbeat was issued whose state it
	// has, or without heartbeats since the last reading.
	Age    time.Duration
	Active int // revocations in force now
	// Unverified is how many messages were read and are verified when a call has their name, or soon.
	Unverified int
	InFlight   int // calls in flight now
}

// Stats returns a snapshot. Active walks the set: call it at the pace of metrics.
func (g *Guard) Stats() Stats {
	c := &g.counters
	s := Stats{
		Applied: c.applied.Load(), Duplicates: c.duplicates.Load(), Superseded: c.superseded.Load(),
		Unknown: c.unknown.Load(), Refused: make(map[string]uint64),
		Cancelled: c.cancelled.Load(), AckErrors: c.ackErrors.Load(), ReadErrors: c.readErrors.Load(),
		InFlight: int(c.inFlight.Load()), Unverified: int(g.unverified.left.Load()),
	}
	s.KeyErrors = c.keyErrors.Load()
	g.pulse.stats(&s)
	s.Saved, s.FileErrors = g.state.saved.Load(), g.state.errors.Load()
	s.Age = max(0, g.pulse.age(g.since()))
	s.Stale = g.blocked.Load()&stale != 0
	s.Allowed, s.Throttled, s.Restricted, s.Denied = c.decisions()
	for i := range c.refused {
		if n := c.refused[i].Load(); n > 0 {
			name := "other"
			if i < len(reasons) {
				name = reasons[i].name
			}
			s.Refused[name] = n
		}
	}
	now := g.clock().UnixNano()
	g.set.each(func(e *entry) {
		if e.strength > 0 && now < e.until {
			s.Active++
		}
	})
	return s
}

func (p *pulse) stats(s *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Beats, s.Missed, s.Mismatches, s.Resyncs, s.Diverged = p.beats, p.missed, p.mismatches, p.resyncs, p.diverged
}
