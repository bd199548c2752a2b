package revoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrUnconfirmed is wrapped where fewer guards acknowledged than were expected: the
// revocation is published, but nobody may say that it stopped everything.
var ErrUnconfirmed = errors.New("not confirmed by all guards")

// ErrNotActive is wrapped where there is nothing to release.
var ErrNotActive = errors.New("no such revocation is active")

// ClientOptions say how a client works.
type ClientOptions struct {
	Signer   Signer
	Verifier Verifier // zero: that of Signer
	// By is the person that acts; it goes into each revocation. The name of the signer's key comes first.
	By string
	// Expect is how many guards must acknowledge. 0 waits for none and confirms nothing.
	Expect   int
	Replicas int              // of the stream
	Clock    func() time.Time // nil: time.Now
}

// Client is how people kill, release and look. It is safe for concurrent use.
type Client struct {
	nc  *nats.Conn
	pub *Publisher
	o   ClientOptions
}

// NewClient returns a client on a connection of the detector's account. It makes the stream where there is none; one that is
// there it leaves as it is.
func NewClient(ctx context.Context, nc *nats.Conn, o ClientOptions) (*Client, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Verifier.Keys == nil {
		o.Verifier = o.Signer.Verifier()
	}
	if o.Signer.Name != "" {
		o.By = o.Signer.Name
	}
	pub, err := NewPublisher(ctx, nc, PublisherOptions{Replicas: o.Replicas, Clock: o.Clock, Verifier: o.Verifier, found: true})
	if err != nil {
		return nil, err
	}
	return &Client{nc, pub, o}, nil
}

// Close releases what the client holds of the connection, which stays open.
func (c *Client) Close() { c.pub.Close() }

// Publisher returns the publisher that the client uses.
func (c *Client) Publisher() *Publisher { return c.pub }

// Kill publishes r and waits until Expect guards acknowledged it and the stream stored it,
// or ctx ends. It returns the acknowledgements that came, first one first, one for each
// guard. Too few give an error that wraps ErrUnconfirmed.
//
// What r leaves empty is filled in: ID, IssuedAt, Initiator (admin), By and, for the scope
// tenant, Subject. Until is never filled in.
func (c *Client) Kill(ctx context.Context, r Revocation) ([]Ack, error) {
	rec, err := c.Record(r)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, rec)
}

// Record fills in what r leaves empty, as Kill does, and signs it.
func (c *Client) Record(r Revocation) (Record, error) { return c.o.Signer.Record(c.fill(r)) }

func (c *Client) fill(r Revocation) Revocation {
	if r.IssuedAt.IsZero() {
		r.IssuedAt = c.o.Clock()
	}
	if r.ID == "" {
		r.ID = shortHash([]byte(rand.Text() + rand.Text()))
	}
	if r.Initiator == "" {
		r.Initiator = Admin
	}
	if r.By == "" {
		r.By = c.o.By
	}
	switch {
	case r.Scope == Tenant && r.Subject == "":
		r.Subject = r.Tenant
	case r.Scope == Global && r.Tenant == "" && r.Subject == "":
		r.Tenant, r.Subject = Everything, Everything
	}
	return r
}

// Propose fills in what r leaves empty, as Kill does, and signs that the client's operator agrees to it. It
// publishes nothing.
func (c *Client) Propose(r Revocation) (Proposal, error) {
	r = c.fill(r)
	approval, err := c.o.Signer.Approve(r)
	return Proposal{Order: r, Approval: approval}, err
}

// Agree makes of a proposal of another operator the order of both, ready for Send. It refuses with ErrUnapproved
// what the client's operator proposed, and what would not count at guards.
func (c *Client) Agree(p Proposal) (Record, error) {
	by, err := c.o.Verifier.Approver(p.Order, []byte(p.Approval), c.o.Clock())
	if err != nil {
		return Record{}, err
	}
	if c.o.Signer.Role != OperatorRole {
		return Record{}, fmt.Errorf("%w: the key of an operator is needed, with a name", ErrUnapproved)
	}
	if by == c.o.Signer.Name {
		return Record{}, fmt.Errorf("%w: %q proposed it; another operator must agree", ErrUnapproved, by)
	}
	order := p.Order
	order.By = c.o.Signer.Name
	rec, err := c.o.Signer.RecordApproved(order, p.Approval)
	if err != nil {
		return Record{}, err
	}
	// What comes back is what guards will read.
	rec.Revocation, err = c.o.Verifier.Verify([]byte(rec.SET), c.o.Clock())
	return rec, err
}

// Wants reports whether r takes a second operator.
func (c *Client) Wants(r Revocation) bool { return c.o.Verifier.Rules.Wants(c.fill(r)) }

// Send publishes a record that is signed already and waits as Kill does.
func (c *Client) Send(ctx context.Context, rec Record) ([]Ack, error) {
	w := newAckWaiter(rec.ID, c.o.Expect)
	return c.send(ctx, rec, w, func() {})
}

// SendTo is Send where guards are known by name: all that known returns must acknowledge; where it returns none,
// acknowledgements are collected until ctx ends, and nothing is confirmed. It is called once the
// revocation is on its way: nothing is stopped later because somebody looks up who is to confirm.
func (c *Client) SendTo(ctx context.Context, rec Record, known func(context.Context) []string) ([]Ack, error) {
	w := newAckWaiter(rec.ID, math.MaxInt)
	return c.send(ctx, rec, w, func() { w.need(known(ctx)) })
}

func (c *Client) send(ctx context.Context, rec Record, w *ackWaiter, published func()) ([]Ack, error) {
	acks, err := CollectAcks(c.nc, w.add, nil)
	if err != nil {
		return nil, err
	}
	defer acks.Close()
	stored, err := c.pub.Publish(ctx, rec)
	if err != nil {
		return nil, err
	}
	published()
	select {
	case <-w.enough:
	case <-ctx.Done():
		return w.all(), fmt.Errorf("cannot confirm revocation %q: %w: %s", rec.ID, ErrUnconfirmed, w.lacking())
	}
	return w.all(), stored.Wait(ctx)
}

// Release ends what is active on a target before its time. The release lasts as long as
// the revocation would have, so that no late copy brings that back. For the time shield no
// detector can stop the target again: without it, the evidence that stopped the target
// would do so at once. Without an active revocation the error wraps ErrNotActive. It waits
// as Kill does.
func (c *Client) Release(ctx context.Context, tenant string, scope Scope, subject, reason string, shield time.Duration) ([]Ack, error) {
	rec, err := c.ReleaseRecord(ctx, tenant, scope, subject, reason, shield)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, rec)
}

// ReleaseRecord makes and signs the release that Release sends.
func (c *Client) ReleaseRecord(ctx context.Context, tenant string, scope Scope, subject, reason string, shield time.Duration) (Record, error) {
	r, err := c.ReleaseOrder(ctx, tenant, scope, subject, reason, shield)
	if err != nil {
		return Record{}, err
	}
	return c.Record(r)
}

// ReleaseOrder makes the release that Release sends, and does not sign it.
func (c *Client) ReleaseOrder(ctx context.Context, tenant string, scope Scope, subject, reason string, shield time.Duration) (Revocation, error) {
	rec, err := c.find(ctx, Revocation{Tenant: tenant, Scope: scope, Subject: subject})
	if err != nil {
		return Revocation{}, err
	}
	at := c.o.Clock()
	if !at.After(rec.IssuedAt) {
		// The issuer's clock is ahead of ours: a release must be later to hold.
		at = rec.IssuedAt.Add(1)
	}
	r := Revocation{
		Tenant: tenant, Scope: scope, Subject: subject, Action: Release,
		IssuedAt: at, Until: rec.Until, Reason: reason, Releases: rec.ID,
	}
	if shield > 0 {
		r.Shield = at.Add(shield)
		if r.Shield.After(r.Until) {
			r.Until = r.Shield
		}
	}
	return c.fill(r), nil
}

func (c *Client) find(ctx context.Context, target Revocation) (Revocation, error) {
	active, err := c.active(ctx, Subject(target))
	if err != nil {
		return Revocation{}, err
	}
	if len(active) == 0 {
		return Revocation{}, fmt.Errorf("%w: %s %q of tenant %q", ErrNotActive, target.Scope, target.Subject, target.Tenant)
	}
	return active[0], nil
}

// Active returns the revocations in force, releases left out, sorted by tenant, scope and
// subject. What the verifier refuses is not in force and left out too.
func (c *Client) Active(ctx context.Context) ([]Revocation, error) {
	return Active(ctx, c.nc, c.o.Verifier, c.o.Clock())
}

func (c *Client) active(ctx context.Context, filter string) ([]Revocation, error) {
	return active(ctx, c.nc, filter, c.o.Verifier, c.o.Clock())
}

// Active is Client.Active for whoever only looks: it takes the public keys alone, and changes nothing on the server.
func Active(ctx context.Context, nc *nats.Conn, v Verifier, now time.Time) ([]Revocation, error) {
	return active(ctx, nc, RevokePrefix+".>", v, now)
}

func active(ctx context.Context, nc *nats.Conn, filter string, v Verifier, now time.Time) ([]Revocation, error) {
	last := make(map[string]Revocation)
	_, err := ReadStream(ctx, nc, filter, 1, func(m StreamMessage) error {
		// A message that replaced an earlier one while we read comes later: it wins.
		delete(last, m.Subject)
		r, ok := v.genuine(m.Subject, m.Token, now)
		if ok && r.Action != Release {
			last[m.Subject] = r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]Revocation, 0, len(last))
	for _, r := range last {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Revocation) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return all, nil
}

func sortKey(r Revocation) string {
	return r.Tenant + "\x00" + string(r.Scope) + "\x00" + r.Subject
}

// ackWaiter keeps the first acknowledgement of each guard for one revocation.
type ackWaiter struct {
	id     string
	expect int
	enough chan struct{} // closed when expect guards have answered

	mu     sync.Mutex
	acks   []Ack
	guards map[string]bool
	named  []string // guards that must answer; nil: any that are enough
}

func newAckWaiter(id string, expect int) *ackWaiter {
	w := &ackWaiter{id: id, expect: expect, enough: make(chan struct{}), guards: make(map[string]bool)}
	if expect <= 0 {
		close(w.enough)
	}
	return w
}

func (w *ackWaiter) add(a Ack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Revocation != w.id || w.guards[a.Guard] || a.Report() {
		return
	}
	w.guards[a.Guard] = true
	w.acks = append(w.acks, a)
	enough := len(w.acks) == w.expect
	if w.named != nil {
		// The last one that was missing, not one that comes after it.
		enough = slices.Contains(w.named, a.Guard) && len(w.missing()) == 0
	}
	if enough {
		close(w.enough)
	}
}

// need says which guards must answer.
func (w *ackWaiter) need(guards []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(guards) == 0 {
		return
	}
	w.named = guards
	if len(w.missing()) == 0 {
		close(w.enough)
	}
}

// missing returns the guards that must answer and have not. The caller holds mu.
func (w *ackWaiter) missing() []string {
	var names []string
	for _, g := range w.named {
		if !w.guards[g] {
			names = append(names, g)
		}
	}
	return names
}

// lacking says what is missing, for people.
func (w *ackWaiter) lacking() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.named != nil:
		missing := w.missing()
		return fmt.Sprintf("%d of %d; %s did not acknowledge", len(w.named)-len(missing), len(w.named), strings.Join(missing, ", "))
	case w.expect == math.MaxInt:
		return fmt.Sprintf("%d acknowledged, and it is not known how many there are", len(w.acks))
	}
	return fmt.Sprintf("%d of %d", len(w.acks), w.expect)
}

func (w *ackWaiter) all() []Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acks)
}
