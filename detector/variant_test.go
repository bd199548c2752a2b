package detector

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const withTenants = `id: x
title: x
baseline: {feature: new(resource)}
budget: 1 per 1000 agent-days
exceptions: {match: {agent: a}, reason: the detector's}
tenants:
  own: {budget: 1 per 5000 agent-days}
  mode: {mode: alert}
  excused: {exceptions: {match: {agent: b}, reason: the tenant's}}
`

// A variant is what the file would be if the change stood in it: so each tenant gets what it would get then.
func TestAVariantIsTheFileWithTheChangeInIt(t *testing.T) {
	load := func(text string) *Set {
		t.Helper()
		set, errs := Load(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		return set
	}
	set := load(withTenants)
	changed, errs := set.With(0, Variant{
		Budget:     "1 per 2000 agent-days",
		Exceptions: "- {match: {agent: c}, reason: the variant's}",
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]struct {
		budget     string
		exceptions int
	}{
		"other": {"1 per 2000 agent-days", 2}, "own": {"1 per 5000 agent-days", 2}, "mode": {"1 per 2000 agent-days", 2}, "excused": {"1 per 2000 agent-days", 3},
	} {
		got := changed.Plan.Detectors[0].For(tenant)
		if got.Budget != want.budget || len(got.Exceptions) != want.exceptions {
			t.Errorf("%s: budget %q and %d exceptions, want %q and %d", tenant, got.Budget, len(got.Exceptions), want.budget, want.exceptions)
		}
		written := set.Plan.Detectors[0].For(tenant)
		if (got.Level == written.Level) != (got.Budget == written.Budget) {
			t.Errorf("%s: the level is %v of %q, that of %q was %v", tenant, got.Level, got.Budget, written.Budget, written.Level)
		}
	}
	if d := set.Plan.Detectors[0].For("mode"); d.Budget != "1 per 1000 agent-days" || len(d.Exceptions) != 1 {
		t.Errorf("the set itself changed: budget %q, %d exceptions", d.Budget, len(d.Exceptions))
	}
}

// A variant without an exception is what the file says without it, for all tenants or for those that had it alone.
func TestAVariantWithoutAnExceptionIsTheFileWithoutIt(t *testing.T) {
	const (
		one   = "  - {match: {agent: a}, reason: first}\n"
		two   = "  - {match: {agent: b}, reason: second}\n"
		three = "      - {match: {agent: c}, reason: third}\n"
	)
	load := func(text string) *Set {
		t.Helper()
		set, errs := Load(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		return set
	}
	write := func(own, acme string) string {
		text := "id: x\ntitle: x\nwhen: count(calls, 1m) > 1\n"
		if own != "" {
			text += "exceptions:\n" + own
		}
		return text + "tenants:\n  globex: {mode: alert}\n  acme:\n    mode: alert\n" + acme
	}
	set := load(write(one+two, "    exceptions:\n"+three))
	var places []string
	for i, x := range set.Exceptions(0) {
		places = append(places, x.Where+" "+x.Reason)
		without, errs := set.With(0, Variant{Without: &x})
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		want := load([]string{write(two, "    exceptions:\n"+three), write(one, "    exceptions:\n"+three), write(one+two, "")}[i])
		for _, tenant := range []string{"", "acme", "globex"} {
			reasons := func(s *Set) (all []string) {
				for _, x := range s.Plan.Detectors[0].For(tenant).Exceptions {
					all = append(all, x.Reason)
				}
				return all
			}
			if diff := cmp.Diff(reasons(want), reasons(without)); diff != "" {
				t.Errorf("without %s, tenant %q: %s", x.Where, tenant, diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"exceptions[0] first", "exceptions[1] second", "tenants.acme.exceptions[0] third"}, places); diff != "" {
		t.Error(diff)
	}
	if n := len(set.Plan.Detectors[0].Exceptions); n != 2 {
		t.Errorf("the set itself has %d exceptions left", n)
	}
}
