package revoke

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var issued = time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.UTC)

func sample(change ...func(*Revocation)) Revocation {
	r := Revocation{
		ID: "0123456789", Tenant: "acme", Scope: Agent, Subject: "bot", Action: Revoke,
		IssuedAt: issued, Until: issued.Add(time.Hour), Reason: "evidence", Initiator: Policy,
		Detector: "burst", Detection: "d1",
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func TestComplaint08TheTimeIsMandatoryAndChecked(t *testing.T) {
	f := func(name string, until time.Time, ok bool) {
		t.Helper()
		err := sample(func(r *Revocation) { r.Until = until }).Validate()
		if (err == nil) != ok || (err != nil && !errors.Is(err, ErrInvalid)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("none", time.Time{}, false)
	f("zero long", issued, false)
	f("negative", issued.Add(-time.Second), false)
	f("shortest", issued.Add(1), true)
	f("an hour", issued.Add(time.Hour), true)
	f("longest", issued.Add(MaxDuration), true)
	f("too long", issued.Add(MaxDuration+1), false)
	f("for ever", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), false)
}

func TestComplaint08TheKeyIsTheWholeTarget(t *testing.T) {
	targets := []Revocation{
		{Tenant: "acme", Scope: Agent, Subject: "bot"},
		{Tenant: "globex", Scope: Agent, Subject: "bot"},
		{Tenant: "acme", Scope: Identity, Subject: "bot"},
		{Tenant: "acme", Scope: Session, Subject: "bot"},
		{Tenant: "acme", Scope: Chain, Subject: "bot"},
		{Tenant: "acme", Scope: Agent, Subject: "bot.agent"},
		{Tenant: "acme.agent", Scope: Agent, Subject: "bot"},
	}
	seen := make(map[string]Revocation)
	for _, r := range targets {
		s := Subject(r)
		if other, ok := seen[s]; ok {
			t.Errorf("%+v and %+v share %q", r, other, s)
		}
		seen[s] = r
	}
}

func TestComplaint13EmptyNeverMeansAll(t *testing.T) {
	for name, change := range map[string]func(*Revocation){
		"tenant":                          func(r *Revocation) { r.Tenant = "" },
		"subject":                         func(r *Revocation) { r.Subject = "" },
		"scope":                           func(r *Revocation) { r.Scope = "" },
		"action":                          func(r *Revocation) { r.Action = "" },
		"tenant with scope tenant":        func(r *Revocation) { r.Scope, r.Tenant, r.Subject = Tenant, "", "" },
		"subject with scope tenant":       func(r *Revocation) { r.Scope, r.Subject = Tenant, "" },
		"other subject with scope tenant": func(r *Revocation) { r.Scope, r.Subject = Tenant, "bot" },
	} {
		if err := sample(change).Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
		if _, err := testSigner.Sign(sample(change)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Sign: %v, want ErrInvalid", name, err)
		}
	}
}

func TestValidateRefusesWhatIsNotSaidOrTooLong(t *testing.T) {
	for name, change := range map[string]func(*Revocation){
		"no id":                   func(r *Revocation) { r.ID = "" },
		"no reason":               func(r *Revocation) { r.Reason = "" },
		"no initiator":            func(r *Revocation) { r.Initiator = "" },
		"odd initiator":           func(r *Revocation) { r.Initiator = "cat" },
		"no issued_at":            func(r *Revocation) { r.IssuedAt = time.Time{} },
		"issued_at before 1970":   func(r *Revocation) { r.IssuedAt = time.Unix(-1, 0) },
		"issued_at after 2262":    func(r *Revocation) { r.IssuedAt = time.Unix(1<<40, 0); r.Until = r.IssuedAt.Add(1) },
		"valid_after before 1970": func(r *Revocation) { r.ValidAfter = time.Unix(-1, 0) },
		"releases, not a release": func(r *Revocation) { r.Releases = "x" },
		"shield, not a release":   func(r *Revocation) { r.Shield = r.Until },
		"long subject":            func(r *Revocation) { r.Subject = strings.Repeat("x", MaxSubject+1) },
		"long reason":             func(r *Revocation) { r.Reason = strings.Repeat("x", MaxReason+1) },
		"long tenant":             func(r *Revocation) { r.Tenant = strings.Repeat("x", MaxTenant+1) },
		"subject not UTF-8":       func(r *Revocation) { r.Subject = "\xff" },
	} {
		if err := sample(change).Validate(); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnknownKind) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	for name, change := range map[string]func(*Revocation){
		"scope":  func(r *Revocation) { r.Scope = "planet" },
		"action": func(r *Revocation) { r.Action = "tickle" },
	} {
		if err := sample(change).Validate(); !errors.Is(err, ErrUnknownKind) {
			t.Errorf("unknown %s: %v, want ErrUnknownKind", name, err)
		}
	}
}
