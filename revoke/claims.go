package revoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event types of the tokens.
const (
	// EventSessionRevoked is CAEP's event for what is stopped whole: the action revoke.
	EventSessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	// EventResponse is ours, for throttle, restrict and release.
	EventResponse = "https://github.com/estop-project/estop/secevent/event-type/response"
)

// claims is the payload of a Security Event Token (RFC 8417). Sub and Exp are there to be
// refused: a SET must not carry them.
type claims struct {
	Issuer   string                     `json:"iss"`
	ID       string                     `json:"jti"`
	IssuedAt int64                      `json:"iat"` // seconds
	Audience string                     `json:"aud"`
	Txn      string                     `json:"txn"` // the decision: detection, else our id
	SubID    *subID                     `json:"sub_id"`
	Events   map[string]json.RawMessage `json:"events"`
	Sub      json.RawMessage            `json:"sub,omitempty"`
	Exp      json.RawMessage            `json:"exp,omitempty"`
	// Approvals are those of other operators: compact JWS of the type ApprovalType.
	Approvals []string `json:"approvals,omitempty"`
}

// event is the payload of either event type: CAEP's optional members (event_timestamp in
// seconds) and ours, under one name.
type event struct {
	Timestamp   int64             `json:"event_timestamp"`
	Initiating  string            `json:"initiating_entity"`
	ReasonAdmin map[string]string `json:"reason_admin"`
	Estop       *member           `json:"estop"`
}

// member holds the fields of a revocation that neither SET nor CAEP has. Times are Unix
// nanoseconds: readers must parse them as 64-bit integers.
type member struct {
	Tenant     string `json:"tenant"`
	Scope      Scope  `json:"scope"`
	Subject    string `json:"subject"`
	Action     Action `json:"action"`
	IssuedAt   int64  `json:"issued_at"`
	ValidAfter int64  `json:"valid_after,omitempty"`
	Until      int64  `json:"until"`
	Detector   string `json:"detector,omitempty"`
	Detection  string `json:"detection,omitempty"`
	By         string `json:"by,omitempty"`
	Releases   string `json:"releases,omitempty"`
	Shield     int64  `json:"shield,omitempty"`
}

// subID is a complex subject (OpenID Shared Signals Framework 1.0; RFC 9493 formats). A
// member that is undefined matches everything, so tenant is always there, and so is the
// member of the scope.
type subID struct {
	Format      string  `json:"format"` // complex
	Tenant      *opaque `json:"tenant,omitempty"`
	Application *opaque `json:"application,omitempty"` // scope agent
	User        *opaque `json:"user,omitempty"`        // scope identity
	Session     *opaque `json:"session,omitempty"`
	Chain       *opaque `json:"chain,omitempty"`  // ours
	Global      *opaque `json:"global,omitempty"` // ours
	Other       *opaque `json:"other,omitempty"`  // ours: a scope that is not known here
}

type opaque struct {
	Format string `json:"format"` // opaque
	ID     string `json:"id"`
}

func newSubID(r Revocation) *subID {
	s := &subID{Format: "complex", Tenant: &opaque{"opaque", r.Tenant}}
	if r.Scope != Tenant {
		*s.member(r.Scope) = &opaque{"opaque", r.Subject}
	}
	return s
}

func (s *subID) member(scope Scope) **opaque {
	switch scope {
	case Tenant:
		return &s.Tenant
	case Agent:
		return &s.Application
	case Identity:
		return &s.User
	case Session:
		return &s.Session
	case Chain:
		return &s.Chain
	case Global:
		return &s.Global
	}
	return &s.Other
}

func eventType(a Action) string {
	if a == Revoke {
		return EventSessionRevoked
	}
	return EventResponse
}

func newClaims(r Revocation, issuer, audience string) (claims, error) {
	ev, err := json.Marshal(event{
		Timestamp:   r.IssuedAt.Unix(),
		Initiating:  r.Initiator,
		ReasonAdmin: map[string]string{"en": r.Reason},
		Estop: &member{
			Tenant: r.Tenant, Scope: r.Scope, Subject: r.Subject, Action: r.Action,
			IssuedAt: r.IssuedAt.UnixNano(), ValidAfter: nanos(r.ValidAfter), Until: r.Until.UnixNano(),
			Detector: r.Detector, Detection: r.Detection, By: r.By, Releases: r.Releases, Shield: nanos(r.Shield),
		},
	})
	if err != nil {
		return claims{}, err
	}
	txn := r.Detection
	if txn == "" {
		txn = r.ID
	}
	return claims{
		Issuer: issuer, ID: r.ID, IssuedAt: r.IssuedAt.Unix(), Audience: audience, Txn: txn,
		SubID:  newSubID(r),
		Events: map[string]json.RawMessage{eventType(r.Action): ev},
	}, nil
}

// revocation reads c back. The scope and the action may be unknown; everything else that a
// token says twice must agree.
func (c claims) revocation() (Revocation, error) {
	if c.Sub != nil || c.Exp != nil {
		return Revocation{}, errors.New("sub and exp must not appear in a security event token")
	}
	if len(c.Events) != 1 {
		return Revocation{}, fmt.Errorf("%d events, not one", len(c.Events))
	}
	for uri, raw := range c.Events {
		var ev event
		if err := json.Unmarshal(raw, &ev); err != nil {
			return Revocation{}, fmt.Errorf("event: %w", err)
		}
		if ev.Estop == nil {
			return Revocation{}, errors.New("event without the member estop")
		}
		r := ev.revocation(c.ID)
		if r.Action.Valid() && uri != eventType(r.Action) {
			return Revocation{}, fmt.Errorf("event %q with action %q", uri, r.Action)
		}
		if c.IssuedAt != r.IssuedAt.Unix() {
			return Revocation{}, errors.New("iat and issued_at differ")
		}
		return r, nil
	}
	panic("unreachable")
}

func (ev event) revocation(id string) Revocation {
	m := ev.Estop
	return Revocation{
		ID: id, Tenant: m.Tenant, Scope: m.Scope, Subject: m.Subject, Action: m.Action,
		IssuedAt: moment(m.IssuedAt), ValidAfter: moment(m.ValidAfter), Until: moment(m.Until),
		Detector: m.Detector, Detection: m.Detection, By: m.By, Releases: m.Releases, Shield: moment(m.Shield),
		Reason: ev.ReasonAdmin["en"], Initiator: ev.Initiating,
	}
}

// matches reports whether s names exactly the target of r: no member missing, none more.
func (s *subID) matches(r Revocation) bool {
	if s == nil || r.Tenant == "" || r.Subject == "" {
		return false
	}
	want := newSubID(r)
	return s.Format == want.Format &&
		s.Tenant.equal(want.Tenant) && s.Application.equal(want.Application) &&
		s.User.equal(want.User) && s.Session.equal(want.Session) &&
		s.Chain.equal(want.Chain) && s.Global.equal(want.Global) && s.Other.equal(want.Other)
}

func (o *opaque) equal(p *opaque) bool {
	if o == nil || p == nil {
		return o == p
	}
	return *o == *p
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
