package gatetest

import "github.com/estop-project/estop/revoke"

// Release ends what stops a scope of the tenant.
func (r *Rig) Release(scope revoke.Scope, subject string) {
	r.t.Helper()
	if _, err := r.client.Release(r.ctx(), Tenant, scope, subject, "false alarm", 0); err != nil {
		r.t.Fatal(err)
	}
}
