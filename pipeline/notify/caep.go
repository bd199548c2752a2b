package notify

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/estop-project/estop/revoke"
)

// The events that receivers get (CAEP 1.0 and the Shared Signals Framework 1.0).
const (
	eventSessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	eventRiskLevel      = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
	eventVerification   = "https://schemas.openid.net/secevent/ssf/event-type/verification"
)

var caepWords = map[string]string{"session-revoked": eventSessionRevoked, "risk-level-change": eventRiskLevel}

// caep pushes security event tokens (RFC 8417) to a receiver (RFC 8935). Of a revocation whose
// scope has no Subject, and of an action that has no event, the receiver hears nothing.
type caep struct {
	issuer, audience, stream string
	alg                      string
	events                   []string // URIs
	subjects                 map[revoke.Scope]Subject
	keys                     *Keys
}

// set are the claims of a security event token. There is neither sub nor exp in one.
type set struct {
	Issuer   string            `json:"iss"`
	ID       string            `json:"jti"`
	IssuedAt int64             `json:"iat"`
	Audience string            `json:"aud"`
	Txn      string            `json:"txn"`
	SubID    map[string]string `json:"sub_id"`
	Events   map[string]any    `json:"events"`
}

type caepEvent struct {
	Timestamp   int64             `json:"event_timestamp"` // seconds
	Initiating  string            `json:"initiating_entity"`
	ReasonAdmin map[string]string `json:"reason_admin"`
	*riskLevel
}

type riskLevel struct {
	Principal    string `json:"principal"`
	CurrentLevel string `json:"current_level"`
	Reason       string `json:"risk_reason"`
}

// riskLevels say how far an agent that is slowed or narrowed is trusted. One that is stopped has its session revoked
// instead, where the receiver takes that.
var riskLevels = map[revoke.Action]string{revoke.Throttle: "MEDIUM", revoke.Restrict: "HIGH", revoke.Revoke: "HIGH", revoke.Release: "LOW"}

// eventOf returns the event type that says an action, or nothing.
func (c *caep) eventOf(a revoke.Action) string {
	if a == revoke.Revoke && slices.Contains(c.events, eventSessionRevoked) {
		return eventSessionRevoked
	}
	if riskLevels[a] != "" && slices.Contains(c.events, eventRiskLevel) {
		return eventRiskLevel
	}
	return ""
}

func (c *caep) fits(e *Event) bool {
	if e.Kind == Verification {
		return true
	}
	if e.Revocation == nil {
		return false
	}
	_, known := c.subjects[e.Revocation.Scope]
	return known && c.eventOf(e.Revocation.Action) != ""
}

// message is the same token however often it is sent; for ES256, whose signatures are never the same, the same claims.
func (c *caep) message(e *Event, _ time.Time) (message, error) {
	claims, err := c.claims(e)
	if err != nil {
		return message{}, err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return message{}, err
	}
	token, err := c.keys.sign(c.alg, payload)
	return message{"application/secevent+jwt", http.Header{"Accept": {"application/json"}}, []byte(token)}, err
}

func (c *caep) claims(e *Event) (*set, error) {
	s := &set{Issuer: c.issuer, ID: e.ID, IssuedAt: e.Time.Unix(), Audience: c.audience, Txn: e.ID}
	if e.Kind == Verification {
		s.SubID = map[string]string{"format": "opaque", "id": c.stream}
		s.Events = map[string]any{eventVerification: verificationClaims{e.State}}
		return s, nil
	}
	if !c.fits(e) {
		return nil, errors.New("there is no event or no subject for it")
	}
	r := e.Revocation
	subject := c.subjects[r.Scope]
	id, err := subject.id(r)
	if err != nil {
		return nil, err
	}
	if s.Txn = r.Detection; s.Txn == "" {
		s.Txn = r.ID
	}
	s.SubID = id
	event := caepEvent{Timestamp: r.IssuedAt.Unix(), Initiating: r.Initiator, ReasonAdmin: map[string]string{"en": r.Reason}}
	if r.Reason == "" {
		event.ReasonAdmin["en"] = string(r.Action) // the profile wants one
	}
	uri := c.eventOf(r.Action)
	if uri == eventRiskLevel {
		event.riskLevel = &riskLevel{principalOf(r.Scope), riskLevels[r.Action], event.ReasonAdmin["en"]}
	}
	s.Events = map[string]any{uri: event}
	return s, nil
}

// principalOf is CAEP's word for what a scope stops.
func principalOf(s revoke.Scope) string {
	switch s {
	case revoke.Session:
		return "SESSION"
	case revoke.Tenant:
		return "TENANT"
	}
	return "USER"
}

// taken takes 202 alone as a yes (RFC 8935): some other page that is fine has not taken a token.
func (*caep) taken(status int, body []byte) error {
	if status == http.StatusAccepted {
		return nil
	}
	var said struct {
		Err         string `json:"err"`
		Description string `json:"description"`
	}
	if status != http.StatusBadRequest || json.Unmarshal(body, &said) != nil || said.Err == "" {
		return answered(status, "")
	}
	err := answered(status, said.Err+" "+said.Description)
	switch said.Err {
	case "invalid_request", "invalid_issuer", "invalid_audience", "invalid_state":
		return refusal{err}
	}
	// What is left is about keys, logins and rights (invalid_key, authentication_failed, access_denied),
	// which the receiver's side puts right without a new event.
	return err
}

// verificationClaims are what a verification says.
type verificationClaims struct {
	State string `json:"state,omitempty"` // what the receiver gave when it asked for it
}

// verification is an event that shows a receiver, and us, that the stream works from end to end.
func verification(now time.Time) *Event {
	return &Event{ID: fmt.Sprintf("%s-%s", Verification, rand.Text()), Kind: Verification, Time: now}
}
