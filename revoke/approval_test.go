package revoke

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

var all = Rules{TwoPerson: Demands}

func release(by string) Revocation {
	r := ordered(by)
	r.Action, r.Releases = Release, "the id of what it ends"
	r.ValidAfter = time.Time{}
	return r
}

func stopTenant(by string) Revocation {
	r := ordered(by)
	r.Scope, r.Subject = Tenant, r.Tenant
	return r
}

func stopAll(by string) Revocation {
	r := ordered(by)
	r.Scope, r.Tenant, r.Subject = Global, Everything, Everything
	return r
}

func lasting(r Revocation, d time.Duration) Revocation {
	r.Until = r.IssuedAt.Add(d)
	return r
}

func mustApprove(t testing.TB, s Signer, r Revocation) string {
	t.Helper()
	a, err := s.Approve(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatTakesTwoOperatorsTakesTwo(t *testing.T) {
	legacy := fixedSigner("seed of a key from before roles.")
	v := trust(all, detectorKey, ada, adaAgain, bob, legacy)
	other := release("ada")
	other.ID = "another order"
	later := release("ada")
	later.Until = later.Until.Add(time.Nanosecond)
	order, err := ada.Sign(release("ada"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(mustApprove(t, bob, release("ada")))
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		signer    Signer
		r         Revocation
		approvals []string
		want      error
	}{
		"a stop of one agent takes one":       {ada, ordered("ada"), nil, nil},
		"of one agent, by a detector":         {detectorKey, ordered(""), nil, nil},
		"a release by one":                    {ada, release("ada"), nil, ErrUnapproved},
		"a release by a detector":             {detectorKey, release(""), nil, ErrUnapproved},
		"a release by two":                    {ada, release("ada"), []string{mustApprove(t, bob, release("ada"))}, nil},
		"whoever of them signs":               {bob, release("bob"), []string{mustApprove(t, ada, release("x"))}, nil},
		"by one with two keys":                {ada, release("ada"), []string{mustApprove(t, adaAgain, release("ada"))}, ErrUnapproved},
		"by one, twice":                       {ada, release("ada"), []string{mustApprove(t, ada, release("ada"))}, ErrUnapproved},
		"by one, and one who is not trusted":  {ada, release("ada"), []string{mustApprove(t, eve, release("ada"))}, ErrUnapproved},
		"by one, and one for another order":   {ada, release("ada"), []string{mustApprove(t, bob, other)}, ErrUnapproved},
		"by one, and one for a later end":     {ada, release("ada"), []string{mustApprove(t, bob, later)}, ErrUnapproved},
		"by one, and a flipped bit":           {ada, release("ada"), []string{string(flipped)}, ErrUnapproved},
		"with a second approval that is bad":  {ada, release("ada"), []string{mustApprove(t, bob, release("ada")), "x.y.z"}, ErrUnapproved},
		"with more than four":                 {ada, release("ada"), strings.Fields(strings.Repeat(mustApprove(t, bob, release("ada"))+" ", 5)), ErrUnapproved},
		"with an order in place of approval":  {bob, release("bob"), []string{order}, ErrUnapproved},
		"with a key that has no name":         {legacy, release("x"), []string{mustApprove(t, bob, release("x"))}, ErrUnapproved},
		"by a detector, approved":             {detectorKey, release(""), []string{mustApprove(t, bob, release("x"))}, ErrUnapproved},
		"a tenant by one":                     {ada, stopTenant("ada"), nil, ErrUnapproved},
		"a tenant by a detector":              {detectorKey, stopTenant(""), nil, ErrUnapproved},
		"a tenant by two":                     {ada, stopTenant("ada"), []string{mustApprove(t, bob, stopTenant("ada"))}, nil},
		"everything by one":                   {ada, stopAll("ada"), nil, ErrUnapproved},
		"everything by two":                   {ada, stopAll("ada"), []string{mustApprove(t, bob, stopAll("ada"))}, nil},
		"everything by one, but for a moment": {ada, lasting(stopAll("ada"), time.Minute), nil, ErrUnapproved},
	} {
		t.Run(name, func(t *testing.T) {
			rec, err := c.signer.RecordApproved(c.r, c.approvals...)
			if err != nil {
				t.Fatal(err)
			}
			r, err := v.Verify([]byte(rec.SET), issued)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if two := len(c.approvals) > 0 && c.want == nil; two != (r.ApprovedBy != "") {
				t.Errorf("approved by %q", r.ApprovedBy)
			}
			// Where nobody demands it, one is enough, and a bad approval does no harm.
			v := v
			v.Rules = Rules{}
			if _, err := v.Verify([]byte(rec.SET), issued); err != nil {
				t.Errorf("without demands: %v", err)
			}
		})
	}
}

func TestOneOperatorMayStopForAWhileWhereTheGlassMayBeBroken(t *testing.T) {
	v := trust(Rules{TwoPerson: Demands, BreakGlass: true}, detectorKey, ada)
	for name, c := range map[string]struct {
		signer Signer
		r      Revocation
		want   error
	}{
		"everything for 15 minutes":  {ada, lasting(stopAll("ada"), BreakGlassLimit), nil},
		"a tenant for 15 minutes":    {ada, lasting(stopTenant("ada"), BreakGlassLimit), nil},
		"everything for longer":      {ada, lasting(stopAll("ada"), BreakGlassLimit+1), ErrUnapproved},
		"a release is never alone":   {ada, lasting(release("ada"), time.Minute), ErrUnapproved},
		"a detector breaks no glass": {detectorKey, lasting(stopAll(""), time.Minute), ErrUnapproved},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := c.signer.Sign(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify([]byte(token), issued); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestAnApprovalIsNoOrder(t *testing.T) {
	for _, rules := range []Rules{{}, all} {
		v := trust(rules, ada, bob)
		if _, err := v.Verify([]byte(mustApprove(t, ada, ordered("ada"))), issued); !errors.Is(err, ErrType) {
			t.Errorf("%v, want ErrType", err)
		}
	}
	if _, err := detectorKey.Approve(ordered("")); !errors.Is(err, ErrRole) {
		t.Errorf("a detector approves: %v", err)
	}
}

func TestAReleaseUnderAnotherNameWeakens(t *testing.T) {
	stop := lasting(ordered("ada"), time.Hour)
	stop.ValidAfter = time.Time{}
	change := func(f func(*Revocation)) Revocation {
		r := stop
		f(&r)
		return r
	}
	for name, c := range map[string]struct {
		r    Revocation
		want bool
	}{
		"the same again":      {stop, false},
		"a longer one":        {lasting(stop, 2*time.Hour), false},
		"a shorter one":       {lasting(stop, time.Second), true},
		"a throttle":          {change(func(r *Revocation) { r.Action = Throttle }), true},
		"a release":           {change(func(r *Revocation) { r.Action = Release }), true},
		"one with exceptions": {change(func(r *Revocation) { r.ValidAfter = stop.IssuedAt }), true},
		"an unknown action":   {change(func(r *Revocation) { r.Action = "erase" }), false},
	} {
		if got := c.r.Weakens(stop); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	throttle := change(func(r *Revocation) { r.Action = Throttle })
	if lasting(stop, time.Second).Weakens(throttle) {
		t.Error("a stop must not wait for a throttle to end")
	}
}

func FuzzApprovals(f *testing.F) {
	v := trust(all, ada, bob)
	good := mustApprove(f, bob, release("ada"))
	f.Add(`["` + good + `"]`)
	f.Add(`["` + good + `", "` + good + `"]`)
	f.Add(`[]`)
	f.Add(`null`)
	f.Add(`[""]`)
	f.Add(`"x"`)
	f.Add(`["e30.e30.AAAA"]`)
	f.Fuzz(func(t *testing.T, approvals string) {
		c, err := newClaims(release("ada"), DefaultIssuer, DefaultAudience)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		payload = append(payload[:len(payload)-1], `,"approvals":`+approvals+`}`...)
		token, err := ada.jws(payload, TokenType)
		if err != nil {
			t.Fatal(err)
		}
		r, err := v.Verify([]byte(token), issued)
		if err == nil && v.Rules.Wants(r) && r.ApprovedBy != "bob" {
			t.Fatalf("let one operator release alone, with %q", approvals)
		}
	})
}
