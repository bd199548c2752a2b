package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

func TestADrillTriesEveryGuardWithFewTenants(t *testing.T) {
	guard := func(name string, tenants ...string) coverage.Guard {
		g := coverage.Guard{Report: revoke.Report{Guard: name}}
		g.Serve(len(tenants) == 0, tenants)
		return g
	}
	for name, c := range map[string]struct {
		guards []coverage.Guard
		want   []string
	}{
		"of all tenants":  {[]coverage.Guard{guard("a"), guard("b")}, []string{drillTenant}},
		"of one tenant":   {[]coverage.Guard{guard("a", "x"), guard("b", "x", "y"), guard("c")}, []string{"x"}},
		"of two tenants":  {[]coverage.Guard{guard("a", "x"), guard("b", "y")}, []string{"x", "y"}},
		"there are none":  {nil, []string{drillTenant}},
		"one serves both": {[]coverage.Guard{guard("a", "x"), guard("b", "y", "x"), guard("c", "y")}, []string{"x", "y"}},
	} {
		if diff := cmp.Diff(c.want, tenantsOf(c.guards)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestTheTimesOfADrillAreThoseOfItsAcknowledgements(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i))
	}
	if diff := cmp.Diff(Times{P50: 100, P99: 198, Worst: 200}, timesOf(took)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(Times{P50: 7, P99: 7, Worst: 7}, timesOf([]time.Duration{7})); diff != "" {
		t.Errorf("of one (-want +got)\n%s", diff)
	}
	d := Drill{}
	d.sum(map[string]*DrilledGuard{
		"a": {Guard: "a", Expected: 2, Confirmed: 2, took: []time.Duration{1, 2}}, "b": {Guard: "b", Expected: 2, Confirmed: 1, took: []time.Duration{9}},
	})
	if d.Coverage != 0.75 || d.Worst != 9 || cmp.Diff([]string{"b"}, d.Missing) != "" || d.Guards[0].Guard != "b" {
		t.Errorf("%+v", d)
	}
}

func TestDeadlinesAndDrillsAreHeldToBounds(t *testing.T) {
	for setting, want := range map[string]bool{
		"DEADLINE=0s": true, "DEADLINE=50ms": true, "DEADLINE=49ms": false, "DEADLINE=-1s": false, "DEADLINE=2h": false,
		"DRILL=0s": true, "DRILL=1h": true, "DRILL=10ms": false, "DRILL=-1s": false,
	} {
		if _, err := Load("", []string{"ESTOP_REVOKE_" + setting}, nil); (err == nil) != want {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
