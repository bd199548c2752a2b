package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// The codes of the JSON-RPC errors that the gate answers with.
const (
	CodeStopped = -32050 // the kill switch: the call was denied, slowed, or cut
	CodeServer  = -32051 // the server cannot answer: it has ended, or said too much
	codeParse   = -32700
	codeInvalid = -32600
)

// failure is the JSON-RPC error object.
type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// Stopped is the data of an error with CodeStopped: who stopped the call, and until when.
type Stopped struct {
	Verdict    string       `json:"verdict"` // throttle, restrict or deny
	Code       string       `json:"code"`    // that of every gate: REVOKED, STALE, …
	Reason     string       `json:"reason"`
	Revocation string       `json:"revocation,omitempty"`
	Policies   []string     `json:"policies,omitempty"` // that forbid it
	Scope      revoke.Scope `json:"scope,omitempty"`
	Subject    string       `json:"subject,omitempty"`
	Until      time.Time    `json:"until,omitzero"`
	// Cut says that the call had begun: it may have had effects.
	Cut bool `json:"cut,omitempty"`
	// RetryAfter is when a throttled call may be tried again, in milliseconds.
	RetryAfter int64 `json:"retry_after_ms,omitempty"`
}

func stopped(a gate.Answer, r *revoke.Revocation) Stopped {
	s := Stopped{Verdict: a.Verdict.String(), Code: a.Code, Reason: a.Reason, Policies: a.Policies, RetryAfter: a.RetryAfter.Milliseconds()}
	if r != nil && a.Code != gate.CodeForbidden {
		s.Revocation, s.Scope, s.Subject, s.Until = r.ID, r.Scope, r.Subject, r.Until
	}
	return s
}

// cutBy returns why a context of the guard's was cut off, or nil if it was not.
func cutBy(ctx context.Context) *Stopped {
	r := guard.RevokedBy(ctx)
	if r == nil {
		return nil
	}
	s := stopped(gate.Revoked(r), r.Revocation)
	s.Cut = true
	return &s
}

func (s Stopped) failure() failure {
	words := map[string]string{guard.Throttle.String(): "slowed down", guard.Restrict.String(): "restricted to reading"}
	word, ok := words[s.Verdict]
	switch {
	case s.Cut:
		word = "cut off"
	case !ok:
		word = "denied"
	}
	return failure{CodeStopped, "estop: " + word + ": " + s.Reason, s}
}

// refused is the answer to a message that the gate does not forward for what it is.
func refused(err error) failure {
	code := codeInvalid
	if errors.Is(err, errNoJSON) {
		code = codeParse
	}
	return failure{code, "estop: " + wrong(err).Error(), nil}
}

// answer makes a response with an error. The id is written as it was read; nil is null.
func answer(id []byte, f failure) []byte {
	if id == nil {
		id = []byte("null")
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	b = append(b, `,"error":`...)
	b = append(b, f.json()...)
	return append(b, '}')
}

func (f failure) json() []byte {
	b, err := json.Marshal(f)
	if err != nil { // a time past the year 9999
		f.Data = nil
		return f.json()
	}
	return b
}

const methodCancelled = "notifications/cancelled"

// cancelled is the notification that tells a server to give up a request.
func cancelled(id []byte, reason string) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","method":"`+methodCancelled+`","params":{"requestId":`), id...)
	b = append(b, `,"reason":`...)
	r, err := json.Marshal(reason)
	if err != nil {
		r = []byte(`""`) // a text is always written
	}
	b = append(b, r...)
	return append(b, "}}"...)
}

// join makes a batch.
func join(list [][]byte) []byte {
	b := append([]byte{'['}, bytes.Join(list, []byte{','})...)
	return append(b, ']')
}
