package gate

import (
	"strings"
	"time"

	"github.com/estop-project/estop/revoke/guard"
)

// Request is a call that the guard lets through, as policies are asked about it.
type Request struct {
	Call    guard.Call
	Time    time.Time
	Verdict guard.Verdict // of the guard: allow, or throttle or restrict where that lets the call pass
	Reads   bool          // the gate takes the call for one that only reads
	Gate    string        // kind of the gate
	// Context is what else the gate knows of the call.
	Context map[string]string
}

// Permission is what policies say to a request.
type Permission struct {
	Allowed  bool
	Policies []string // ids of those that decided, in order
	Reason   string   // why not, for people
}

// Authorizer decides by policies. It is safe for concurrent use.
type Authorizer func(*Request) Permission

// Decide turns the guard's decision into an answer, and asks the policies about what it lets through. So what
// the guard denies no policy permits. Without an authorizer the guard alone decides.
func (authorize Authorizer) Decide(g *guard.Guard, d guard.Decision, q Request) Answer {
	a := AnswerTo(g, d, q.Reads)
	if !a.Allowed || authorize == nil {
		return a
	}
	q.Verdict = max(q.Verdict, d.Verdict)
	if q.Time.IsZero() {
		q.Time = time.Now()
	}
	p := authorize(&q)
	if p.Allowed {
		return a
	}
	return Answer{Verdict: guard.Deny, Code: CodeForbidden, Reason: p.Reason, Policies: p.Policies}
}

// Refused notes in what is seen of a call that it was refused, if it was, and by what.
func (s *Seen) Refused(a Answer) {
	if a.Allowed {
		return
	}
	s.Outcome, s.Revocation, s.Policies, s.Forbidden = Denied, a.Revocation, a.Policies, a.Code == CodeForbidden
}

// PolicyOf is what telemetry says of the policies that refused a call: their ids, or that none permits it.
func PolicyOf(ids []string) string {
	if len(ids) == 0 {
		return "none permits it"
	}
	return strings.Join(ids, ", ")
}
