package eval

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// limit kills an agent at its fourth call in ten seconds, for a minute.
const limit = `
id: limit
title: four calls in ten seconds
severity: low
mode: enforce
group_by: agent
when: count(calls, 10s) > 3
response: {action: revoke, scope: agent, for: 1m}
`

func callOf(agent string, at time.Duration) *telemetry.Call {
	return &telemetry.Call{
		ID: fmt.Appendf(nil, "%s-%v", agent, at), Time: int64(100*day + at), Tenant: []byte("acme"), Agent: []byte(agent), Chain: [][]byte{[]byte(agent)},
		Identity: []byte("role"), Session: []byte("session"), Action: []byte("read"), Resource: []byte("r"),
	}
}

func TestWhatAKillPreventsIsCounted(t *testing.T) {
	x := newAttacked(load(t, limit))
	a := &attack{name: "burst", by: map[string]int{}, goal: "evil-9s"}
	for i := range 30 {
		through := x.call(callOf("evil", time.Duration(i)*time.Second), a)
		if through != (i < 4) {
			t.Errorf("call %d got through: %v", i, through)
		}
	}
	o := outcomeOf([]*attack{a, {name: "never began"}})
	if o.all != 1 || o.stopped != 1 || o.bad != 30 || o.prevented != 26 || o.calls[0] != 4 || o.seconds[0] != 3 || o.before != 1 || o.by["limit"] != 1 {
		t.Errorf("%+v", o)
	}
	// The kill ends after a minute, and the attack goes on until the next one.
	for i := range 4 {
		if !x.call(callOf("evil", time.Minute+time.Duration(3+i)*time.Second), a) {
			t.Errorf("call %d after the kill is denied", i)
		}
	}
	if x.call(callOf("evil", time.Minute+8*time.Second), a) {
		t.Error("the second kill is missing")
	}
	if len(x.wrong) != 0 {
		t.Errorf("wrong kills: %v", x.wrong)
	}
}

func TestAKillAfterTheGoalCameTooLate(t *testing.T) {
	x := newAttacked(load(t, limit))
	a := &attack{by: map[string]int{}, goal: "evil-1s"}
	for i := range 6 {
		x.call(callOf("evil", time.Duration(i)*time.Second), a)
	}
	if o := outcomeOf([]*attack{a}); o.stopped != 1 || o.goals != 1 || o.before != 0 {
		t.Errorf("%+v", o)
	}
}

func TestAKillAtACallOfNoAttackIsWrong(t *testing.T) {
	x := newAttacked(load(t, limit))
	for i := range 6 {
		x.call(callOf("honest", time.Duration(i)*time.Second), nil)
	}
	if x.wrong["honest"] != 1 {
		t.Errorf("%v", x.wrong)
	}
}

func TestTheGuardDeniesTheScopeAndNothingElse(t *testing.T) {
	d := &detector.Detection{Time: time.Unix(0, 0), Tenant: "acme", Agent: "a", Identity: "role", Session: "s", Chain: []string{"root", "a"}}
	call := func(change func(*telemetry.Call)) *telemetry.Call {
		c := &telemetry.Call{Time: int64(time.Minute), Tenant: []byte("acme"), Agent: []byte("x"), Identity: []byte("y"), Session: []byte("z"), Chain: [][]byte{[]byte("v"), []byte("x")}}
		change(c)
		return c
	}
	for _, tc := range []struct {
		scope  string
		change func(*telemetry.Call)
	}{
		{"agent", func(c *telemetry.Call) { c.Agent = []byte("a") }},
		{"agent", func(c *telemetry.Call) { c.Chain[0] = []byte("a") }},
		{"identity", func(c *telemetry.Call) { c.Identity = []byte("role") }},
		{"session", func(c *telemetry.Call) { c.Session = []byte("s") }},
		{"chain", func(c *telemetry.Call) { c.Chain[0] = []byte("root") }},
		{"tenant", func(*telemetry.Call) {}},
	} {
		g := newGuard()
		e, _ := load(t, "id: x\ntitle: x\nmode: enforce\nwhen: count(calls, 1s) > 1\nresponse: {action: revoke, scope: "+tc.scope+", for: 5m}\n").Enforcer(0)
		g.kill(e, d)
		c := call(tc.change)
		if !g.denies(c) {
			t.Errorf("%s: not denied", tc.scope)
		}
		if c.Time = int64(5 * time.Minute); g.denies(c) {
			t.Errorf("%s: denied after the end", tc.scope)
		}
		if c := call(tc.change); tc.scope != "tenant" {
			if g.denies(call(func(*telemetry.Call) {})) {
				t.Errorf("%s: somebody else is denied", tc.scope)
			}
			if c.Tenant = []byte("other"); g.denies(c) {
				t.Errorf("%s: another tenant is denied", tc.scope)
			}
		}
	}
	g := newGuard()
	e, _ := load(t, "id: x\ntitle: x\nmode: enforce\nwhen: count(calls, 1s) > 1\nresponse: {action: throttle, scope: agent, for: 5m}\n").Enforcer(0)
	if g.kill(e, d); g.denies(call(func(c *telemetry.Call) { c.Agent = []byte("a") })) {
		t.Error("a throttled agent is denied")
	}
}

const rare = `
id: rare
title: rare
severity: low
mode: enforce
group_by: identity
baseline:
  - feature: count(calls, 10s)
budget: %s
response: {action: revoke, scope: agent, for: 1m}
`

func TestDaysAreThoseWithACall(t *testing.T) {
	plan := load(t, fmt.Sprintf(rare, "1 per 1000 identity-days"))
	d := newDays(plan)
	for _, c := range []*telemetry.Call{
		callOf("a", 0), callOf("a", time.Hour), callOf("a", 24*time.Hour), // two days
		callOf("b", 3*24*time.Hour), callOf("b", 3*24*time.Hour-time.Second), // late: the day before is not counted again
	} {
		d.count(c)
	}
	without := callOf("c", 0)
	without.Identity = nil
	d.count(without)
	if d.n[detector.ByAgent] != 4 || d.n[detector.ByIdentity] != 3 || d.calls != 6 {
		t.Errorf("%+v", d)
	}
	// The promise is one in 1000 of the days that the identity was at work, and with ten times
	// the budget ten.
	for _, k := range []float64{1, 10} {
		if got, want := d.promised(plan.ScaleBudget(k).Detectors[0]), k*3.0/1000; math.Abs(got-want) > 1e-12 {
			t.Errorf("promised %g, want %g", got, want)
		}
	}
	byCalls := load(t, fmt.Sprintf(rare, "1 per 3000 calls"))
	if got, want := d.promised(byCalls.Detectors[0]), 6.0/3000; math.Abs(got-want) > 1e-12 {
		t.Errorf("promised %g, want %g", got, want)
	}
	if got := d.promised(load(t, everybody).Detectors[0]); got != 0 {
		t.Errorf("a hard limit promises %g", got)
	}
}

func TestAGraftIsTheTechniqueInTheHostsName(t *testing.T) {
	host, c := callOf("host", 0), callOf("evil", time.Hour)
	c.Action, c.Resource, c.Outcome, c.Identity = []byte("steal"), []byte("secret"), telemetry.OutcomeDenied, []byte("stolen")
	d := disguised(c, host, 42)
	if string(d.Agent) != "host" || string(d.Identity) != "role" || string(d.Action) != "steal" || string(d.Resource) != "secret" ||
		d.Outcome != telemetry.OutcomeDenied || d.Time != 42 || string(d.ID) != string(c.ID) {
		t.Errorf("%+v", d)
	}
	if string(host.Action) != "read" {
		t.Error("the host's own call was changed")
	}
}

func TestTiesCountAgainstTheRank(t *testing.T) {
	g := &grafts{peaks: []float64{1, 2, 2, 3}}
	for peak, want := range map[float64]int{0: 5, 2: 4, 2.5: 2, 3: 2, 4: 1, math.Inf(1): 1, math.Inf(-1): 5} {
		if got := g.rank(peak); got != want {
			t.Errorf("rank of %g is %d, want %d", peak, got, want)
		}
	}
}
