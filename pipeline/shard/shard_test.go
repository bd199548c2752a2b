package shard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

const limit = `id: limit
title: More than three calls in ten seconds
severity: high
group_by: agent
when: count(calls, 10s) > 3
quiet: 1s
`

// judged runs calls through one shard.
func judged(t testing.TB, p *detector.Plan, calls []sent) *pair {
	t.Helper()
	run := newPair(p, shard.Options{})
	for i := range calls {
		run.take(&calls[i])
	}
	return run
}

func TestALateCallCountsWhereItBelongs(t *testing.T) {
	// Three calls in one second, an hour ago of a fourth: they are never four in ten seconds.
	apart := judged(t, plan(t, limit), number(burst(3, "a", time.Hour, 10*time.Millisecond), burst(1, "a", 0, 0)))
	if len(apart.found) != 0 || apart.calls.Stats.Late != 1 {
		t.Errorf("%d detections, %d late; want none and 1", len(apart.found), apart.calls.Stats.Late)
	}
	// One is three seconds late: it stands in the ten seconds before the fourth.
	near := judged(t, plan(t, limit), number(burst(2, "a", time.Hour, time.Millisecond), burst(1, "a", time.Hour-3*time.Second, 0), burst(1, "a", time.Hour+time.Second, 0)))
	if len(near.found) != 1 {
		t.Errorf("%d detections for a late call inside the window, want 1", len(near.found))
	}
}

func TestACallFromTheFutureIsHeldToTheBoundAndCounted(t *testing.T) {
	future := burst(2, "a", 240*time.Hour, 0)
	for i := range future {
		future[i].src.Appended = t0.UnixNano()
	}
	// Held to a minute ahead, the two stand beside two others at that minute.
	run := judged(t, plan(t, limit), number(future, burst(2, "a", time.Minute, time.Millisecond)))
	if run.calls.Stats.Ahead != 2 {
		t.Errorf("%d calls counted as ahead, want 2", run.calls.Stats.Ahead)
	}
	if len(run.found) != 1 || run.found[0].Time.After(t0.Add(time.Minute+time.Second)) {
		t.Errorf("detections %+v, want one within the bound", run.found)
	}
}

func TestAnExceptionHoldsUntilItsEndInTheCallsOwnTime(t *testing.T) {
	until := t0.Add(time.Hour)
	p := plan(t, limit+fmt.Sprintf(`exceptions:
  - match: {agent: a}
    until: %s
    owner: ops
    reason: load test
`, until.Format(time.RFC3339)))
	run := judged(t, p, number(burst(10, "a", 30*time.Minute, time.Millisecond), burst(10, "b", 40*time.Minute, time.Millisecond),
		burst(10, "a", time.Hour+time.Minute, time.Millisecond)))
	var who []string
	for _, d := range run.found {
		who = append(who, d.Agent+d.Time.Format(" 15:04"))
	}
	if fmt.Sprint(who) != "[b 09:40 a 10:01]" {
		t.Errorf("detections %v, want b, and a after the exception ended", who)
	}
}

func TestEachModeDetectsAndOnlyEnforceMayAnswer(t *testing.T) {
	const response = "response: {action: revoke, scope: agent, for: 15m}\n"
	for _, mode := range []string{"observe", "alert", "enforce"} {
		p := plan(t, limit+"mode: "+mode+"\n"+response)
		run := judged(t, p, burst(4, "a", 0, time.Millisecond))
		if len(run.found) != 1 || run.found[0].Mode != mode {
			t.Errorf("%s: detections %+v, want one in that mode", mode, run.found)
		}
		if _, ok := p.Enforcer(0); ok != (mode == "enforce") {
			t.Errorf("%s: enforcer is %v", mode, ok)
		}
	}
}

const learned = `id: learned
title: Learns the pace of an agent
mode: enforce
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10}
response: {action: revoke, scope: agent, for: 15m}
`

// habit is an agent that calls every five seconds.
func habit(n int) []sent { return burst(n, "a", 0, 5*time.Second) }

func TestAnAgentThatDatesItsCallsBackIsJudgedLikeAnyOther(t *testing.T) {
	p := plan(t, learned, strings.NewReplacer("learned", "spree", "count(calls, 10s)", "new(resource)").Replace(learned)+"slot: 10s\n")
	for _, back := range []time.Duration{0, 10 * time.Second, time.Minute, 30 * time.Minute} {
		attack := burst(400, "a", 2010*time.Second, 10*time.Millisecond)
		for i := range attack {
			attack[i].Time -= int64(back)
			attack[i].Resource = fmt.Appendf(nil, "secret-%d", i)
		}
		run := judged(t, p, number(habit(400), attack))
		if len(run.found) != 2 {
			t.Errorf("dated back by %v: %d detections, want one of the pace and one of the resources", back, len(run.found))
		}
	}
}

func TestReloadKeepsWhatWasLearnedWhereTheFeaturesAreUnchanged(t *testing.T) {
	known := func(p *pair) bool { return p.calls.Known("learned", detector.ByAgent, &habit(1)[0].Call) }
	run := func(changed string) *pair {
		p := judged(t, plan(t, learned), habit(400))
		if !known(p) {
			t.Fatal("the habit is not known")
		}
		p.calls.Reload(plan(t, limit, changed))
		return p
	}
	same := run("title: Another title\nseverity: low\nquiet: 1m\n" + cut(learned, "title"))
	if !known(same) {
		t.Error("another title and severity made it forget")
	}
	attack := number(habit(400), burst(400, "a", 2010*time.Second, 10*time.Millisecond))[400:]
	for i := range attack {
		same.take(&attack[i])
	}
	byDetector := map[string]int{}
	for _, d := range same.found {
		byDetector[d.Detector]++
	}
	if byDetector["learned"] != 1 || byDetector["limit"] == 0 {
		t.Errorf("after the reload %v fired, want what was learned and the new detector", byDetector)
	}
	for name, text := range map[string]string{
		"another feature": replace(learned, `"count(calls, 10s)"`, "new(resource)"),
		"another slot":    replace(learned, "10s", "30s"),
		"another group":   replace(learned, "group_by: agent", "group_by: identity", "agent-days", "identity-days"),
		"it is gone":      limit2,
	} {
		if known(run(text)) {
			t.Errorf("%s: what was learned of other numbers stays", name)
		}
	}
	// What stays is still there after a restart under the new plan.
	same.save()
	again := newPair(plan(t, learned), shard.Options{})
	again.states = same.states
	again.restart(t, shard.Options{})
	if !known(again) {
		t.Error("after the restart it is forgotten")
	}
}

func TestEntitiesPastTheBoundAreCountedNotForgotten(t *testing.T) {
	p := newPair(plan(t, limit), shard.Options{MaxEntities: 2})
	calls := number(burst(4, "a", 0, time.Millisecond), burst(4, "b", 0, time.Millisecond), burst(4, "c", 0, time.Millisecond), burst(4, "a", time.Minute, time.Millisecond))
	for i := range calls {
		p.take(&calls[i])
	}
	if p.calls.Stats.Unwatched != 4 || len(p.found) != 3 {
		t.Errorf("%d calls unwatched, %d detections; want 4, and 3 of the two that fit", p.calls.Stats.Unwatched, len(p.found))
	}
}

func TestACallCostsNoAllocationOnceItsAgentIsKnown(t *testing.T) {
	p := catalogue(t)
	calls, exchange := shard.New(p, shard.Options{}), shard.New(p, shard.Options{})
	const n = 50_000
	all := make([]sent, 0, n)
	for i := range n {
		c := call(i, fmt.Sprint("agent-", i%20), time.Duration(i)*100*time.Millisecond)
		c.Resource = fmt.Append(nil, "doc-", i%7)
		c.Identity = fmt.Append(nil, "role-", i%20)
		c.Chain = [][]byte{[]byte("root"), c.Agent}
		all = append(all, c)
	}
	take := func(c *sent) {
		groups := calls.Call(&c.Call, c.src)
		for by := range groups.All() {
			exchange.Grouped(by, &c.Call, c.src, c.src.Offset<<4|int64(by))
		}
		calls.Samples, exchange.Samples = calls.Samples[:0], exchange.Samples[:0]
	}
	warm := n - 2100
	for i := range all[:warm] {
		take(&all[i])
	}
	calls.Dirty()
	exchange.Dirty()
	for i := range all[warm : warm+100] { // each entity is dirty again
		take(&all[warm+i])
	}
	next := warm + 100
	// Samples make strings, once a minute for each agent; they are the archive's price, and
	// a mean below one is what AllocsPerRun gives for a call without one.
	if got := testing.AllocsPerRun(1000, func() { take(&all[next]); next++ }); got != 0 {
		t.Errorf("%v allocations a call", got)
	}
	if found := len(calls.Detections) + len(exchange.Detections); found > 0 {
		t.Errorf("honest calls led to %d detections", found)
	}
}

// An agent's clock is its own word. One that has been found out and then dates all its calls into
// the quiet time after the detection is found out again once that time has passed in the log.
func TestAnAgentThatDatesItsCallsIntoTheQuietTimeIsNotExcused(t *testing.T) {
	p := newPair(plan(t, limit), shard.Options{})
	calls := number(burst(400, "agent-0", 0, time.Second))
	for i := range calls {
		if i > 20 {
			calls[i].Time = calls[20].Time // while the log goes on
		}
		p.take(&calls[i])
	}
	late := 0
	for _, d := range p.found {
		if d.Offset > 25 {
			late++
		}
	}
	if late < 100 {
		t.Errorf("%d detections in 374 s with a quiet time of 1 s", late)
	}
}
