// Package gate is what the gates of revoke/gate/… have in common: whose call a request is,
// how resources fail, and what a decision of the guard is as an answer.
package gate

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/estop-project/estop/revoke/guard"
)

// Seen is a call that a gate let through or refused, for telemetry.
type Seen struct {
	guard.Call
	Time        time.Time // when it came
	Outcome     Outcome
	Latency     time.Duration // zero where the gate does not see the end
	BytesIn     int64
	BytesOut    int64
	Traceparent string   // W3C trace context, as sent
	Revocation  string   // the id of what refused or cut it, where the gate knows
	Policies    []string // the ids of what forbade it; none where no policy permits it
	Forbidden   bool     // policies refused it
	Kind        string   // of gate: http, grpc, envoy, forward-auth
}

// Outcome is how a call ended, in the words of telemetry.
type Outcome uint8

// The outcomes.
const (
	OK Outcome = iota
	Denied
	Failed
)

// OutcomeOf says how a call ended by the status of its response.
func OutcomeOf(status int) Outcome {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusTooManyRequests:
		return Denied
	case status >= 400:
		return Failed
	}
	return OK
}

// Answer is what a gate says to one call.
type Answer struct {
	Allowed    bool
	Verdict    guard.Verdict
	Code       string   // why not, for programs: one of the codes
	Reason     string   // why not, for people
	Revocation string   // the id of what decided, if a revocation did
	Policies   []string // the ids of what forbids it, if policies decided; none where none permits it
	RetryAfter time.Duration
}

// The codes of an answer that refuses.
const (
	CodeRevoked      = "REVOKED"
	CodeRestricted   = "RESTRICTED"
	CodeThrottled    = "THROTTLED"
	CodeUnidentified = "UNIDENTIFIED"
	CodeUnstoppable  = "UNSTOPPABLE"
	CodeNotServed    = "NOT_SERVED"
	CodeNotSynced    = "NOT_SYNCED"
	CodeStale        = "STALE"
	CodeForbidden    = "FORBIDDEN" // by policies
)

// codes are those of the decisions that no revocation made.
var codes = map[string]string{
	guard.ReasonUnidentified: CodeUnidentified,
	guard.ReasonUnstoppable:  CodeUnstoppable,
	guard.ReasonNotServed:    CodeNotServed,
	guard.ReasonNotSynced:    CodeNotSynced,
	guard.ReasonStale:        CodeStale,
}

// AnswerTo turns a decision into an answer, as guard.HTTP does: what is restricted may
// still read, and of what is throttled one call in each guard.PaceEvery passes.
func AnswerTo(g *guard.Guard, d guard.Decision, reads bool) Answer {
	a := Answer{Verdict: d.Verdict, Reason: d.Reason}
	if d.Revocation != nil {
		a.Revocation = d.Revocation.ID
	}
	switch d.Verdict {
	case guard.Allow:
		return Answer{Allowed: true}
	case guard.Throttle:
		if g.Pace(d, guard.PaceEvery) {
			return Answer{Allowed: true, Verdict: d.Verdict}
		}
		a.Code, a.RetryAfter = CodeThrottled, guard.PaceEvery
	case guard.Restrict:
		if reads {
			return Answer{Allowed: true, Verdict: d.Verdict}
		}
		a.Code = CodeRestricted
	default:
		a.Code = CodeRevoked
		if d.Revocation == nil {
			a.Code = codes[d.Reason]
		}
	}
	return a
}

// Unidentified is the answer to a call whose names err says are not known. The guard counts it.
func Unidentified(g *guard.Guard, err error) Answer {
	g.Check(&guard.Call{})
	return Answer{Verdict: guard.Deny, Code: CodeUnidentified, Reason: "unidentified: " + err.Error()}
}

// Revoked is the answer to a call in flight that was cut off.
func Revoked(r *guard.Revoked) Answer {
	a := Answer{Verdict: guard.Deny, Code: CodeRevoked, Reason: r.Reason}
	if r.Revocation != nil {
		a.Revocation = r.Revocation.ID
	}
	return a
}

// Body is the JSON that a refused HTTP client gets, as guard.HTTP writes it.
func Body(a Answer) []byte {
	b, err := json.Marshal(struct {
		Verdict    string   `json:"verdict"`
		Reason     string   `json:"reason"`
		Revocation string   `json:"revocation,omitempty"`
		Policies   []string `json:"policies,omitempty"`
	}{a.Verdict.String(), a.Reason, a.Revocation, a.Policies})
	if err != nil {
		panic("cannot write an answer: " + err.Error()) // texts
	}
	return append(b, '\n')
}

// Reads reports whether an HTTP method only reads: what a restricted agent may still do.
func Reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// maxHeader bounds a reason in a header, in bytes.
const maxHeader = 256

// Header returns text as it may stand in a header: one line of printable ASCII, not too long.
// Reasons are written by people.
func Header(text string) string {
	if len(text) > maxHeader {
		text = text[:maxHeader]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}
