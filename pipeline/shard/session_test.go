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

const within = `id: within
title: New resources within a session
group_by: agent
within: session
baseline: [{feature: new(resource)}]
budget: 1 per 100 sessions
warmup: {calls: 50, slots: 0}
`

// honestSessions plays a session an hour, from 09:00 on, that uses three documents.
func (s *stage) honestSessions(n int) {
	for i := range n {
		for j := range 3 {
			s.call("a", time.Duration(i)*time.Hour+time.Duration(j)*time.Second, in(fmt.Sprint("s-", i)), on(fmt.Sprint("doc-", j)))
		}
	}
}

// What a session did before the hours of its detector does not fire when they begin.
func TestWhatASessionDidOffItsHoursFiresAtNoHour(t *testing.T) {
	s := newStage(t, within+"schedule: {hours: \"09:00-18:00\"}\n")
	s.honestSessions(230)
	const morning = 240 * time.Hour
	high := false
	for i := range 40 {
		j := s.call("a", morning-time.Minute+time.Duration(i)*time.Second, in("early"), on(fmt.Sprint("loot-", i)))
		high = high || j.Evidence >= j.Level
	}
	s.call("a", morning+time.Second, in("early"), on("doc-1"))
	if n := s.alarms("a"); n > 0 || !high {
		t.Fatalf("%d alarms of what came before nine, evidence over the level: %v", n, high)
	}
	for i := range 40 {
		s.call("a", morning+time.Hour+time.Duration(i)*time.Second, in("day"), on(fmt.Sprint("more-", i)))
	}
	if s.alarms("a") != 1 {
		t.Errorf("%d alarms of the same by day, want 1", s.alarms("a"))
	}
}

// A session that fired goes on while others of its agent end. What it did since is still new after it has ended.
func TestNothingIsLearnedFromASessionThatFired(t *testing.T) {
	s := newStage(t, within)
	s.honestSessions(200)
	at := 201 * time.Hour
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
