package guard

import (
	"hash/maphash"
	"time"

	"github.com/estop-project/estop/revoke"
)

// Call is what a guard must know of a call. Tenant and Agent are mandatory: a call without
// them is denied.
type Call struct {
	Tenant   string
	Agent    string   // the acting agent
	Identity string   // the credential or role it acts with
	Session  string   // the run, conversation or request tree
	Chain    []string // the delegation chain, root first
	// CredentialIssuedAt lets the call past revocations whose valid_after is earlier.
	// Zero is unknown: it passes none.
	CredentialIssuedAt time.Time
	Resource           string
	Action             string
}

// Verdict is the answer to a call, weakest first.
type Verdict uint8

// The verdicts. What Throttle and Restrict allow is the enforcement point's to say; HTTP
// shows one way.
const (
	Allow Verdict = iota
	Throttle
	Restrict
	Deny
)

// String returns the verdict as it is written in JSON.
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Throttle:
		return "throttle"
	case Restrict:
		return "restrict"
	}
	return "deny"
}

// The reasons of a decision that no revocation made.
const (
	ReasonUnidentified = "unidentified: the call has no tenant or no agent"
	ReasonUnstoppable  = "unstoppable: a name of the call is longer than a revocation can carry"
	ReasonNotServed    = "this guard does not hear of the call's tenant"
	ReasonNotSynced    = "not synced: the active revocations are not loaded yet"
	ReasonStale        = "stale: the stream of revocations is out of reach"
)

// Decision is the answer to a call and why. The zero value allows.
type Decision struct {
	Verdict    Verdict
	Revocation *revoke.Revocation // what made the decision; nil: see Reason. Read only.
	Reason     string             // empty where the call is allowed

	entry *entry
}

// Check answers for one call: the strongest revocation in force that matches its tenant,
// agent, identity, session or any member of its chain. It takes no lock and allocates
// nothing.
//
// Both the scopes agent and chain match the acting agent and every member of the chain:
// nothing may act on the authority of an agent that is stopped.
func (g *Guard) Check(c *Call) Decision {
	d := g.decide(c)
	g.counters.decided(d.Verdict)
	return d
}

func (g *Guard) decide(c *Call) Decision {
	if c.Tenant == "" || c.Agent == "" {
		return Decision{Verdict: Deny, Reason: ReasonUnidentified}
	}
	if unstoppable(c) {
		return Decision{Verdict: Deny, Reason: ReasonUnstoppable}
	}
	if g.tenants != nil {
		if _, ok := g.tenants[c.Tenant]; !ok {
			return Decision{Verdict: Deny, Reason: ReasonNotServed}
		}
	}
	if why := g.blocked.Load(); why != 0 {
		if reason := g.closed(c, why); reason != "" {
			return Decision{Verdict: Deny, Reason: reason}
		}
	}
	g.verifyBefore(c)
	if g.set.size.Load() == 0 {
		return Decision{}
	}
	e := g.match(c)
	if e == nil {
		return Decision{}
	}
	if e.verdict == Deny && e.denied.Load() == 0 {
		g.deniedFirst(e)
	}
	return Decision{Verdict: e.verdict, Revocation: e.rev, Reason: e.reason, entry: e}
}

// closed returns the reason for which c fails closed, empty where its owner chose otherwise.
func (g *Guard) closed(c *Call, why uint32) string {
	switch {
	case g.o.FailClosed != nil && !g.o.FailClosed(c):
		return ""
	case why&notSynced != 0:
		return ReasonNotSynced
	case g.o.StaleLimit != nil && time.Duration(g.age.Load()) <= g.o.StaleLimit(c):
		return ""
	}
	return ReasonStale
}

// unstoppable reports whether a name of the call is longer than a revocation can carry: it
// would walk past the switch.
func unstoppable(c *Call) bool {
	if len(c.Tenant) > revoke.MaxTenant || len(c.Agent) > revoke.MaxSubject || len(c.Identity) > revoke.MaxSubject || len(c.Session) > revoke.MaxSubject {
		return true
	}
	for _, member := range c.Chain {
		if len(member) > revoke.MaxSubject {
			return true
		}
	}
	return false
}

// verdictOf is what an action means for a call. What is not known denies.
func verdictOf(a revoke.Action) Verdict {
	switch a {
	case revoke.Release:
		return Allow
	case revoke.Throttle:
		return Throttle
	case revoke.Restrict:
		return Restrict
	}
	return Deny
}

// match returns the strongest entry in force that c meets, or nil.
func (g *Guard) match(c *Call) *entry {
	m := matcher{set: &g.set, call: c, clock: g.clock}
	m.names = g.set.tables[kindAny].Load() != nil
	tenant := maphash.String(g.seed, c.Tenant)
	if g.set.tables[kindGlobal].Load() != nil {
		m.lookOf(revoke.Everything, kindGlobal, g.everything, revoke.Everything)
	}
	if g.set.tables[kindTenant].Load() != nil {
		m.look(kindTenant, mix(tenant, tenant), c.Tenant)
	}
	m.agent(mix(tenant, maphash.String(g.seed, c.Agent)), c.Agent)
	for _, member := range c.Chain {
		if member != "" && member != c.Agent {
			m.agent(mix(tenant, maphash.String(g.seed, member)), member)
		}
	}
	m.named(g, kindIdentity, tenant, c.Identity)
	m.named(g, kindSession, tenant, c.Session)
	return m.best
}

// matcher looks up the names of one call.
type matcher struct {
	set   *set
	call  *Call
	clock func() time.Time
	now   int64 // read at the first hit: most calls never need it
	names bool  // there are entries of unknown scope
	best  *entry
}

func (m *matcher) agent(hash uint64, name string) {
	m.look(kindAgent, hash, name)
	m.look(kindChain, hash, name)
	if m.names {
		m.look(kindAny, hash, name)
	}
}

func (m *matcher) named(g *Guard, k kind, tenant uint64, name string) {
	if name == "" || (!m.names && g.set.tables[k].Load() == nil) {
		return
	}
	hash := mix(tenant, maphash.String(g.seed, name))
	m.look(k, hash, name)
	if m.names {
		m.look(kindAny, hash, name)
	}
}

func (m *matcher) look(k kind, hash uint64, name string) { m.lookOf(m.call.Tenant, k, hash, name) }

func (m *matcher) lookOf(tenant string, k kind, hash uint64, name string) {
	e := m.set.find(k, hash, tenant, name)
	if e == nil || (m.best != nil && m.best.strength >= e.strength) {
		return
	}
	if m.now == 0 {
		m.now = m.clock().UnixNano()
	}
	if e.in(m.now, issuedAt(m.call)) {
		m.best = e
	}
}

func issuedAt(c *Call) int64 {
	if c.CredentialIssuedAt.IsZero() {
		return 0
	}
	return c.CredentialIssuedAt.UnixNano()
}
