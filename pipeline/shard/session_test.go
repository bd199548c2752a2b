package shard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

func in(session string) func(*telemetry.Call) {
	return func(c *telemetry.Call) { c.Session = []byte(session) }
}

// A session that fired goes on while others of its agent end. What it did since is still new after it has ended.
func TestNothingIsLearnedFromASessionThatFired(t *testing.T) {
	s := newStage(t, `id: within
title: New resources within a session
group_by: agent
within: session
baseline: [{feature: new(resource)}]
budget: 1 per 100 sessions
warmup: {calls: 50, slots: 0}
`)
	at := time.Duration(0)
	for i := range 200 {
		at = time.Duration(i) * time.Hour
		for j := range 3 {
			s.call("a", at+time.Duration(j)*time.Second, in(fmt.Sprint("s-", i)), on(fmt.Sprint("doc-", j)))
		}
	}
	at += 2 * time.Hour
	s.call("a", at, in("honest"), on("doc-1"))
	for i := range 40 {
		s.call("a", at+time.Duration(i)*time.Second, in("bad"), on(fmt.Sprint("loot-", i)))
	}
	if s.alarms("a") != 1 {
		t.Fatalf("%d alarms of a session with 40 new resources, want 1", s.alarms("a"))
	}
	s.call("a", at+30*time.Minute, in("bad"), on("prize"))
	s.call("a", at+61*time.Minute, in("next"), on("doc-1")) // the honest one has ended
	s.call("a", at+5*time.Hour, in("later"), on("doc-1"))   // and the bad one
	if got := s.call("a", at+5*time.Hour+time.Second, in("later"), on("prize")).Values[0]; got != 1 {
		t.Error("what a session did after it had fired was learned")
	}
}
