package eval

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
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

func newAttackedOf(t *testing.T, attacks ...*attack) *attacked {
	t.Helper()
	x, err := newAttacked(load(t, limit), nil, attacks...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func evil(goal string) *attack {
	return &attack{name: "burst", tenant: "acme", agent: "evil", kind: "bot", goal: goal}
}

func TestWhatAKillPreventsIsCounted(t *testing.T) {
	a := evil("evil-9s")
	x := newAttackedOf(t, a)
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
	a := evil("evil-1s")
	x := newAttackedOf(t, a)
	for i := range 6 {
		x.call(callOf("evil", time.Duration(i)*time.Second), a)
	}
	if o := outcomeOf([]*attack{a}); o.stopped != 1 || o.goals != 1 || o.before != 0 {
		t.Errorf("%+v", o)
	}
}

func TestAKillAfterTheEndOfAnAttackStopsNothing(t *testing.T) {
	a := evil("")
	a.until = callOf("evil", 2*time.Second).Time
	x := newAttackedOf(t, a)
	for i := range 6 {
		x.call(callOf("evil", time.Duration(i)*time.Second), a)
	}
	o := outcomeOf([]*attack{a})
	if o.stopped != 0 || o.escaped["bot"] != 1 || len(x.wrong) != 0 {
		t.Errorf("%+v, wrong %v", o, x.wrong)
	}
}

func TestAKillThatMeetsNoAttackIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name  string
		began bool // the attack, by an agent of another name
		want  int
	}{{"no attack has begun", false, 1}, {"another agent is bad", true, 1}} {
		a := evil("")
		x := newAttackedOf(t, a)
		if tc.began {
			x.call(callOf("evil", 0), a)
		}
		for i := range 6 {
			x.call(callOf("honest", time.Duration(i)*time.Second), nil)
		}
		if x.wrong["honest"] != tc.want || !a.killed.IsZero() {
			t.Errorf("%s: %v", tc.name, x.wrong)
		}
	}
}

// A bad agent's honest calls may break it too, and so may a kill of an identity that it stole, at
// whoever's call it comes.
func TestAKillMeetsTheBadAgentAndTheIdentityThatItActedWith(t *testing.T) {
	a := evil("")
	x := newAttackedOf(t, a)
	x.call(callOf("evil", 0), a)
	for i := range 3 {
		x.call(callOf("evil", time.Duration(i+1)*time.Second), nil)
	}
	if o := outcomeOf([]*attack{a}); o.stopped != 1 || o.calls[0] != 1 || len(x.wrong) != 0 {
		t.Errorf("%+v, wrong %v", o, x.wrong)
	}
	d := &detector.Detection{Tenant: "acme", Agent: "victim", Identity: "role"}
	for s, want := range map[backtest.Subject]bool{
		{Scope: detector.ScopeIdentity, Tenant: "acme", Value: "role"}:  true,
		{Scope: detector.ScopeIdentity, Tenant: "acme", Value: "other"}: false,
		{Scope: detector.ScopeAgent, Tenant: "acme", Value: "victim"}:   false,
	} {
		if got := a.meets(s, d); got != want {
			t.Errorf("%v: %v", s, got)
		}
	}
	if d.Tenant = "other"; a.meets(backtest.Subject{Scope: detector.ScopeIdentity, Tenant: "other", Value: "role"}, d) {
		t.Error("an identity of another tenant")
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

// exposed plays calls and returns for how long the detector of the plan was exposed to them.
func exposed(plan *detector.Plan, bySession bool, calls ...*telemetry.Call) *counts {
	x, n := newExposure(plan, bySession), newCounts(len(plan.Detectors))
	var now *telemetry.Call
	r := backtest.NewRunner(plan, shard.Options{Judged: func(j shard.Judgement) { x.judged(j, now) }})
	for _, c := range calls {
		now = c
		x.call(c, &n)
		r.Call(c)
	}
	return &n
}

func TestDaysAreThoseWithACall(t *testing.T) {
	plan := load(t, fmt.Sprintf(rare, "1 per 1000 identity-days"))
	without := callOf("c", 0)
	without.Identity = nil
	x := exposed(plan, false,
		callOf("a", 0), callOf("a", time.Hour), callOf("a", 24*time.Hour), // two days
		callOf("b", 3*24*time.Hour), callOf("b", 3*24*time.Hour-time.Second), // late: the day before is not counted again
		without,
	)
	if x.agents != (count{4, 0}) || x.units[0] != (count{3, 0}) {
		t.Errorf("agents %v, identities %v", x.agents, x.units)
	}
	if got := x.promised(0, plan.Detectors[0]); got != 0 {
		t.Errorf("%g promised of identities that are not known", got)
	}
}

// The warm-up ends with the fourth call: it takes two slots that have ended.
const soon = `
id: soon
title: soon
severity: low
mode: enforce
group_by: agent
baseline:
  - feature: count(calls, 10s)
warmup: {calls: 2, slots: 2, time: 1m}
budget: %s
response: {action: revoke, scope: agent, for: 1m}
`

func TestThePromiseIsAShareOfWhatIsKnown(t *testing.T) {
	var calls []*telemetry.Call
	for d := range 3 {
		for i := range 10 {
			c := callOf("a", time.Duration(d)*day+time.Duration(i)*time.Minute)
			c.Session = fmt.Appendf(nil, "%d/%d", d, i/2)
			calls = append(calls, c)
		}
	}
	calls = append(calls, callOf("b", 4*day))
	for _, tc := range []struct {
		budget string
		unit   count
		want   float64 // of 1000
	}{
		{"1 per 1000 agent-days", count{4, 3}, 3},
		{"1 per 10000 calls", count{31, 27}, 2.7},
	} {
		plan := load(t, fmt.Sprintf(soon, tc.budget))
		x := exposed(plan, false, calls...)
		if x.agents != (count{4, 3}) || x.units[0] != tc.unit {
			t.Errorf("%s: agents %v, units %v", tc.budget, x.agents, x.units)
		}
		for _, k := range []float64{1, 10} {
			if got, want := x.promised(0, plan.ScaleBudget(k).Detectors[0]), k*tc.want/1000; math.Abs(got-want) > 1e-9 {
				t.Errorf("%s: promised %g at %g times the budget, want %g", tc.budget, got, k, want)
			}
		}
	}
	x := exposed(load(t, fmt.Sprintf(soon, "1 per 1000 agent-days")), true, calls...)
	if want := (count{16, 14}); x.agents != want {
		t.Errorf("sessions %v, want %v", x.agents, want)
	}
	if got := exposed(load(t, everybody), false, calls...).promised(0, load(t, everybody).Detectors[0]); got != 0 {
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
