package detector

import (
	"testing"
	"testing/fstest"
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
