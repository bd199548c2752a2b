package fleet

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	teamSize = 8
	// Of recent resources a few are in play, and this share of calls goes to them.
	recentShare = 0.06
	recentKept  = 8
)

var tenants = []struct {
	name  string
	shift int64 // hours against UTC
}{{"acme", 0}, {"borealis", 1}, {"corvid", -5}, {"dunmore", -8}, {"everly", 5}}

// Agent is immutable once built: many streams read it at once.
type agent struct {
	index      int
	name       string
	tenant     string
	shift      int64
	team       *team
	role       *role
	identities []string
	own        int // the first of identities are its own, the rest its team's
	space      *space
	pool       []uint16 // numbers in space, most popular first
	pace       float64  // of its growth and load, about 1
	delegates  []*agent
	chain      []string // of its own work; of an agent on call, of the work that is asked of it
	context    []Pair
	home       string // what the names of its team's resources begin with
	joined     int64  // no call before it
}

type team struct {
	name    string
	number  uint64 // in the fleet, for what happens to a team as a whole
	family  family
	members []*agent
	peers   []*team // all teams of the tenant
	spaces  map[*role]*space
}

// Space is the resources that agents of one role in one team choose from.
type space struct {
	prefix string
	names  []string
}

// At returns the name of resource n; those past the first ones are made on demand.
func (s *space) at(n int) string {
	if n < len(s.names) {
		return s.names[n]
	}
	return s.prefix + strconv.Itoa(n+1)
}

// Build fills tenants with teams, and teams with agents.
func (f *Fleet) build() {
	families := f.families()
	teams := make([][]*team, f.opts.Tenants)
	for i := range f.opts.Agents {
		t, member := i%f.opts.Tenants, i/f.opts.Tenants
		tenant, shift := tenantOf(t)
		if member%teamSize == 0 {
			// Tenants begin with different families, so that a small fleet has them all.
			number := len(teams[t])
			teams[t] = append(teams[t], newTeam(families[(t+number)%len(families)], t, number))
		}
		f.add(f.newAgent(i, tenant, shift, teams[t][len(teams[t])-1]))
	}
	for _, peers := range teams {
		for _, t := range peers {
			t.peers = peers
			t.connect()
		}
	}
}

// Families returns the teams that the options ask for.
func (f *Fleet) families() []family {
	var chosen []family
	for _, k := range f.opts.Kinds {
		if family, ok := kindFamilies[k]; ok {
			chosen = append(chosen, family)
		}
	}
	if len(chosen) == 0 {
		return families
	}
	return chosen
}

func (f *Fleet) add(a *agent) {
	a.team.members = append(a.team.members, a)
	f.agents = append(f.agents, a)
	f.byName[a.name] = a
}

func tenantOf(t int) (name string, shift int64) {
	if t < len(tenants) {
		return tenants[t].name, tenants[t].shift
	}
	return "tenant-" + strconv.Itoa(t+1), 0
}

func newTeam(of family, t, number int) *team {
	name := of.name + "-" + strconv.Itoa(number+1)
	return &team{name: name, number: mix(uint64(t), uint64(number)), family: of, spaces: map[*role]*space{}}
}

func (f *Fleet) newAgent(index int, tenant string, shift int64, t *team) *agent {
	src := &source{}
	src.Seed(mix(f.opts.Seed, 1), uint64(index))
	r := t.family.lead
	if n := len(t.members); n > 0 {
		r = t.family.roles[(n-1)%len(t.family.roles)]
	}
	name := fmt.Sprintf("%s-%03d", r.name, index+1)
	// The conversion keeps processors from fusing the product and the sum.
	a := &agent{
		index: index, name: name, tenant: tenant, shift: shift, team: t, role: r, joined: f.joined(index),
		space: t.space(tenant, r), pace: 0.95 + float64(0.1*src.unit()), chain: []string{name},
		home: r.scheme + "://" + tenant + "/" + t.name + "/",
	}
	if r.onCall {
		a.chain = []string{t.members[0].name, name}
	}
	a.identify(src)
	for _, n := range permutation(src, len(a.space.names))[:r.pool] {
		a.pool = append(a.pool, uint16(n))
	}
	a.context = []Pair{{"env", "production"}, {"team", t.name}}
	if r.model != "" {
		a.context = append(a.context, Pair{"model", r.model})
	}
	return a
}

// Identify gives the agent two or three identities of its own and one or two of its team.
func (a *agent) identify(src *source) {
	a.own = 2 + src.below(2)
	for _, use := range []string{"read", "write", "batch"}[:a.own] {
		a.identities = append(a.identities, "role/"+a.name+"-"+use)
	}
	for _, use := range []string{"shared", "tools"}[:1+src.below(2)] {
		a.identities = append(a.identities, "role/"+a.tenant+"-"+a.team.name+"-"+use)
	}
}

// Space returns the resources of a role in the team: twice as many as one agent uses.
func (t *team) space(tenant string, r *role) *space {
	if s, ok := t.spaces[r]; ok {
		return s
	}
	s := &space{prefix: r.scheme + "://" + tenant + "/" + t.name + "/" + r.path + "/"}
	for n := range 2 * r.pool {
		s.names = append(s.names, s.prefix+strconv.Itoa(n+1))
	}
	t.spaces[r] = s
	return s
}

// Connect says who delegates to whom: orchestrators to the others of the team that are not
// nightly batches, researchers to those that do not delegate themselves.
func (t *team) connect() {
	for _, a := range t.members {
		for _, b := range t.members {
			if a.role.rank > b.role.rank && b.role.hours != night {
				a.delegates = append(a.delegates, b)
			}
		}
	}
}

// Grown returns by how many resources the agent's pool has grown at t, after start.
func (a *agent) grown(t, start int64) int {
	if t <= start {
		return 0
	}
	days := float64(t-start) / float64(24*time.Hour)
	return int(days * (a.role.growth * a.pace))
}

// Resource draws what a call at t is about.
func (a *agent) resource(src *source, t, start int64) string {
	if n := a.grown(t, start); n > 0 && src.chance(recentShare) {
		return a.space.at(len(a.space.names) + n - 1 - src.below(min(n, recentKept)))
	}
	return a.space.names[a.pool[a.role.popular.rank(src)]]
}

func (a *agent) describe() Agent {
	d := Agent{Tenant: a.tenant, Name: a.name, Kind: a.role.kind, Role: a.role.name, Team: a.team.name,
		Identities: append([]string(nil), a.identities...)}
	if a.joined > math.MinInt64 {
		d.Since = time.Unix(0, a.joined).UTC()
	}
	for _, b := range a.delegates {
		d.Delegates = append(d.Delegates, b.name)
	}
	return d
}

func permutation(src *source, n int) []int {
	p := make([]int, n)
	for i := range p {
		j := src.below(i + 1)
		p[i], p[j] = p[j], i
	}
	return p
}
