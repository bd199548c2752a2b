package fleet

import (
	"fmt"
	"time"
)

// The defaults of Options. With DefaultRate, 14 days of the default fleet are about 180,000
// calls, and every agent makes at least 500 of them in at least 60 slots of ten seconds.
const (
	DefaultTenants = 5
	DefaultAgents  = 200
	DefaultRate    = 50.0
)

// DefaultStart is a Monday, 00:00 UTC.
var DefaultStart = time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)

// Options say which fleet to make. The zero value is the plain fleet without day shape.
type Options struct {
	Seed    uint64
	Tenants int // 0: DefaultTenants
	Agents  int // of all tenants together; 0: DefaultAgents
	// Start is when the pools of resources begin to grow; zero: DefaultStart. Calls can be
	// asked for before it.
	Start time.Time
	// Rate is how many calls an agent begins by itself in a day, on average; what others
	// delegate to it comes on top (about a sixth). It stretches the gaps between sessions and
	// nothing else, so a thinned history shows the same bursts as a dense one. Above about 20,000
	// (less for roles with slow calls) sessions follow one another at once, and more has no
	// effect. 0: DefaultRate.
	Rate float64
	// DayShape turns hours, weekends and nightly batches on.
	DayShape bool

	// Kinds are the kinds of agents in the fleet, a team of each in turn; SubAgent comes with
	// Orchestrator. Empty: the plain fleet, all of whose agents work by one scheme. The mean
	// of an agent's calls is Rate times a load that depends on its kind (1.6 for support bots,
	// 5 for coding agents, 1.4 for orchestrators without what they delegate); pipelines and
	// backups run by the clock, whatever the Rate.
	Kinds []AgentKind
	// What follows needs Kinds, and brings all of them where there are none.
	Deployments float64 // new versions of a team in a week, on average; at most 5
	Outages     float64 // of a tenant in a week, on average; at most 28
	Newcomers   float64 // share of the agents that begin in the four weeks after Start
}

// Fleet is a set of honest agents. It is immutable and safe for concurrent use.
type Fleet struct {
	opts   Options
	start  int64
	agents []*agent
	byName map[string]*agent
}

// New makes the fleet that the options describe.
func New(opts Options) *Fleet {
	if opts.Tenants <= 0 {
		opts.Tenants = DefaultTenants
	}
	if opts.Agents <= 0 {
		opts.Agents = DefaultAgents
	}
	if opts.Start.IsZero() {
		opts.Start = DefaultStart
	}
	if opts.Rate <= 0 {
		opts.Rate = DefaultRate
	}
	if len(opts.Kinds) == 0 && (opts.Deployments > 0 || opts.Outages > 0 || opts.Newcomers > 0) {
		opts.Kinds = Kinds()
	}
	f := &Fleet{opts: opts, start: opts.Start.UnixNano(), byName: make(map[string]*agent, opts.Agents)}
	f.build()
	return f
}

// WithRate returns the same agents at another rate: a thin history and a dense present can
// so be of one fleet.
func (f *Fleet) WithRate(rate float64) *Fleet {
	g := *f
	if g.opts.Rate = rate; rate <= 0 {
		g.opts.Rate = DefaultRate
	}
	return &g
}

// Agent describes one agent of the fleet.
type Agent struct {
	Tenant     string
	Name       string // unique in the fleet
	Kind       AgentKind
	Role       string
	Team       string
	Identities []string // its own first, then those that it shares with its team
	Delegates  []string // the agents that it delegates to
	// Since is when a newcomer begins; zero for all others.
	Since time.Time
}

// Agents describes all agents, in a fixed order.
func (f *Fleet) Agents() []Agent {
	all := make([]Agent, len(f.agents))
	for i, a := range f.agents {
		all[i] = a.describe()
	}
	return all
}

// Agent describes the agent of that name, and says whether there is one.
func (f *Fleet) Agent(name string) (Agent, bool) {
	a, ok := f.byName[name]
	if !ok {
		return Agent{}, false
	}
	return a.describe(), true
}

func (f *Fleet) find(name string) (*agent, error) {
	if a, ok := f.byName[name]; ok {
		return a, nil
	}
	return nil, fmt.Errorf("no agent %q in the fleet", name)
}
