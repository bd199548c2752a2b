package fleet

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// Hits are the outages of the time after the start, as each agent's team meets them.
func hits(f *Fleet, a *agent, span int64) []outage {
	var all []outage
	for t := f.start; t < f.start+span; t += int64(time.Minute) {
		if o, ok := f.outageAt(a, t); ok && (len(all) == 0 || all[len(all)-1].number != o.number) {
			all = append(all, o)
		}
	}
	return all
}

// Single says whether no other outage of the tenant touches the outage.
func single(f *Fleet, tenant uint64, o outage) bool {
	for w := o.from/outageWindow - 1; w <= o.to/outageWindow; w++ {
		if p, ok := f.outage(tenant, w); ok && p.number != o.number && p.from <= o.to && o.from <= p.to {
			return false
		}
	}
	return true
}

func TestOutagesAreAsOftenAsStated(t *testing.T) {
	f := New(Options{Seed: 2, Outages: 3})
	const weeks = 400
	n, upstream := 0.0, 0.0
	var minutes []float64
	for tenant := range uint64(f.opts.Tenants) {
		for w := range int64(weeks * 28) {
			if o, ok := f.outage(tenant, f.start/outageWindow+w); ok {
				n++
				minutes = append(minutes, time.Duration(o.to-o.from).Minutes())
				if o.upstream {
					upstream++
				}
			}
		}
	}
	between(t, "outages of a tenant in a week", n/weeks/float64(f.opts.Tenants), 2.85, 3.15)
	between(t, "share that is upstream", upstream/n, 0.47, 0.53)
	slices.Sort(minutes)
	between(t, "median minutes", minutes[len(minutes)/2], 22, 28)
	between(t, "shortest", minutes[0], 2, 3)
	between(t, "longest", minutes[len(minutes)-1], 200, 360)

	struck, all := 0.0, 0.0
	for i := range 50 { // a team each
		a := f.agents[i/5*teamSize*5%len(f.agents)+i%5]
		all += 3 * 20
		struck += float64(len(hits(f, a, 20*7*aDay)))
	}
	between(t, "share that a team meets", struck/all, 0.5, 0.7)
}

func TestDependencyOutagesBringErrorsAndStorms(t *testing.T) {
	f := New(Options{Seed: 4, Outages: 20, Rate: 500, Kinds: []AgentKind{CodingAgent}})
	type run struct {
		call string
		n    int
	}
	var in, failed, out, failedOut float64
	runs, longest := map[string]*run{}, 0
	for c := range during(f, 2) {
		a := f.byName[c.Agent]
		bad := c.Outcome == telemetry.OutcomeError
		if o, down := f.outageAt(a, c.Time.UnixNano()); down && !o.upstream {
			if in++; bad {
				failed++
			}
		} else if out++; bad {
			failedOut++
		}
		r, call := runs[c.Session], c.Action+c.Resource
		if r == nil || r.call != call || !bad {
			r = &run{call: call}
			runs[c.Session] = r
		}
		r.n++
		longest = max(longest, r.n)
	}
	between(t, "share that fails in an outage", failed/in, 0.87, 0.93)
	between(t, "share that fails otherwise", failedOut/out, 0.015, 0.025)
	between(t, "longest storm of one call", float64(longest), 15, 40)
}

func TestUpstreamOutagesBringSilenceAndThenABurst(t *testing.T) {
	f := New(Options{Seed: 6, Outages: 10, Rate: 1000, Agents: 60, Kinds: []AgentKind{SupportBot}})
	begun := map[string][]int64{}
	seen := map[string]bool{}
	for c := range during(f, 4) {
		if !seen[c.Session] {
			seen[c.Session] = true
			begun[c.Agent] = append(begun[c.Agent], c.Time.UnixNano())
		}
	}
	within := func(agent string, from, to int64) float64 {
		n := 0
		for _, at := range begun[agent] {
			if at >= from && at < to {
				n++
			}
		}
		return float64(n)
	}
	const minutes = 2 * int64(time.Minute)
	silent, after, usual, n := 0.0, 0.0, 0.0, 0
	for _, a := range f.agents {
		for _, o := range hits(f, a, 4*aDay) {
			if !o.upstream || o.to-o.from < hour/2 || !single(f, uint64(a.index%f.opts.Tenants), o) {
				continue
			}
			n++
			silent += within(a.name, o.from, o.to)
			after += within(a.name, o.to, o.to+minutes)
			usual += within(a.name, o.from-minutes, o.from)
		}
	}
	if n < 10 {
		t.Fatalf("only %d outages", n)
	}
	between(t, "sessions that begin while it is down", silent, 0, 0)
	between(t, "sessions just after over just before", after/max(usual, 1), 5, 200)
}

func value(c *Call, key string) string {
	for _, p := range c.Context {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

func TestDeploymentsBringVersionsAndWhatIsNew(t *testing.T) {
	const weeks = 10
	f := New(Options{Seed: 8, Deployments: 1, Agents: 120, Kinds: []AgentKind{SupportBot, CodingAgent, Orchestrator}})
	versions := map[string]map[string]bool{}
	newest := map[string]string{}
	actions := map[[2]string]bool{}
	restarts, fresh := 0, 0
	for c := range during(f, 7*weeks) {
		a := f.byName[c.Agent]
		v := value(&c, "version")
		if versions[c.Agent] == nil {
			versions[c.Agent] = map[string]bool{}
		}
		if !versions[c.Agent][v] {
			versions[c.Agent][v] = true
			newest[c.Agent] = v
		}
		if c.Action == "config.read" {
			restarts++
			if !strings.HasSuffix(c.Resource, "/release/"+v) {
				t.Fatalf("%s with version %s reads %s", c.Agent, v, c.Resource)
			}
		}
		edge := [2]string{c.Agent, c.Action}
		if !actions[edge] && slices.Contains(a.role.later, c.Action) {
			fresh++
			if v == "1.0.0" {
				t.Fatalf("%s does %s in its first version", c.Agent, c.Action)
			}
		}
		actions[edge] = true
	}
	n := 0.0
	for _, v := range versions {
		n += float64(len(v) - 1)
	}
	agents := float64(len(f.agents))
	between(t, "versions of an agent in a week", n/agents/weeks, 0.8, 1.15)
	between(t, "restarts for each version", float64(restarts)/n, 0.9, 1.2)
	between(t, "new actions of an agent", float64(fresh)/agents, 0.8, 4)

	// A team has one version, but for half an hour.
	for _, team := range f.agents[0].team.peers {
		at := map[string]bool{}
		for _, a := range team.members {
			at[newest[a.name]] = true
		}
		if len(at) > 2 {
			t.Errorf("team %s runs %v", team.name, slices.Collect(maps.Keys(at)))
		}
	}
	for c := range during(kinded(8), 1) {
		if v := value(&c, "version"); v != "" {
			t.Fatalf("without deployments there is a version %s", v)
		}
	}
}

func TestADeploymentIsTheSameWhereverAStreamBegins(t *testing.T) {
	f := New(Options{Seed: 8, Deployments: 2})
	for _, a := range f.agents[:20] {
		at := f.start + 50*aDay
		walked := f.releaseAt(a, f.start)
		for t := f.start; t <= at; t += hour {
			walked.until(f, a, t)
		}
		if jumped := f.releaseAt(a, at); jumped != walked {
			t.Errorf("%s: %+v is not %+v", a.name, jumped, walked)
		}
	}
	if r := f.releaseAt(f.agents[0], f.start-100*aDay); r.version != 0 {
		t.Errorf("long before the start there is version %d", r.version)
	}
}

func TestNewcomersComeInSetUpAndGrow(t *testing.T) {
	f := New(Options{Seed: 10, Newcomers: 0.4, Kinds: []AgentKind{SupportBot, BackupJob, Orchestrator}})
	first, early, late := map[string]time.Time{}, 0.0, 0.0
	setUp := map[string]map[string]bool{}
	for c := range during(f, 42) {
		if f.byName[c.Agent].joined == math.MinInt64 {
			continue
		}
		a, _ := f.Agent(c.Agent)
		if c.Time.Before(a.Since) {
			t.Fatalf("%s, who comes at %v, works at %v", a.Name, a.Since, c.Time)
		}
		if _, ok := first[a.Name]; !ok {
			first[a.Name], setUp[a.Name] = c.Time, map[string]bool{}
		}
		age := c.Time.Sub(a.Since)
		if age < 10*time.Minute {
			setUp[a.Name][c.Resource] = true
		}
		if f.byName[a.Name].role.every == 0 && !f.byName[a.Name].role.onCall {
			switch {
			case age >= 10*time.Minute && age < 2*day:
				early++
			case age >= 7*day && age < 9*day:
				late++
			}
		}
	}
	newcomers := 0.0
	for _, a := range f.agents {
		if d := a.describe(); !d.Since.IsZero() {
			newcomers++
			if at := first[a.name].Sub(d.Since); at < 0 || at > time.Second {
				t.Errorf("%s comes at %v but first works at %v", a.name, d.Since, first[a.name])
			}
			if n := len(setUp[a.name]); n < len(a.pool)*9/10 {
				t.Errorf("%s reads %d resources at first, and has %d", a.name, n, len(a.pool))
			}
		}
	}
	between(t, "share of newcomers", newcomers/float64(len(f.agents)), 0.33, 0.47)
	between(t, "first two days over days 7 to 9", early/late, 0.3, 0.65)

	g := New(World(3))
	at := DefaultStart.Add(history)
	for _, a := range g.Agents() {
		if _, err := g.Attack(Loop, Low, a.Name, at); (err != nil) != a.Since.After(at) {
			t.Errorf("%s, since %v: %v", a.Name, a.Since, err)
		}
	}
}
