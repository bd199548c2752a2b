package node

import (
	"context"
	"fmt"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

// Interlock bounds what detectors may stop.
type Interlock struct {
	Window  time.Duration `config:"window"`        // that the limits are over
	Targets int           `config:"targets"`       // that detectors may stop in the window, of all tenants; 0: any number
	Percent int           `config:"tenantpercent"` // of a tenant's known agents; 0: all
	Least   int           `config:"tenantleast"`   // of a tenant's agents, however few are known
	// Protected are never stopped by detectors: TENANT/AGENT, in which * stands for any text.
	Protected []string `config:"protected"`
}

func (i Interlock) options(census *pipeline.Census) revoke.InterlockOptions {
	return revoke.InterlockOptions{
		Window: i.Window, Targets: i.Targets, TenantPercent: i.Percent, TenantLeast: i.Least,
		Protected: i.Protected, Known: census.Known,
	}
}

func (i Interlock) check(found *problems) {
	found.positive("interlock.window", i.Window)
	found.between("interlock.targets", int64(i.Targets), 0, 1<<30)
	found.between("interlock.tenantpercent", int64(i.Percent), 0, 100)
	found.between("interlock.tenantleast", int64(i.Least), 0, 1<<30)
	for _, p := range i.Protected {
		if _, err := revoke.NewInterlock(revoke.InterlockOptions{Window: 1, Protected: []string{p}}); err != nil {
			found.add("interlock.protected", fmt.Sprintf("%q is not TENANT/AGENT, such as acme/payroll-*", p))
		}
	}
}

// interlock returns the interlock, which knows what was stopped before this process began.
func (n *running) interlock(ctx context.Context, census *pipeline.Census) (*revoke.Interlock, error) {
	i, err := revoke.NewInterlock(n.Interlock.options(census))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	err = pipeline.EachRevocation(ctx, n.kafka, now.Add(-n.Interlock.Window), func(r revoke.Revocation, err error) {
		if err != nil {
			n.log.Warn("a record of the revocations is passed over: the interlock does not count it", "err", err)
			return
		}
		i.Note(r, now)
	})
	return i, err
}
