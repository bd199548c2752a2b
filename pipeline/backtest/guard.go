package backtest

import (
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Guard denies what kills would have stopped, as guards in production do, in the calls' own time. Nothing
// that it knows can stop anybody.
type Guard struct{ until map[Subject]int64 }

// Subject is what a kill stops.
type Subject struct {
	Scope         detector.Scope
	Tenant, Value string
}

// NewGuard returns a guard that denies nothing.
func NewGuard() *Guard { return &Guard{map[Subject]int64{}} }

// Kill carries out a response to a detection.
func (g *Guard) Kill(r detector.Supposed, d *detector.Detection) {
	if r.Action() == detector.Throttle {
		return // slows the agent down, and stops nothing
	}
	s := SubjectOf(r.Scope(), d)
	g.until[s] = max(g.until[s], d.Time.UnixNano()+int64(r.For()))
}

// SubjectOf returns whom a response to a detection stops: the agent where the call lacks the scope's field.
func SubjectOf(scope detector.Scope, d *detector.Detection) Subject {
	switch {
	case scope == detector.ScopeIdentity && d.Identity != "":
		return Subject{scope, d.Tenant, d.Identity}
	case scope == detector.ScopeSession && d.Session != "":
		return Subject{scope, d.Tenant, d.Session}
	case scope == detector.ScopeChain && len(d.Chain) > 0:
		return Subject{scope, d.Tenant, d.Chain[0]}
	case scope == detector.ScopeTenant:
		return Subject{scope, d.Tenant, ""}
	}
	return Subject{detector.ScopeAgent, d.Tenant, d.Agent}
}

// Denies reports whether a call is stopped. An agent is stopped wherever it stands in the chain.
func (g *Guard) Denies(c *telemetry.Call) bool {
	if len(g.until) == 0 {
		return false
	}
	tenant := string(c.Tenant)
	stopped := func(scope detector.Scope, value []byte) bool {
		until, ok := g.until[Subject{scope, tenant, string(value)}]
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
