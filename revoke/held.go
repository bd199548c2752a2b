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
	sub       *nats.Subscription
	interlock *Interlock // nil: none

	mu      sync.Mutex
	targets map[string]holding // by NATS subject
	sweepAt int                // size at which to forget what ended
}

type holding struct {
	id       string
	strength int
	until    time.Time
	issuedAt time.Time
	admin    bool
	releases string
	shield   time.Time
}

const minSweep = 1024

func newHeld(ctx context.Context, nc *nats.Conn, v Verifier, i *Interlock, clock func() time.Time) (*held, error) {
	h := &held{interlock: i, targets: make(map[string]holding), sweepAt: minSweep}
	if len(v.Keys) == 0 {
		return h, nil
	}
	note := func(subject string, token []byte) {
		if r, ok := v.genuine(subject, token, clock()); ok {
			h.note(r, clock())
		}
	}
	var err error
	h.sub, err = nc.Subscribe(RevokePrefix+".>", func(m *nats.Msg) { note(m.Subject, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("cannot watch revocations: %w", err)
	}
	_, err = ReadStream(ctx, nc, RevokePrefix+".>", 1, func(m StreamMessage) error {
		note(m.Subject, m.Token)
		return nil
	})
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *held) close() {
	if h != nil && h.sub != nil {
		// It fails only where the connection is closed already.
		_ = h.sub.Unsubscribe()
	}
}

// take notes r, or refuses it with ErrOutranked, ErrShielded or ErrHeldBack.
func (h *held) take(r Revocation, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.targets[Subject(r)]
	switch {
	case !ok || !now.Before(old.until) || r.Initiator == Admin:
	case old.shields(r, now):
		return fmt.Errorf("%w: %s", ErrShielded, old.id)
	case old.outranks(r):
		return fmt.Errorf("%w: %s", ErrOutranked, old.id)
	}
	if h.interlock != nil {
		if err := h.interlock.take(r, now); err != nil {
			return err
		}
	}
	h.put(r, now)
	return nil
}

func (h *held) note(r Revocation, now time.Time) {
	if h.interlock != nil {
		h.interlock.Note(r, now)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.targets[Subject(r)]; !ok || !r.IssuedAt.Before(old.issuedAt) {
		h.put(r, now)
	}
}

func (h *held) put(r Revocation, now time.Time) {
	if len(h.targets) >= h.sweepAt {
		for subject, t := range h.targets {
			if !now.Before(t.until) {
				delete(h.targets, subject)
			}
		}
		h.sweepAt = max(minSweep, 2*len(h.targets))
	}
	h.targets[Subject(r)] = holding{
		id: r.ID, strength: r.Action.Strength(), until: r.Until, issuedAt: r.IssuedAt,
		admin: r.Initiator == Admin, releases: r.Releases, shield: r.Shield,
	}
}

func (t holding) shields(r Revocation, now time.Time) bool {
	return r.Action != Release && (r.ID == t.releases || now.Before(t.shield))
}

func (t holding) outranks(r Revocation) bool {
	strength := r.Action.Strength()
	switch {
	case r.ID == t.id:
		return false
	case r.Action == Release:
		return t.admin && t.strength > 0
	case strength == t.strength:
		return r.Until.Before(t.until)
	}
	return strength < t.strength
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
