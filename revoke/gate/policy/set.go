// Package policy decides by Cedar policies which of the calls that a guard lets through may pass: by who calls and on
// whose behalf, the action, the resource, the time, and how high the agent's live risk is.
package policy

import (
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// Set is a compiled set of policies. It does not change, and is safe for concurrent use.
type Set struct {
	policies []named
	entities cedar.EntityMap // from entities.json
	files    int
}

// named is a policy with the id that decisions name it by.
type named struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	reason string // of its annotation @reason
}

// All gives the policies in the order of their files.
func (s *Set) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range s.policies {
			if !yield(p.id, p.policy) {
				return
			}
		}
	}
}

// Len returns how many policies there are.
func (s *Set) Len() int { return len(s.policies) }

// Files returns how many files they stand in.
func (s *Set) Files() int { return s.files }

// IDs returns the ids of the policies, in the order of their files.
func (s *Set) IDs() []string {
	ids := make([]string, 0, len(s.policies))
	for _, p := range s.policies {
		ids = append(ids, string(p.id))
	}
	return ids
}

// effect returns what a policy does; forbid where there is none of this id, which does not happen.
func (s *Set) find(id cedar.PolicyID) (named, bool) {
	i := slices.IndexFunc(s.policies, func(p named) bool { return p.id == id })
	if i < 0 {
		return named{}, false
	}
	return s.policies[i], true
}

// because returns what a policy says of why it is there, after its id.
func (n named) because() string {
	if n.reason == "" {
		return string(n.id)
	}
	return string(n.id) + ": " + strings.TrimSpace(n.reason)
}
