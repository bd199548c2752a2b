package revoke

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrOutranked is wrapped where a detector's revocation would weaken what is in force on
// its target: a weaker action, an earlier end, or a release of what a person decided. The
// caller goes on: the target is already stopped at least as hard.
var ErrOutranked = errors.New("outranked by what is in force")

// ErrShielded is wrapped where a detector's revocation meets a release: a person's shield
// that still lasts, or the release of this very revocation, which a replay repeats.
var ErrShielded = errors.New("shielded by a release")

// held is what a publisher knows to be in force on each target. Guards let the last message
// of a target hold, so it is here that two detectors are kept from undoing one another.
// People may: the last word is theirs.
//
// Two processes that publish about one target in the same moment can still miss each
// other; a target has one writer in the pipeline, so that takes a person and a detector.
type held struct {
	nc        *nats.Conn
	sub       *nats.Subscription
	verifier  func() *Verifier // what is believed now
	clock     func() time.Time
	interlock *Interlock // nil: none

	mu      sync.Mutex
	targets map[string]Revocation // by NATS subject
	sweepAt int                   // size at which to forget what ended
}

const minSweep = 1024

func newHeld(ctx context.Context, nc *nats.Conn, v func() *Verifier, i *Interlock, clock func() time.Time) (*held, error) {
	h := &held{nc: nc, verifier: v, clock: clock, interlock: i, targets: make(map[string]Revocation), sweepAt: minSweep}
	if len(v().Keys) == 0 {
		return h, nil
	}
	var err error
	h.sub, err = nc.Subscribe(RevokePrefix+".>", func(m *nats.Msg) { h.hear(m.Subject, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("cannot watch revocations: %w", err)
	}
	if err := h.read(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *held) hear(subject string, token []byte) {
	if r, ok := h.verifier().genuine(subject, token, h.clock()); ok {
		h.note(r, h.clock())
	}
}

// read notes what the stream holds.
func (h *held) read(ctx context.Context) error {
	_, err := ReadStream(ctx, h.nc, RevokePrefix+".>", 1, func(m StreamMessage) error {
		h.hear(m.Subject, m.Token)
		return nil
	})
	return err
}

func (h *held) close() {
	if h != nil && h.sub != nil {
		// It fails only where the connection is closed already.
		_ = h.sub.Unsubscribe()
	}
}

// take notes r, or refuses it with ErrOutranked, ErrShielded, ErrHeldBack or ErrUnapproved. What could not be sent after all is
// undone: it stops nobody.
func (h *held) take(r Revocation, rules Rules, now time.Time) (undo func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.targets[Subject(r)]
	switch {
	case !ok || !now.Before(old.Until):
	case r.Initiator == Admin:
		if rules.Guarded() && r.ApprovedBy == "" && r.Weakens(old) {
			return nil, fmt.Errorf("%w: it would weaken what is in force until %v (%s)", ErrUnapproved, old.Until, old.ID)
		}
	case shields(old, r, now) || forgives(old, r):
		return nil, fmt.Errorf("%w: %s", ErrShielded, old.ID)
	case outranks(old, r) || overtakes(old, r):
		return nil, fmt.Errorf("%w: %s", ErrOutranked, old.ID)
	}
	counted := 0
	if h.interlock != nil {
		if counted, err = h.interlock.take(r, now); err != nil {
			return nil, err
		}
	}
	h.put(r, now)
	return func() { h.undo(r, old, ok, counted) }, nil
}

// undo takes back what take noted of r, unless somebody else has said something about its target since.
func (h *held) undo(r, old Revocation, was bool, counted int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.targets[Subject(r)].ID != r.ID {
		return
	}
	delete(h.targets, Subject(r))
	if was {
		h.targets[Subject(r)] = old
	}
	if h.interlock != nil {
		h.interlock.giveBack(r, counted)
	}
}

func (h *held) note(r Revocation, now time.Time) {
	if h.interlock != nil {
		h.interlock.Note(r, now)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.targets[Subject(r)]; !ok || !r.IssuedAt.Before(old.IssuedAt) {
		h.put(r, now)
	}
}

func (h *held) put(r Revocation, now time.Time) {
	if len(h.targets) >= h.sweepAt {
		for subject, t := range h.targets {
			if !now.Before(t.Until) {
				delete(h.targets, subject)
			}
		}
		h.sweepAt = max(minSweep, 2*len(h.targets))
	}
	h.targets[Subject(r)] = r
}

// shields reports whether a release keeps a detector's r from being published.
func shields(old, r Revocation, now time.Time) bool {
	return r.Action != Release && (r.ID == old.Releases || now.Before(old.Shield))
}

// outranks reports whether a detector's r would weaken old.
func outranks(old, r Revocation) bool {
	strength, before := r.Action.Strength(), old.Action.Strength()
	switch {
	case r.ID == old.ID:
		return false
	case r.Action == Release:
		return old.Initiator == Admin && before > 0
	case strength == before:
		return r.Until.Before(old.Until)
	}
	return strength < before
}

// overtakes reports whether a late r, which answers an old breach, has nothing to add to old, which stops its target as
// hard: what it did before it was stopped is no reason to stop it for longer.
func overtakes(old, r Revocation) bool {
	return r.Late > 0 && r.ID != old.ID && r.Action != Release && old.Action.Strength() >= r.Action.Strength()
}

// forgives reports whether old released the target of a late r after the breach that r answers.
func forgives(old, r Revocation) bool {
	return r.Late > 0 && old.Action == Release && old.IssuedAt.After(r.IssuedAt.Add(-r.Late))
}

// genuine reports what a message says if it is to be believed: signed, in force, on its own
// subject. Unknown scopes and actions count.
func (v Verifier) genuine(subject string, token []byte, now time.Time) (Revocation, bool) {
	r, err := v.Verify(token, now)
	if err != nil && !errors.Is(err, ErrUnknownKind) {
		return Revocation{}, false
	}
	return r, subject == Subject(r)
}
