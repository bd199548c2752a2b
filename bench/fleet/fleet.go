// Package fleet makes synthetic agents, honest and bad, for the demo, for benchmarks and
// for tests. Nothing in it comes from the world: figures that rest on it are to be called
// synthetic.
//
// What is modelled: tenants of teams of agents; for each agent a role with its own actions,
// the order in which they usually follow one another, and resources of Zipf popularity; a
// pool of resources that slowly grows; sessions (bursts of calls with log-normal think
// times, and longer gaps between them); hours of the day, weekends, time zones and nightly
// batches; log-normal latencies and bytes; errors with one quick retry, and denials;
// delegation up to three agents deep, the root of the chain first; identities that change
// with nearly every call, some of them shared by a team; and five ways to go bad.
//
// What is not modelled: calls that arrive late or out of order, clocks that disagree, lost
// or repeated calls, outages and incidents that many agents see at once, changes of an
// agent's role or model, agents that come and go, people, arguments and payloads, and an
// attacker who knows the detectors. The streams are stationary but for the hours and the
// growth of the pools, which is kinder than the world.
//
// Everything is a pure function of the options and the times asked for: the same seed gives
// the same bytes on every machine. Log-normal factors come from tables of 4,096 quantiles,
// so their tails end at 3.7 standard deviations.
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

// Options say which fleet to make. The zero value is the default fleet without day shape.
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
	Role       string
	Team       string
	Identities []string // its own first, then those that it shares with its team
	Delegates  []string // the agents that it delegates to
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
