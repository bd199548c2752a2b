package notify

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/estop-project/estop/revoke"
)

// The subject formats of the CAEP interoperability profile.
const (
	formatIssSub = "iss_sub"
	formatEmail  = "email"
)

var formatWords = []string{formatIssSub, formatEmail}

// Subject says how a receiver knows those whom a scope stops. What a receiver gets is always one
// subject, whole: there is no way to leave a part of it open, which would mean everybody.
type Subject struct {
	Format string
	Issuer string // of iss_sub
	Name   string // the sub or the email, with {tenant} and {subject}
}

var (
	scopeWords       = []string{"agent", "identity", "session", "chain", "tenant"}
	placeholderWords = []string{"tenant", "subject"}
)

// pieces takes the name apart: words in braces stand at odd places.
func pieces(name string) ([]string, error) {
	var all []string
	for {
		text, rest, open := strings.Cut(name, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("a } without a {")
		}
		all = append(all, text)
		if !open {
			return all, nil
		}
		word, after, closed := strings.Cut(rest, "}")
		if !closed || !slices.Contains(placeholderWords, word) {
			return nil, fmt.Errorf("{%s} is neither {tenant} nor {subject}", word)
		}
		all = append(all, word)
		name = after
	}
}

// id is the subject of a revocation (RFC 9493).
func (s *Subject) id(r *revoke.Revocation) (map[string]string, error) {
	name, err := s.fill(r)
	if err != nil {
		return nil, err
	}
	if s.Format == formatIssSub {
		return map[string]string{"format": formatIssSub, "iss": s.Issuer, "sub": name}, nil
	}
	if a, err := mail.ParseAddress(name); err != nil || a.Address != name {
		return nil, fmt.Errorf("%q is no email address", name)
	}
	return map[string]string{"format": formatEmail, "email": name}, nil
}

// fill puts the names of a revocation in. Where several stand in one text, none may hold what parts them:
// two different subjects would become the same.
func (s *Subject) fill(r *revoke.Revocation) (string, error) {
	parts, err := pieces(s.Name)
	if err != nil {
		return "", err
	}
	values := map[string]string{"tenant": r.Tenant, "subject": r.Subject}
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		value := values[part]
		if value == "" {
			return "", fmt.Errorf("the revocation has no %s", part)
		}
		if between := parts[i+1]; i+2 < len(parts) && strings.Contains(value, between) {
			return "", fmt.Errorf("the %s %q holds %q, which parts the names of a subject", part, value, between)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

func (s *Subject) names(word string) bool { return strings.Contains(s.Name, "{"+word+"}") }
