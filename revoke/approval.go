package revoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// ApprovalType is the type of an approval: no guard takes one for an order.
	ApprovalType = "estop-approval+jwt"
	// MaxApprovals is how many approvals an order may carry.
	MaxApprovals = 4
)

// Proposal is an order that one operator has approved, and that another one may send.
type Proposal struct {
	Order    Revocation `json:"order"`
	Approval string     `json:"approval"` // of who proposes it
}

// Approve signs that the signer's operator agrees to r, and no more: guards take it for nothing but a
// part of the order that another operator signs. Who that will be does not matter: By is the signer's own.
func (s Signer) Approve(r Revocation) (string, error) {
	if s.Role != OperatorRole {
		return "", fmt.Errorf("cannot approve %q: %w: only an operator's key approves", r.ID, ErrRole)
	}
	r.By = s.Name
	if err := r.Validate(); err != nil {
		return "", fmt.Errorf("cannot approve %q: %w", r.ID, err)
	}
	return s.token(r, ApprovalType, nil)
}

// RecordApproved is Record with the approvals of other operators.
func (s Signer) RecordApproved(r Revocation, approvals ...string) (Record, error) {
	if err := r.Validate(); err != nil {
		return Record{}, fmt.Errorf("cannot sign revocation %q: %w", r.ID, err)
	}
	set, err := s.token(r, TokenType, approvals)
	return Record{Revocation: r, SET: set}, err
}

// Approver returns the operator whose approval of r this is.
func (v Verifier) Approver(r Revocation, approval []byte, now time.Time) (string, error) {
	k, err := v.approval(r, approval)
	if err == nil {
		err = k.ended(now)
	}
	if err != nil {
		return "", fmt.Errorf("cannot verify approval of %q: %w", r.ID, err)
	}
	return k.Name, nil
}

func (v Verifier) approval(r Revocation, approval []byte) (PublicKey, error) {
	payload, k, err := v.open(approval, ApprovalType)
	if err != nil {
		return k, err
	}
	a, _, err := v.read(payload)
	if err != nil {
		return k, err
	}
	if k.Role != OperatorRole {
		return k, fmt.Errorf("%w: %q approves, but is no operator", ErrRole, k.Role)
	}
	if err := k.mayIssue(a); err != nil {
		return k, err
	}
	// Of what two people sign, nothing may differ but who they are.
	r.By, r.ApprovedBy, a.By = "", "", ""
	for _, t := range []*time.Time{&r.IssuedAt, &r.ValidAfter, &r.Until, &r.Shield} {
		*t = moment(nanos(*t))
	}
	if a != r {
		return k, errors.New("it approves another order")
	}
	return k, nil
}

// second returns the other operator who agreed to r, which the key of the first has signed. All
// approvals must be good, and of operators who are not the first.
func (v Verifier) second(r Revocation, first PublicKey, approvals []string) (string, error) {
	if len(approvals) == 0 {
		return "", errors.New("it takes two operators, and one has signed")
	}
	if len(approvals) > MaxApprovals {
		return "", fmt.Errorf("%d approvals, more than %d", len(approvals), MaxApprovals)
	}
	if first.Role != OperatorRole {
		return "", errors.New("its signer is no operator")
	}
	name := ""
	for i, text := range approvals {
		k, err := v.approval(r, []byte(text))
		if err != nil {
			return "", fmt.Errorf("approval %d: %w", i, err)
		}
		if k.Name == first.Name {
			return "", fmt.Errorf("%q approves what they signed themselves", k.Name)
		}
		if i == 0 {
			name = k.Name
		}
	}
	return name, nil
}

// ParseProposal reads a proposal as it is written to a file.
func ParseProposal(b []byte) (Proposal, error) {
	var p Proposal
	if len(b) > 4*MaxToken {
		return p, fmt.Errorf("cannot read proposal: %w: %d bytes", ErrTooLarge, len(b))
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return Proposal{}, fmt.Errorf("cannot read proposal: %w: %w", ErrMalformed, err)
	}
	if err := p.Order.Validate(); err != nil {
		return Proposal{}, fmt.Errorf("cannot read proposal: %w", err)
	}
	return p, nil
}
