package revoke

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// storeTimeout is how long an acknowledgement of the stream is waited for.
	storeTimeout = 10 * time.Second
	// maxUnstored bounds how many publications may wait for their acknowledgement.
	maxUnstored = 64 << 10
)

// PublisherOptions say how a publisher works. The zero value is good for one server.
type PublisherOptions struct {
	Replicas int              // of the stream; 0 means 1
	Clock    func() time.Time // nil: time.Now
	// Verifier lets the publisher know what others published, so that it weakens none of
	// it. Without keys it knows only what it published itself.
	Verifier Verifier
	// Interlock bounds what detectors may stop; nil: nothing does. It needs a Verifier to know
	// what others stopped.
	Interlock *Interlock
	// found takes the stream as it is: a console's login may look at it, and not change it.
	found bool
}

// Publisher sends signed revocations: one message reaches every guard that is connected
// and is stored for those who join late. It is safe for concurrent use.
type Publisher struct {
	js       jetstream.JetStream
	clock    func() time.Time
	held     *held
	verifier atomic.Pointer[Verifier]
}

// NewPublisher makes sure that the stream exists as it must be, and returns a publisher.
// The connection must be that of the detector's account. The caller closes it.
func NewPublisher(ctx context.Context, nc *nats.Conn, o PublisherOptions) (*Publisher, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxUnstored), jetstream.WithPublishAsyncTimeout(storeTimeout))
	if err != nil {
		return nil, fmt.Errorf("cannot open JetStream: %w", err)
	}
	if err := o.makeStream(ctx, js); err != nil {
		// A server refuses a request by not answering it, and says so beside.
		if refused := nc.LastError(); errors.Is(refused, nats.ErrPermissionViolation) {
			return nil, fmt.Errorf("%w: the login does not publish revocations: %w", err, refused)
		}
		return nil, err
	}
	p := &Publisher{js: js, clock: o.Clock}
	if p.clock == nil {
		p.clock = time.Now
	}
	p.verifier.Store(&o.Verifier)
	if p.held, err = newHeld(ctx, nc, p.verifier.Load, o.Interlock, p.clock); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (o PublisherOptions) makeStream(ctx context.Context, js jetstream.JetStream) error {
	if o.found {
		if _, err := js.Stream(ctx, Stream); err == nil {
			return nil
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("cannot find stream %s: %w", Stream, err)
		}
	}
	if _, err := js.CreateOrUpdateStream(ctx, streamConfig(max(o.Replicas, 1))); err != nil {
		return fmt.Errorf("cannot create stream %s: %w", Stream, err)
	}
	return nil
}

// SetVerifier replaces the keys that the publisher trusts and the rules that it holds to, and reads
// again what they say of the stream. One that was made without keys stays without.
func (p *Publisher) SetVerifier(ctx context.Context, v Verifier) error {
	if len(p.verifier.Load().Keys) == 0 || len(v.Keys) == 0 {
		return nil
	}
	p.verifier.Store(&v)
	return p.held.read(ctx)
}

// Verifier returns the keys that the publisher trusts now, and the rules that it holds to.
func (p *Publisher) Verifier() Verifier { return *p.verifier.Load() }

// Close ends the publisher's subscriptions. The connection stays open.
func (p *Publisher) Close() {
	p.js.CleanupPublisher()
	p.held.close()
}

// Stored is the stream's word, to come, that it keeps a revocation.
type Stored struct {
	future jetstream.PubAckFuture // says it once, to one that waits
	once   sync.Once
	said   chan struct{} // closed when it is in err
	err    error
}

func newStored(f jetstream.PubAckFuture) *Stored {
	return &Stored{future: f, said: make(chan struct{})}
}

// Wait returns nil once the revocation is stored. Until then a restart of the server may
// forget it, so source offsets are committed only after. Any number may wait, and more than once.
func (s *Stored) Wait(ctx context.Context) error {
	select {
	case <-s.future.Ok():
		s.say(nil)
	case err := <-s.future.Err():
		s.say(fmt.Errorf("cannot store revocation: %w", err))
	case <-s.said:
	case <-ctx.Done():
		return fmt.Errorf("cannot store revocation: %w", ctx.Err())
	}
	return s.err
}

func (s *Stored) say(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.said)
	})
}

// Publish writes rec to the connection and returns at once; guards that are connected get
// it without waiting for the disk. Durability comes later: see Stored.
//
// All messages about one target share a subject, so the last one holds; the same record
// twice is one record. A record that has already ended is refused with ErrExpired, and one
// of a detector that would weaken what is in force, or that a release shields from, with
// ErrOutranked or ErrShielded: then there is nothing to do. One that the interlock keeps a
// detector from is refused with ErrHeldBack: then it is for a person, as is what takes two operators.
// One of an operator that takes a second one is refused with ErrUnapproved.
func (p *Publisher) Publish(ctx context.Context, rec Record) (*Stored, error) {
	if err := rec.Validate(); err != nil {
		return nil, fmt.Errorf("cannot publish revocation %q: %w", rec.ID, err)
	}
	if rec.SET == "" || len(rec.SET) > MaxToken {
		return nil, fmt.Errorf("cannot publish revocation %q: %w: token of %d bytes", rec.ID, ErrInvalid, len(rec.SET))
	}
	left := rec.Until.Sub(p.clock())
	if left <= 0 {
		return nil, fmt.Errorf("cannot publish revocation %q: %w", rec.ID, ErrExpired)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot publish revocation %q: %w", rec.ID, err)
	}
	if err := p.allowed(rec.Revocation); err != nil {
		return nil, err // a person reads it
	}
	undo, err := p.held.take(rec.Revocation, p.verifier.Load().Rules, p.clock())
	if errors.Is(err, ErrHeldBack) {
		return nil, err // a person reads it
	} else if err != nil {
		return nil, fmt.Errorf("cannot publish revocation %q: %w", rec.ID, err)
	}
	future, err := p.js.PublishMsgAsync(message(rec, left))
	if err != nil {
		undo()
		return nil, fmt.Errorf("cannot publish revocation %q: %w", rec.ID, err)
	}
	return newStored(future), nil
}

// allowed refuses what guards would refuse: what takes two operators, and has one or a detector.
func (p *Publisher) allowed(r Revocation) error {
	rules := p.verifier.Load().Rules
	if !rules.Wants(r) || r.ApprovedBy != "" {
		return nil
	}
	if r.Initiator == Policy {
		return fmt.Errorf("%w: a %s of scope %s takes two operators", ErrHeldBack, r.Action, r.Scope)
	}
	return fmt.Errorf("%w: a %s of scope %s takes two operators", ErrUnapproved, r.Action, r.Scope)
}

func message(rec Record, left time.Duration) *nats.Msg {
	m := nats.NewMsg(Subject(rec.Revocation))
	m.Data = []byte(rec.SET)
	m.Header.Set(jetstream.MsgIDHeader, rec.ID)
	m.Header.Set(jetstream.MsgTTLHeader, ttl(left))
	return m
}

// ttl writes the time that is left as whole seconds, rounded up.
func ttl(left time.Duration) string {
	return strconv.FormatInt(int64((left+time.Second-1)/time.Second), 10) + "s"
}
