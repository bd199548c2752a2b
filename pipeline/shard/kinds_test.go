package shard_test

import (
	"fmt"
	"testing"
	"time"
)

const fresher = `id: fresher
title: One new resource after another
group_by: agent
baseline: [{feature: new(resource)}]
budget: 1 per 1000 agent-days
slot: 1m
warmup: {calls: 200, slots: 20}
quiet: 1h
`

// explorer is an agent that works on what it knows, and of every 60 calls uses ten resources that it never
// used: one after another, as a new task brings them, or each between others.
type explorer struct {
	*stage
	agent  string
	clumps bool
	calls  int
	found  int // resources
}

func (x *explorer) use(fresh bool) {
	resource := fmt.Sprint("known-", x.calls%7)
	if fresh {
		x.found++
		resource = fmt.Sprint("new-", x.found)
	}
	x.call(x.agent, time.Duration(x.calls)*20*time.Second, on(resource))
	x.calls++
}

func (x *explorer) tasks(n int) {
	for range n {
		for i := range 60 {
			x.use(x.clumps && i < 10 || !x.clumps && i%6 == 0)
		}
	}
}

func TestNewResourcesInClumpsAreUsualForWhomTheyAlwaysCameSo(t *testing.T) {
	clumps := explorer{stage: newStage(t, fresher), agent: "a", clumps: true}
	clumps.tasks(200)
	if n := clumps.alarms("a"); n > 0 {
		t.Errorf("an honest agent whose tasks bring ten new resources each gives %d alarms", n)
	}
	before := clumps.last.Evidence
	for range 14 {
		clumps.use(true)
	}
	usual := clumps.last.Evidence
	if usual > clumps.last.Level/2 {
		t.Errorf("fourteen in a row, where ten were usual: evidence %.1f, the level is %.1f", usual, clumps.last.Level)
	}

	single := explorer{stage: newStage(t, fresher), agent: "a"}
	single.tasks(200)
	if n := single.alarms("a"); n > 0 {
		t.Errorf("an honest agent that uses as many, one by one, gives %d alarms", n)
	}
	single.use(false)
	calm := single.last.Evidence
	highest := calm
	for range 14 {
		single.use(true)
		highest = max(highest, single.last.Evidence)
	}
	t.Logf("fourteen new resources in a row: from %.1f to %.1f for whom they came so, from %.1f to %.1f for whom they never did; the levels are %.1f and %.1f",
		before, usual, calm, highest, clumps.last.Level, single.last.Level)
	if single.alarms("a") != 1 {
		t.Errorf("fourteen new resources in a row, which never came so: evidence %.1f, %d alarms", highest, single.alarms("a"))
	}
}

// A thief is still a thief at the second call.
func TestEachCallOfAStrangerIsEvidence(t *testing.T) {
	const text = `id: shared
title: An agent that never used this identity
group_by: identity
baseline: [{feature: surprise(agent)}]
budget: 1 per 1000 identity-days
slot: 10s
warmup: {calls: 100, slots: 20}
`
	s := newStage(t, text)
	for i := range 600 {
		s.call("owner", time.Duration(i)*5*time.Second)
	}
	before := s.last.Evidence
	calls := 0
	for ; s.alarms("stranger") == 0; calls++ {
		if calls > 5 {
			t.Fatal("a stranger is not found in five calls")
		}
		j := s.call("stranger", 3000*time.Second+time.Duration(calls)*time.Second)
		if j.Evidence <= before {
			t.Errorf("call %d of the stranger: evidence %.1f, before it %.1f", calls+1, j.Evidence, before)
		}
		before = j.Evidence
	}
	if calls < 2 {
		t.Error("it is found at its first call, so nothing is shown")
	}
}
