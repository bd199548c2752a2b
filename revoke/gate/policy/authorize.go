package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/estop-project/estop/revoke/gate"
)

// Bounds of what a policy is asked about.
const (
	maxText    = 8 << 10 // bytes of an action, a resource or an entry of the context
	maxContext = 32      // entries
	maxReason  = 512     // bytes
	maxNamed   = 16      // ids of a decision
	maxDepth   = 64      // segments of a path
)

// Authorize decides a request, of an agent whose risk is r. What no policy permits is denied, and what one forbids is
// denied whatever others permit.
//
// Two things are stricter than plain Cedar, which leaves a policy out that cannot be evaluated: a forbid that cannot be
// evaluated denies, and so does a resource that may be read in two ways, since the service may act on another one than
// the policies were asked about.
func (s *Set) Authorize(q *gate.Request, r Risk) gate.Permission {
	if why := unclear(q); why != "" {
		return gate.Permission{Reason: why}
	}
	w := newWorld(s, q, r)
	decision, d := cedar.Authorize(s, w, cedar.Request{
		Principal: w.principal, Action: w.action, Resource: w.resource, Context: w.context(),
	})
	return s.permission(decision, d)
}

func (s *Set) permission(decision cedar.Decision, d cedar.Diagnostic) gate.Permission {
	p := gate.Permission{Allowed: decision == cedar.Allow}
	for _, reason := range d.Reasons {
		p.Policies = append(p.Policies, string(reason.PolicyID))
	}
	if broken, why := s.broken(d); broken != "" && (p.Allowed || len(p.Policies) == 0) {
		return gate.Permission{Policies: []string{broken}, Reason: text(fmt.Sprintf("forbidden, because policy %s cannot be evaluated: %s", broken, why))}
	}
	switch {
	case p.Allowed:
	case len(p.Policies) == 0:
		p.Reason = "no policy permits it"
		for _, e := range d.Errors {
			p.Reason = text(fmt.Sprintf("no policy permits it; policy %s cannot be evaluated: %s", e.PolicyID, e.Message))
		}
	default:
		n, _ := s.find(d.Reasons[0].PolicyID)
		p.Reason = text("forbidden by policy " + n.because())
	}
	if len(p.Policies) > maxNamed {
		p.Policies = p.Policies[:maxNamed]
	}
	return p
}

// broken returns the first forbid that could not be evaluated, and why.
func (s *Set) broken(d cedar.Diagnostic) (id, why string) {
	for _, e := range d.Errors {
		if n, ok := s.find(e.PolicyID); ok && n.policy.Effect() == cedar.Forbid {
			return string(e.PolicyID), e.Message
		}
	}
	return "", ""
}

// unclear returns why a request cannot be decided on, empty if it can.
func unclear(q *gate.Request) string {
	c := &q.Call
	switch {
	case len(c.Action) > maxText || len(c.Resource) > maxText:
		return fmt.Sprintf("policies are asked about names of %d bytes at most", maxText)
	case strings.Count(c.Resource, "/") > maxDepth:
		return fmt.Sprintf("policies are asked about paths of %d segments at most", maxDepth)
	case ambiguous(c.Resource):
		return "the resource may be read in two ways"
	}
	return ""
}

// ambiguous reports whether the path of a resource has more than one reading. Servers differ on empty and dotted
// segments, on what follows a semicolon, on backslashes, and on encoded forms of these.
func ambiguous(resource string) bool {
	scheme, _, path := split(resource)
	if path == "" || path[0] != '/' {
		return false
	}
	if before, inner, ok := strings.Cut(path, "://"); ok && scheme != "" {
		path = before + "/" + strings.TrimLeft(inner, "/") // mcp://files/file:///srv
	}
	if strings.Contains(path, "//") || strings.ContainsAny(path, ";\\\x00") {
		return true
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return slices.ContainsFunc(encoded, func(e string) bool { return containsFold(path, e) })
}

// encoded are percent-encodings that change how a path is cut.
var encoded = []string{"%2f", "%5c", "%2e", "%3b", "%25", "%00"}

func containsFold(s, lower string) bool {
	for i := range len(s) - len(lower) + 1 {
		if strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

// text bounds a reason.
func text(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ToValidUTF8(s, "?")
}
