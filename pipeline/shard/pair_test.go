package shard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// onDocument is a call of an agent on a resource.
func onDocument(agent, resource string, at time.Duration) sent {
	c := call(0, agent, at)
	c.Resource = []byte(resource)
	return c
}

const oneDocument = `id: one-document
title: An agent calls one document more than three times in a minute
group_by: [agent, resource]
match: {action: read}
when: count(calls, 1m) > 3
`

func TestAPairIsJudgedByItsOwnCalls(t *testing.T) {
	var calls []sent
	for i := range 8 {
		at := time.Duration(i) * time.Second
		calls = append(calls, onDocument("reader", fmt.Sprint("doc-", i), at)) // never the same twice
		if i < 3 {
			calls = append(calls, onDocument("reader", "doc-x", at), onDocument("writer", "doc-x", at)) // three each, and six together
		}
		calls = append(calls, onDocument("writer", "doc-y", at))
	}
	silent := onDocument("", "doc-z", 9*time.Second)
	silent.Agent, silent.Resource = []byte("writer"), nil // a pair needs both
	calls = number(append(calls, silent, silent, silent, silent))

	// The state of a pair goes where its agent's goes.
	p := newPair(plan(t, oneDocument), shard.Options{})
	for i := range calls {
		if groups := p.calls.Call(&calls[i].Call, calls[i].src); groups != 0 {
			t.Fatalf("call %d is sent to the exchange: %b", i, groups)
		}
		for _, d := range p.calls.Detections {
			p.found = append(p.found, d.Detection)
		}
		p.calls.Detections = p.calls.Detections[:0]
		if i%3 == 0 {
			p.restart(t, shard.Options{})
		}
	}
	var got []string
	for _, d := range p.found {
		got = append(got, fmt.Sprintf("%s %s of %s on %s", d.EntityBy, d.Entity, d.Agent, d.Resource))
	}
	if diff := cmp.Diff([]string{"agent-resource writer, doc-y of writer on doc-y"}, got); diff != "" {
		t.Error(diff)
	}
	stray := onDocument("writer", "doc-y", time.Second)
	if groups := p.calls.Stray(&stray.Call); groups != 1<<detector.ByAgentResource {
		t.Errorf("a stray call goes to %b", groups)
	}
}

// What an agent never did on one resource it may have done on all the others.
func TestAPairHasAPastOfItsOwn(t *testing.T) {
	p := newPair(plan(t, `id: new-on-this
title: An action that this agent never did on this resource
group_by: [agent, resource]
baseline: {feature: new(action)}
budget: 1 per 100 agent-resource-days
slot: 1h
warmup: {calls: 200, slots: 20}
`), shard.Options{})
	n := 0
	take := func(agent, resource, action string, at time.Duration) {
		c := onDocument(agent, resource, at)
		c.Action, c.src.Offset = []byte(action), int64(n)
		n++
		p.take(&c)
	}
	for i := range 24 * 40 {
		at := time.Duration(i) * time.Hour
		take("a", "doc-1", "read", at)
		take("a", "doc-2", "delete", at)
		take("b", "doc-1", "delete", at)
	}
	for i := range 40 {
		take("a", "doc-2", "delete", 960*time.Hour+time.Duration(i)*time.Second)
		take("b", "doc-1", "delete", 960*time.Hour+time.Duration(i)*time.Second)
	}
	if len(p.found) > 0 {
		t.Fatalf("fired on %s, which does what it always did", p.found[0].Entity)
	}
	for i := range 40 {
		take("a", "doc-1", fmt.Sprint("delete-", i), 961*time.Hour+time.Duration(i)*time.Second)
	}
	if len(p.found) == 0 || p.found[0].Entity != "a, doc-1" || !p.found[0].Features[0].Known {
		t.Fatalf("a on doc-1 does what it never did: %v", p.found)
	}
	c := onDocument("a", "doc-1", 962*time.Hour)
	if !p.calls.Known("new-on-this", detector.ByAgentResource, &c.Call) {
		t.Error("a on doc-1 is not known")
	}
	c = onDocument("a", "doc-3", 962*time.Hour)
	if p.calls.Known("new-on-this", detector.ByAgentResource, &c.Call) {
		t.Error("a on doc-3 is known, on which it never was")
	}
}

const sharesAndQuantiles = `id: share
title: Most calls are denied
when: share(denied, 5m) > 0.5 and count(calls, 5m) >= 20
quiet: 1h
---
id: slow
title: One call in ten takes more than five seconds
when: quantile(0.9, latency, 10m) > 5s and count(calls, 10m) >= 20
quiet: 1h
---
id: heavy
title: More than a MiB for each call
when: sum(bytes_out, 10m) / count(calls, 10m) > 1MiB
quiet: 1h
`

func TestLimitsOnSharesQuantilesAndMeans(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		make func(i int, c *telemetry.Call)
		want []string
	}{
		"19 calls, all denied":       {19, func(i int, c *telemetry.Call) { c.Outcome = telemetry.OutcomeDenied }, nil},
		"20 calls, all denied":       {20, func(i int, c *telemetry.Call) { c.Outcome = telemetry.OutcomeDenied }, []string{"share"}},
		"every second one denied":    {200, func(i int, c *telemetry.Call) { c.Outcome = telemetry.Outcome(i % 2) }, nil},
		"two of three denied":        {200, func(i int, c *telemetry.Call) { c.Outcome = telemetry.Outcome(min(i%3, 1)) }, []string{"share"}},
		"one of twelve slow":         {200, func(i int, c *telemetry.Call) { c.Latency = time.Duration(1+i%12/11*60) * time.Second }, nil},
		"one of five slow":           {200, func(i int, c *telemetry.Call) { c.Latency = time.Duration(1+i%5/4*60) * time.Second }, []string{"slow"}},
		"all rather slow":            {200, func(i int, c *telemetry.Call) { c.Latency = 5500 * time.Millisecond }, []string{"slow"}},
		"all not that slow":          {200, func(i int, c *telemetry.Call) { c.Latency = 4500 * time.Millisecond }, nil},
		"many MiB, in as many calls": {200, func(i int, c *telemetry.Call) { c.BytesOut = 1 << 20 }, nil},
		"one large call":             {1, func(i int, c *telemetry.Call) { c.BytesOut = 1<<20 + 1 }, []string{"heavy"}},
	} {
		p := newPair(plan(t, sharesAndQuantiles), shard.Options{})
		calls := burst(c.n, "a", 0, time.Second)
		for i := range calls {
			calls[i].Outcome = telemetry.OutcomeOK
			c.make(i, &calls[i].Call)
		}
		calls = number(calls)
		for i := range calls {
			if p.take(&calls[i]); i%7 == 0 {
				p.restart(t, shard.Options{})
			}
		}
		var got []string
		for _, d := range p.found {
			got = append(got, d.Detector)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPairsAndQuantilesAllocateNothing(t *testing.T) {
	s := shard.New(plan(t, oneDocument, sharesAndQuantiles), shard.Options{SampleEvery: 10_000 * time.Hour})
	n := 0
	take := func() {
		c := &steady[n%len(steady)]
		c.Time = t0.Add(time.Duration(n) * 30 * time.Second).UnixNano()
		c.Latency = time.Duration(n*n%977) * time.Millisecond
		s.Call(c, shard.Source{Topic: "calls", Offset: int64(n), Appended: c.Time})
		s.Samples = s.Samples[:0]
		n++
	}
	for range 5000 {
		take()
	}
	if got := testing.AllocsPerRun(500, take); got != 0 {
		t.Errorf("%v allocations for each call", got)
	}
}

// steady are calls that come again and again.
var steady = func() []telemetry.Call {
	var calls []telemetry.Call
	for i := range 6 {
		calls = append(calls, onDocument(fmt.Sprint("a", i%2), fmt.Sprint("doc-", i%3), 0).Call)
	}
	return calls
}()
