package shard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const deletions = `id: deletions
title: Deletions of a minute
match: {action: files.delete}
group_by: agent
baseline: [{feature: "count(calls, 1m)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 0, time: 21d, peers: 3}
`

func deleting(c *telemetry.Call) { c.Action = []byte("files.delete") }

// cleaners plays six agents that delete one file on most days of five weeks, and more and more of them
// in five minutes in a row on every third. Beside them clerk reads, and deletes nothing.
func (s *stage) cleaners() {
	const day = 24 * time.Hour
	for d := range 35 {
		for i := range 10 {
			s.call("clerk", time.Duration(d)*day+time.Duration(i)*time.Hour)
		}
		for a := range 6 {
			n := 1
			if (d+a)%3 == 0 {
				n = 10 + 5*a
			}
			for minute := range 5 {
				for i := range n {
					s.call(fmt.Sprint("cleaner-", a), time.Duration(d)*day+12*time.Hour+time.Duration(minute)*time.Minute+time.Duration(i)*time.Second, deleting)
				}
			}
		}
	}
}

func TestWhoNeverDidItIsNotJudgedByPeersThatDo(t *testing.T) {
	const now = 35 * 24 * time.Hour
	s := newStage(t, deletions)
	s.cleaners()
	rookie := s.call("rookie", now, deleting)
	clerk := s.call("clerk", now+time.Second, deleting)
	budget := clerk.Detector.Level
	t.Logf("the budget asks for %.1f nats, of one that never deleted in five weeks %.1f are asked, of a new one %.1f", budget, clerk.Level, rookie.Level)
	if rookie.Level <= budget {
		t.Fatalf("a new agent is held to %.1f nats: its peers' days say nothing here", rookie.Level)
	}
	if clerk.Level != budget {
		t.Errorf("one that never deleted is held to %.1f nats, not to %.1f", clerk.Level, budget)
	}
	for i := range 40 {
		s.call("clerk", now+time.Duration(i)*time.Second, deleting)
		s.call("rookie", now+time.Duration(i)*time.Second, deleting)
	}
	if c, r := s.alarms("clerk"), s.alarms("rookie"); c != 1 || r != 0 {
		t.Errorf("forty deletions, which are nothing for their peers: %d alarms for one that never deleted, %d for a new one", c, r)
	}
}

// What an explanation says of the time that was seen is what the warm-up goes by.
func TestAnExplanationCountsTheTimeSinceTheDetectorWasLoaded(t *testing.T) {
	const day = 24 * time.Hour
	var account shard.Account
	s := &stage{pair: newPair(plan(t, among), shard.Options{Judged: func(j shard.Judgement) { account = j.Explain() }})}
	for d := range 30 {
		s.call("a", time.Duration(d)*day)
	}
	s.plan = plan(t, deletions)
	s.calls.Reload(s.plan)
	s.call("a", 30*day, deleting)
	s.call("a", 32*day, deleting)
	if w := account.Warmup; w.Time != 2*day || w.NeedTime != 21*day || account.Known {
		t.Errorf("seen for %v of %v, known: %v; want two days and not known", w.Time, w.NeedTime, account.Known)
	}
}

// A budget of calls counts no call of the past that nobody saw.
func TestCallsBeforeTheDetectorWasLoadedAreNoPast(t *testing.T) {
	const day = 24 * time.Hour
	blocks := func(loaded bool) (n int) {
		text := strings.Replace(deletions, "1 per 1000 agent-days", "1 per 100000 calls", 1)
		texts := []string{among}
		if loaded {
			texts = append(texts, text)
		}
		s := &stage{pair: newPair(plan(t, texts...), shard.Options{Judged: func(j shard.Judgement) { n = j.Explain().PastBlocks }})}
		for i := range 2000 {
			s.call("a", time.Duration(i)*time.Second)
		}
		s.plan = plan(t, text)
		s.calls.Reload(s.plan)
		s.call("b", time.Hour) // shows its tenant the detector
		s.call("a", 30*day, deleting)
		return n
	}
	if loaded, late := blocks(true), blocks(false); loaded == 0 || late != 0 {
		t.Errorf("%d blocks of a past that was seen, %d of one that was not", loaded, late)
	}
}

// Of the agent that deletes every day a detector of deletions that is loaded today knows nothing, though
// it never saw it delete: nobody looked.
func TestWhoDidItBeforeAnybodyLookedDidNotAbstain(t *testing.T) {
	const day = 24 * time.Hour
	alarms := func(cleans bool) int {
		s := newStage(t, among)
		for d := range 30 {
			for i := range 30 {
				if at := time.Duration(d)*day + time.Duration(i)*time.Minute; cleans {
					s.call("a", at, deleting)
				} else {
					s.call("a", at)
				}
			}
		}
		s.plan = plan(t, deletions)
		s.calls.Reload(s.plan)
		for i := range 30 {
			s.call("a", 30*day+time.Duration(i)*time.Second, deleting)
		}
		return s.alarms("a")
	}
	if n := alarms(true); n > 0 {
		t.Errorf("%d alarms about an agent that deletes as every day", n)
	}
	if n := alarms(false); n > 0 {
		t.Errorf("%d alarms by a detector that was loaded a moment ago", n)
	}
}
