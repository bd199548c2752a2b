package revoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

const (
	// RiskPrefix begins the NATS subjects of risks: .<tenant token>.<agent token>.<source token>.
	RiskPrefix = "estop.v1.risk"
	// RiskType is the type of a risk's token: it is never taken for another one.
	RiskType = "estop-risk+jwt"
	// EventRiskLevelChange is CAEP's event for a risk that has another level than before.
	EventRiskLevelChange = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
	// MaxRiskFor bounds how long a risk may hold.
	MaxRiskFor = 30 * 24 * time.Hour

	// maxRiskToken bounds a token: the longest names fill it.
	maxRiskToken = 8 << 10
	// riskPrincipal says in CAEP's words whose risk it is: the member of the subject.
	riskPrincipal = "APPLICATION"
)

// Level is how high a risk is.
type Level string

// The levels of a risk. Unknown is never published: it is that of an agent of which nothing is known.
const (
	RiskUnknown Level = "unknown"
	RiskLow     Level = "low"
	RiskMedium  Level = "medium"
	RiskHigh    Level = "high"
)

// caep is a level in CAEP's words.
var caep = map[Level]string{RiskLow: "LOW", RiskMedium: "MEDIUM", RiskHigh: "HIGH"}

// Rank orders levels: of several that are known of an agent the greatest one holds. Unknown is 0.
func (l Level) Rank() int {
	switch l {
	case RiskLow:
		return 1
	case RiskMedium:
		return 2
	case RiskHigh:
		return 3
	}
	return 0
}

// SourceEvidence is the source of risks that are levels of evidence. Each detector is one more source: while the agent
// is quiet after a detection.
const SourceEvidence = "evidence"

// SourceOf returns the source of the risk that a detector's detection is.
func SourceOf(detector string) string { return "detector/" + detector }

// Risk is a detector's word on how high the risk of an agent is. The last one of each source holds until its end, and of
// several the highest.
type Risk struct {
	Tenant, Agent string
	Source        string // SourceEvidence, or SourceOf a detector
	Level         Level
	Score         int // 0 to 100: evidence in percent of what a detector fires at
	IssuedAt      time.Time
	Until         time.Time
	Reason        string // for people: the detector that weighs most
}

// RiskSubject returns the NATS subject of r.
func RiskSubject(r Risk) string {
	return RiskPrefix + "." + Token(r.Tenant) + "." + Token(r.Agent) + "." + Token(r.Source)
}

// RiskSubjects returns the wildcard subject of all risks of one tenant.
func RiskSubjects(tenant string) string { return RiskPrefix + "." + Token(tenant) + ".>" }

// riskClaims is the payload of a risk's token: a Security Event Token (RFC 8417) with CAEP's risk-level-change.
type riskClaims struct {
	Issuer   string               `json:"iss"`
	ID       string               `json:"jti"`
	IssuedAt int64                `json:"iat"` // seconds
	Audience string               `json:"aud"`
	SubID    *subID               `json:"sub_id"`
	Events   map[string]riskEvent `json:"events"`
	Sub      json.RawMessage      `json:"sub,omitempty"`
	Exp      json.RawMessage      `json:"exp,omitempty"`
}

// riskEvent is CAEP's event and what it lacks. Times of ours are Unix nanoseconds.
type riskEvent struct {
	Timestamp int64      `json:"event_timestamp"` // seconds
	Level     string     `json:"current_level"`
	Principal string     `json:"principal"`
	Reason    string     `json:"risk_reason,omitempty"`
	Estop     riskMember `json:"estop"`
}

type riskMember struct {
	Source   string `json:"source"`
	Score    int    `json:"score"`
	IssuedAt int64  `json:"issued_at"`
	Until    int64  `json:"until"`
}

// SignRisk returns r as a compact JWS. It refuses what VerifyRisk would (ErrInvalid).
func (s Signer) SignRisk(r Risk) (string, error) {
	if err := r.validate(); err != nil {
		return "", fmt.Errorf("cannot sign risk: %w: %w", ErrInvalid, err)
	}
	subject := RiskSubject(r)
	payload, err := json.Marshal(riskClaims{
		Issuer: s.Issuer, Audience: audienceOr(s.Audience), IssuedAt: r.IssuedAt.Unix(),
		ID:    shortHash(fmt.Appendf(nil, "%s %d", subject, r.IssuedAt.UnixNano())),
		SubID: riskOf(r),
		Events: map[string]riskEvent{EventRiskLevelChange: {
			Timestamp: r.IssuedAt.Unix(), Level: caep[r.Level], Principal: riskPrincipal, Reason: r.Reason,
			Estop: riskMember{Source: r.Source, Score: r.Score, IssuedAt: r.IssuedAt.UnixNano(), Until: r.Until.UnixNano()},
		}},
	})
	if err != nil {
		return "", fmt.Errorf("cannot sign risk: %w", err)
	}
	token, err := s.jws(payload, RiskType)
	if err != nil {
		return "", fmt.Errorf("cannot sign risk: %w", err)
	}
	if len(token) > maxRiskToken {
		return "", fmt.Errorf("cannot sign risk: %w: %d bytes", ErrTooLarge, len(token))
	}
	return token, nil
}

func riskOf(r Risk) *subID {
	return &subID{Format: "complex", Tenant: &opaque{"opaque", r.Tenant}, Application: &opaque{"opaque", r.Agent}}
}

// VerifyRisk returns what a token says if a trusted key signed it, it is for this audience, it came on its own subject, and
// it holds at now. That nothing newer was heard is the caller's to check.
func (v Verifier) VerifyRisk(subject string, token []byte, now time.Time) (Risk, error) {
	if len(token) > maxRiskToken {
		return Risk{}, fmt.Errorf("cannot verify risk: %w: %d bytes", ErrTooLarge, len(token))
	}
	r, err := v.readRisk(token)
	switch {
	case err != nil:
		return Risk{}, fmt.Errorf("cannot verify risk: %w", err)
	case RiskSubject(r) != subject:
		return Risk{}, fmt.Errorf("cannot verify risk: %w: it came on another subject", ErrUnderfilled)
	case r.IssuedAt.Sub(now) > MaxSkew:
		return Risk{}, fmt.Errorf("cannot verify risk: %w: %v", ErrNotYetValid, r.IssuedAt)
	case !now.Before(r.Until):
		return Risk{}, fmt.Errorf("cannot verify risk: %w: %v", ErrExpired, r.Until)
	}
	return r, nil
}

func (v Verifier) readRisk(token []byte) (Risk, error) {
	payload, key, err := v.open(token, RiskType)
	if err != nil {
		return Risk{}, err
	}
	var c riskClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Risk{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := v.addressed(c.Issuer, c.Audience); err != nil {
		return Risk{}, err
	}
	r, err := c.risk()
	if err != nil {
		return Risk{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, key.mayTell(r.IssuedAt)
}

func (c riskClaims) risk() (Risk, error) {
	ev, ok := c.Events[EventRiskLevelChange]
	s := c.SubID
	switch {
	case c.Sub != nil || c.Exp != nil:
		return Risk{}, errors.New("sub and exp must not appear in a security event token")
	case !ok || len(c.Events) != 1:
		return Risk{}, errors.New("not one event of a risk")
	case s == nil || s.Tenant == nil || s.Application == nil:
		return Risk{}, errors.New("an under-filled subject")
	case ev.Principal != riskPrincipal:
		return Risk{}, errors.New("principal")
	}
	r := Risk{
		Tenant: s.Tenant.ID, Agent: s.Application.ID, Source: ev.Estop.Source, Level: levelOf(ev.Level), Score: ev.Estop.Score,
		IssuedAt: moment(ev.Estop.IssuedAt), Until: moment(ev.Estop.Until), Reason: ev.Reason,
	}
	if *s != (subID{Format: "complex", Tenant: s.Tenant, Application: s.Application}) ||
		!s.Tenant.equal(&opaque{"opaque", r.Tenant}) || !s.Application.equal(&opaque{"opaque", r.Agent}) {
		return Risk{}, errors.New("the subject names more than an agent")
	}
	if c.IssuedAt != r.IssuedAt.Unix() {
		return Risk{}, errors.New("iat and issued_at differ")
	}
	return r, r.validate()
}

func levelOf(word string) Level {
	for l, w := range caep {
		if w == word {
			return l
		}
	}
	return RiskUnknown
}

func (r Risk) validate() error {
	switch {
	case r.Tenant == "" || len(r.Tenant) > MaxTenant:
		return errors.New("tenant")
	case r.Agent == "" || len(r.Agent) > MaxSubject:
		return errors.New("agent")
	case r.Source == "" || len(r.Source) > maxName:
		return errors.New("source")
	case !utf8.ValidString(r.Tenant + r.Agent + r.Source + r.Reason):
		return errors.New("a text that is not UTF-8") // it would come back as another one
	case r.Level.Rank() == 0:
		return errors.New("level")
	case r.Score < 0 || r.Score > 100:
		return errors.New("score")
	case len(r.Reason) > MaxReason:
		return errors.New("reason")
	case !inRange(r.IssuedAt) || !inRange(r.Until):
		return errors.New("time")
	case !r.Until.After(r.IssuedAt) || r.Until.Sub(r.IssuedAt) > MaxRiskFor:
		return errors.New("until")
	}
	return nil
}
