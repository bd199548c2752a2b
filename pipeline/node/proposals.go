package node

import (
	"context"
	"errors"
	"time"

	"github.com/estop-project/estop/revoke"
)

// Propose signs that this operator wants r, and lets it wait for another one. The proposal is good though Kafka did
// not keep it: then the other operator needs it as a file.
func (k *Control) Propose(r revoke.Revocation) (revoke.Proposal, error) {
	if err := withReason(r.Reason); err != nil {
		return revoke.Proposal{}, err
	}
	p, err := k.client.Propose(r)
	if err != nil {
		return p, err
	}
	return p, k.record(revoke.Decision{Verdict: revoke.Proposed, Why: r.Reason, Order: p.Order, Approval: p.Approval})
}

// ProposeRelease is Propose for the release of what is active on a target.
func (k *Control) ProposeRelease(ctx context.Context, tenant string, scope revoke.Scope, subject, reason string, shield time.Duration) (revoke.Proposal, error) {
	r, err := k.client.ReleaseOrder(ctx, tenant, scope, subject, reason, shield)
	if err != nil {
		return revoke.Proposal{}, err
	}
	return k.Propose(r)
}

// Agree sends what another operator has proposed, as the order of both, and waits for guards as Kill does.
func (k *Control) Agree(ctx context.Context, p revoke.Proposal, why string) (Stopped, error) {
	if err := withReason(why); err != nil {
		return Stopped{}, err
	}
	record, err := k.client.Agree(p)
	if err != nil {
		return Stopped{}, err
	}
	s, err := k.send(ctx, record)
	if s.Revocation.ID == "" || errors.Is(err, revoke.ErrUnapproved) {
		return Stopped{}, err
	}
	return s, errors.Join(err, k.decide(revoke.Decision{Order: p.Order}, revoke.Approved, why, s.Revocation.ID))
}

// KillAlone is Kill in an emergency: where it takes two operators, one may stop for a short time. That
// is written down, and said loudly.
func (k *Control) KillAlone(ctx context.Context, r revoke.Revocation) (Stopped, error) {
	s, err := k.Kill(ctx, r)
	if s.Revocation.ID == "" {
		return s, err
	}
	k.log.Warn("BREAK-GLASS: one operator stops alone", "by", k.by, "scope", r.Scope, "subject", s.Revocation.Subject,
		"until", s.Revocation.Until, "revocation", s.Revocation.ID, "reason", r.Reason)
	return s, errors.Join(err, k.decide(revoke.Decision{Order: s.Revocation}, revoke.Alone, r.Reason, s.Revocation.ID))
}
