package guard

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// overCore is the sequence number of a message that came over core NATS, where it has none yet.
const overCore uint64 = 0

var errSubject = errors.New("token on another target's subject")

func (g *Guard) hear(m *nats.Msg) { g.receive(m.Subject, m.Data, overCore) }

// take verifies a message that came at now, applies it, and acknowledges it once it is enforced.
func (g *Guard) take(subject string, token []byte, sequence uint64, now time.Time) {
	verifier := g.verifier.Load()
	r, err := verifier.Genuine(token)
	if errors.Is(err, revoke.ErrUnknownKind) {
		g.counters.unknown.Add(1)
		g.log.Error("unknown scope or action: stopping its subject", "guard", g.o.Name, "revocation", r.ID,
			"scope", r.Scope, "action", r.Action, "tenant", r.Tenant, "subject", r.Subject)
		err = nil
	}
	if err == nil && subject != revoke.Subject(r) {
		err = errSubject
	}
	if err != nil {
		g.refuse(subject, err)
		return
	}
	if err := verifier.Timely(token, r, now); err != nil {
		// By this clock it is not in force, but it is what the stream holds.
		g.note(r, token, sequence)
		g.refuse(subject, err)
		return
	}
	result, stopped := g.apply(r, now)
	if result != superseded || sequence != overCore {
		g.note(r, token, sequence)
	}
	switch result {
	case applied:
		g.counters.applied.Add(1)
		g.ack(r, now, stopped)
	case duplicate:
		g.counters.duplicates.Add(1)
		// Whoever sends again has not heard the first acknowledgement. Each message is
		// also read from the stream, and that needs no second one.
		if sequence == overCore {
			g.ack(r, now, 0)
		}
	case superseded:
		g.counters.superseded.Add(1)
	}
}

// note files a message as what its target has in the stream.
func (g *Guard) note(r revoke.Revocation, token []byte, sequence uint64) {
	g.pulse.note(r, sequence)
	g.state.add(r, token)
}

// result is what became of a verified revocation.
type result uint8

const (
	applied result = iota
	duplicate
	superseded
)

// apply puts r, which came at now, in force and cancels the calls in flight that it stops.
//
// One at a time: a message comes over core NATS and from the stream, and the one that finds
// the other's work begun must not acknowledge it before it is finished.
func (g *Guard) apply(r revoke.Revocation, now time.Time) (result, int) {
	g.enforcing.Lock()
	defer g.enforcing.Unlock()
	k := kindOf(r.Scope)
	e := g.entry(r)
	if res := g.set.apply(k, e, now.UnixNano(), g.verifier.Load().Rules.Guarded()); res != applied {
		return res, 0
	}
	if e.verdict != Deny {
		return applied, 0
	}
	stopped := g.inflight.stop(k, e, g.clock().UnixNano())
	g.counters.cancelled.Add(uint64(stopped))
	return applied, stopped
}

func (g *Guard) entry(r revoke.Revocation) *entry {
	e := &entry{
		tenant: r.Tenant, until: r.Until.UnixNano(),
		strength: uint8(r.Action.Strength()), verdict: verdictOf(r.Action), rev: &r, reason: r.Reason,
	}
	e.setSubject(r.Subject)
	e.hash = mix(maphash.String(g.seed, r.Tenant), maphash.String(g.seed, r.Subject))
	if !r.ValidAfter.IsZero() {
		e.validAfter = r.ValidAfter.UnixNano()
	}
	return e
}

// apply puts e in the place of what its target has, if it replaces that. guarded says that it takes two
// operators to weaken anything.
func (s *set) apply(k kind, e *entry, now int64, guarded bool) result {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.find(k, e.hash, e.tenant, e.rev.Subject)
	if old != nil && now < old.until {
		if old.rev.ID == e.rev.ID {
			return duplicate
		}
		if !replaces(e, old, guarded) {
			return superseded
		}
	}
	s.put(k, e)
	return applied
}

// replaces reports whether e holds instead of old: the later one does. A release holds
// against the very revocation that it names whatever the times are, because a detector that
// replays may issue that one again.
//
// Where it takes two operators to weaken anything, what one has ordered does not hold against an earlier
// order that stops more, in whatever order they come.
func replaces(e, old *entry, guarded bool) bool {
	later := isLater(e, old)
	if !guarded || e.rev.Scope != old.rev.Scope {
		return later
	}
	if later {
		return e.rev.ApprovedBy != "" || !e.rev.Weakens(*old.rev)
	}
	return old.rev.ApprovedBy == "" && old.rev.Weakens(*e.rev)
}

func isLater(e, old *entry) bool {
	if e.rev.Scope != old.rev.Scope {
		// Two unknown scopes share a name: keep what stops more.
		return e.strength > old.strength || (e.strength == old.strength && e.until > old.until)
	}
	switch {
	case e.rev.Releases == old.rev.ID:
		return true
	case old.rev.Releases == e.rev.ID:
		return false
	case !e.rev.IssuedAt.Equal(old.rev.IssuedAt):
		return e.rev.IssuedAt.After(old.rev.IssuedAt)
	case e.strength != old.strength:
		return e.strength > old.strength
	}
	return e.rev.ID > old.rev.ID
}

func (g *Guard) ack(r revoke.Revocation, heard time.Time, stopped int) {
	at := g.clock()
	b, err := json.Marshal(revoke.Ack{
		Revocation: r.ID, Guard: g.o.Name, Tenant: r.Tenant,
		AppliedAt: at, Cancelled: stopped, Latency: at.Sub(r.IssuedAt),
	})
	if err == nil {
		err = g.o.Conn.Publish(revoke.AckSubject(g.o.Name), b)
	}
	if err != nil {
		g.counters.ackErrors.Add(1)
		g.log.Error("cannot acknowledge", "guard", g.o.Name, "revocation", r.ID, "error", err)
		return
	}
	g.log.Info("enforced", "guard", g.o.Name, "revocation", r.ID, "action", r.Action, "scope", r.Scope,
		"tenant", r.Tenant, "subject", r.Subject, "cancelled", stopped, "took", at.Sub(heard))
}

// refuse counts a message that is not to be believed. The log gets the 1st, 2nd, 4th, 8th …
// of each reason: a flood of forgeries must not become a flood of lines.
func (g *Guard) refuse(subject string, err error) {
	reason, n := g.counters.refuse(err)
	if n&(n-1) == 0 {
		g.log.Warn("refused", "guard", g.o.Name, "reason", reason, "count", n, "nats_subject", subject, "error", err)
	}
}
