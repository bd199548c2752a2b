package guard_test

import (
	"strings"
	"testing"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestACallWithANameThatNoRevocationCanCarryIsDenied(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("gate-1")
	long := strings.Repeat("x", revoke.MaxSubject+1)
	for name, call := range map[string]guard.Call{
		"tenant":   {Tenant: long, Agent: "a"},
		"agent":    {Tenant: "acme", Agent: long},
		"identity": {Tenant: "acme", Agent: "a", Identity: long},
		"session":  {Tenant: "acme", Agent: "a", Session: long},
		"chain":    {Tenant: "acme", Agent: "a", Chain: []string{"root", long}},
	} {
		if d := g.Check(&call); d.Verdict != guard.Deny || d.Reason != guard.ReasonUnstoppable {
			t.Errorf("%s: %v %q", name, d.Verdict, d.Reason)
		}
	}
	if d := g.Check(&guard.Call{Tenant: "acme", Agent: long[:revoke.MaxSubject]}); d.Verdict != guard.Allow {
		t.Errorf("the longest name: %v %q", d.Verdict, d.Reason)
	}
}
