package backtest

import (
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// guard denies what kills would have stopped, as guards in production do, in the calls' own time. Nothing
// that it knows can stop anybody.
type guard struct{ until map[subject]int64 }

// subject is what a kill stops.
type subject struct {
	scope         detector.Scope
	tenant, value string
}

func newGuard() *guard { return &guard{map[subject]int64{}} }

// kill carries out a response to a detection.
func (g *guard) kill(r detector.Supposed, d *detector.Detection) {
	if r.Action() == detector.Throttle {
		return // slows the agent down, and stops nothing
	}
	s := subjectOf(r.Scope(), d)
	g.until[s] = max(g.until[s], d.Time.UnixNano()+int64(r.For()))
}

// subjectOf is what a response means where the call lacks the scope's field: the agent.
func subjectOf(scope detector.Scope, d *detector.Detection) subject {
	switch {
	case scope == detector.ScopeIdentity && d.Identity != "":
		return subject{scope, d.Tenant, d.Identity}
	case scope == detector.ScopeSession && d.Session != "":
		return subject{scope, d.Tenant, d.Session}
	case scope == detector.ScopeChain && len(d.Chain) > 0:
		return subject{scope, d.Tenant, d.Chain[0]}
	case scope == detector.ScopeTenant:
		return subject{scope, d.Tenant, ""}
	}
	return subject{detector.ScopeAgent, d.Tenant, d.Agent}
}

// denies reports whether a call is stopped. An agent is stopped wherever it stands in the chain.
func (g *guard) denies(c *telemetry.Call) bool {
	if len(g.until) == 0 {
		return false
	}
	tenant := string(c.Tenant)
	stopped := func(scope detector.Scope, value []byte) bool {
		until, ok := g.until[subject{scope, tenant, string(value)}]
		return ok && c.Time < until
	}
	if stopped(detector.ScopeAgent, c.Agent) || stopped(detector.ScopeIdentity, c.Identity) ||
		stopped(detector.ScopeSession, c.Session) || stopped(detector.ScopeTenant, nil) {
		return true
	}
	for i, member := range c.Chain {
		if stopped(detector.ScopeAgent, member) || i == 0 && stopped(detector.ScopeChain, member) {
			return true
		}
	}
	return false
}
