package revoke

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Demand is a kind of order that two people must agree on.
type Demand string

// The demands.
const (
	TwoForRelease Demand = "release" // the end of any revocation, and whatever would weaken one
	TwoForTenant  Demand = "tenant"  // a stop of a whole tenant
	TwoForGlobal  Demand = "global"  // a stop of everything
)

// Demands are all demands there are.
var Demands = []Demand{TwoForRelease, TwoForTenant, TwoForGlobal}

// BreakGlassLimit is how long a stop may last that one operator orders alone though it takes two.
const BreakGlassLimit = 15 * time.Minute

// Rules are what the set of public keys demands beside a good signature. They are with the keys,
// so that no console can leave them out: guards hold to them.
type Rules struct {
	TwoPerson []Demand `json:"two_person,omitempty"`
	// BreakGlass lets one operator stop for at most BreakGlassLimit what takes two otherwise.
	BreakGlass bool `json:"break_glass,omitempty"`
}

// Check refuses demands that are not known: one that is written wrongly must not be none.
func (u Rules) Check() error {
	for _, d := range u.TwoPerson {
		if !slices.Contains(Demands, d) {
			return fmt.Errorf("two_person: %q is none of release, tenant, global", d)
		}
	}
	return nil
}

// String names the demands.
func (u Rules) String() string {
	if len(u.TwoPerson) == 0 {
		return "none"
	}
	var words []string
	for _, d := range u.TwoPerson {
		words = append(words, string(d))
	}
	if u.BreakGlass {
		words = append(words, "break-glass")
	}
	return strings.Join(words, ", ")
}

// Wants reports whether r takes a second operator.
func (u Rules) Wants(r Revocation) bool {
	if len(u.TwoPerson) == 0 || u.BreakGlass && r.breaksGlass() {
		return false
	}
	switch {
	case r.Action == Release:
		return slices.Contains(u.TwoPerson, TwoForRelease)
	case r.Scope == Tenant:
		return slices.Contains(u.TwoPerson, TwoForTenant)
	case r.Scope == Global:
		return slices.Contains(u.TwoPerson, TwoForGlobal)
	}
	return false
}

// breaksGlass reports whether r is what one operator may do alone in an emergency.
func (r Revocation) breaksGlass() bool {
	return r.Action != Release && r.Initiator == Admin && r.Until.Sub(r.IssuedAt) <= BreakGlassLimit
}

// Guarded reports whether nothing that is in force may be weakened by one operator alone: an
// order that stops less would be a release under another name.
func (u Rules) Guarded() bool { return slices.Contains(u.TwoPerson, TwoForRelease) }

// Weakens reports whether r, in the place of old, would stop less: by a weaker action, or, where that
// is the same, by an earlier end or by letting more credentials through.
func (r Revocation) Weakens(old Revocation) bool {
	strength, before := r.Action.Strength(), old.Action.Strength()
	if strength != before {
		return strength < before
	}
	switch {
	case before == 0:
		return false // one release in the place of another
	case r.Until.Before(old.Until):
		return true
	case old.ValidAfter.IsZero():
		return !r.ValidAfter.IsZero()
	}
	return !r.ValidAfter.IsZero() && r.ValidAfter.Before(old.ValidAfter)
}
