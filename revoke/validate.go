package revoke

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of a revocation. They keep a signed token below MaxToken and a subject below
// what NATS carries.
const (
	MaxDuration = 30 * 24 * time.Hour // from IssuedAt to Until
	MaxTenant   = 256                 // bytes
	MaxSubject  = 1024                // bytes
	MaxReason   = 2048                // bytes
	maxName     = 256                 // bytes of ID, Detector, Detection, By and Releases
)

// Initiators of a revocation.
const (
	Policy = "policy" // a detector
	Admin  = "admin"  // a person
)

// ErrInvalid is wrapped by every error of Validate: the revocation must not be published.
var ErrInvalid = errors.New("invalid revocation")

// ErrUnknownKind is wrapped where a scope or an action is outside the closed sets. A guard
// that meets it in a verified token stops the subject rather than ignore it.
var ErrUnknownKind = errors.New("unknown scope or action")

// Valid reports whether s is one of the scopes.
func (s Scope) Valid() bool {
	switch s {
	case Session, Identity, Agent, Chain, Tenant, Global:
		return true
	}
	return false
}

// Strength orders the actions: 0 for Release, then Throttle, Restrict, Revoke. An unknown
// action is as strong as Revoke, so that nothing new walks past an old guard.
func (a Action) Strength() int {
	switch a {
	case Release:
		return 0
	case Throttle:
		return 1
	case Restrict:
		return 2
	}
	return 3
}

// Valid reports whether a is one of the actions, Release included.
func (a Action) Valid() bool { return a == Revoke || a.Strength() < 3 }

// Validate checks that r says what it stops, for how long, and why. An empty field never
// means "all": it is refused. The error wraps ErrInvalid, and ErrUnknownKind too where
// only the scope or the action is unknown.
func (r Revocation) Validate() error {
	if err := r.validateTarget(); err != nil {
		return err
	}
	if err := r.validateTimes(); err != nil {
		return err
	}
	if err := r.validateText(); err != nil {
		return err
	}
	if !r.Scope.Valid() {
		return fmt.Errorf("%w: %w: scope %q", ErrInvalid, ErrUnknownKind, r.Scope)
	}
	if !r.Action.Valid() {
		return fmt.Errorf("%w: %w: action %q", ErrInvalid, ErrUnknownKind, r.Action)
	}
	return nil
}

func (r Revocation) validateTarget() error {
	switch {
	case r.Tenant == "":
		return fmt.Errorf("%w: no tenant", ErrInvalid)
	case r.Subject == "":
		return fmt.Errorf("%w: no subject", ErrInvalid)
	case r.Scope == "":
		return fmt.Errorf("%w: no scope", ErrInvalid)
	case r.Action == "":
		return fmt.Errorf("%w: no action", ErrInvalid)
	case r.Scope == Global && (r.Tenant != Everything || r.Subject != Everything):
		return fmt.Errorf("%w: scope global, but its tenant %q and its subject %q are not %q", ErrInvalid, r.Tenant, r.Subject, Everything)
	case r.Scope == Tenant && r.Subject != r.Tenant:
		return fmt.Errorf("%w: scope tenant, but subject %q is not the tenant %q", ErrInvalid, r.Subject, r.Tenant)
	}
	return nil
}

func (r Revocation) validateTimes() error {
	switch {
	case !inRange(r.IssuedAt):
		return fmt.Errorf("%w: issued_at %v is missing or out of range", ErrInvalid, r.IssuedAt)
	case r.Until.IsZero():
		return fmt.Errorf("%w: no until: every revocation ends by itself", ErrInvalid)
	case !r.Until.After(r.IssuedAt):
		return fmt.Errorf("%w: until %v is not after issued_at %v", ErrInvalid, r.Until, r.IssuedAt)
	case r.Until.Sub(r.IssuedAt) > MaxDuration:
		return fmt.Errorf("%w: lasts %v, longer than %v", ErrInvalid, r.Until.Sub(r.IssuedAt), MaxDuration)
	case !r.ValidAfter.IsZero() && !inRange(r.ValidAfter):
		return fmt.Errorf("%w: valid_after %v is out of range", ErrInvalid, r.ValidAfter)
	case !r.Shield.IsZero() && (r.Action != Release || !inRange(r.Shield) || r.Shield.After(r.Until)):
		return fmt.Errorf("%w: shield %v: only a release shields, and not beyond its until", ErrInvalid, r.Shield)
	}
	return nil
}

// inRange holds times to what nanoseconds in an int64 can say, with room for MaxDuration.
func inRange(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2262 && t.UnixNano() > 0 }

func (r Revocation) validateText() error {
	if r.ID == "" {
		return fmt.Errorf("%w: no id", ErrInvalid)
	}
	if r.Reason == "" {
		return fmt.Errorf("%w: no reason", ErrInvalid)
	}
	if r.Initiator != Policy && r.Initiator != Admin {
		return fmt.Errorf("%w: initiator %q is neither %s nor %s", ErrInvalid, r.Initiator, Policy, Admin)
	}
	if r.Releases != "" && r.Action != Release {
		return fmt.Errorf("%w: releases %q, but its action is %q", ErrInvalid, r.Releases, r.Action)
	}
	for _, f := range []struct {
		name, value string
		max         int
	}{
		{"id", r.ID, maxName},
		{"tenant", r.Tenant, MaxTenant},
		{"scope", string(r.Scope), maxName},
		{"subject", r.Subject, MaxSubject},
		{"action", string(r.Action), maxName},
		{"detector", r.Detector, maxName},
		{"detection", r.Detection, maxName},
		{"reason", r.Reason, MaxReason},
		{"by", r.By, maxName},
		{"releases", r.Releases, maxName},
	} {
		if len(f.value) > f.max {
			return fmt.Errorf("%w: %s is %d bytes, more than %d", ErrInvalid, f.name, len(f.value), f.max)
		}
		if !utf8.ValidString(f.value) {
			return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, f.name)
		}
	}
	return nil
}
