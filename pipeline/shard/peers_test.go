package shard_test

import (
	"fmt"
	"testing"
	"time"
)

const among = `id: among
title: The pace of an agent, and of those beside it
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 20, peers: 3}
quiet: 1h
`

// settledPeers plays so many agents that make one to three calls every ten seconds for an hour.
func (s *stage) settledPeers(n int) {
	for slot := range 360 {
		for a := range n {
			for i := range 1 + (slot+a)%3 {
				s.call(fmt.Sprint("peer-", a), time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second)
			}
		}
	}
}

func TestANewAgentAmongPeersIsJudgedAndOneAloneIsNot(t *testing.T) {
	for peers, want := range map[int]int{0: 0, 2: 0, 3: 1, 6: 1} {
		s := newStage(t, among)
		s.settledPeers(peers)
		first := s.call("rookie", time.Hour)
		if known := want > 0; first.Known != known {
			t.Errorf("%d peers: a new agent is known: %v", peers, first.Known)
		}
		for i := range 300 {
			s.call("rookie", time.Hour+time.Duration(i)*20*time.Millisecond)
		}
		if got := s.alarms("rookie"); got != want {
			t.Errorf("%d peers: a new agent that makes 300 calls in six seconds gives %d alarms, want %d", peers, got, want)
		}
	}
}

func TestANewAgentIsExpectedToBeAsItsPeersAlsoWhereTheHourCounts(t *testing.T) {
	expected := func(detector string) float64 {
		s := newStage(t, detector)
		s.settledPeers(6)
		s.call("rookie", time.Hour)
		for i := range 300 {
			s.call("rookie", time.Hour+time.Duration(i)*20*time.Millisecond)
		}
		if len(s.found) == 0 {
			t.Fatal("300 calls in six seconds where peers make two, and no alarm")
		}
		return s.found[0].Features[0].Expected
	}
	plain := expected(among)
	seasonal := expected(replace(among, `"count(calls, 10s)"`, `"count(calls, 10s)", season: hour-of-week`))
	if plain < 1.5 || plain > 3 || seasonal < 1.5 || seasonal > 3 {
		t.Errorf("peers make two calls in a slot, but of the new one %v are expected, and %v where the hour counts", plain, seasonal)
	}
}

func TestANewAgentThatDoesAsItsPeersDoIsLeftAlone(t *testing.T) {
	s := newStage(t, among)
	s.settledPeers(6)
	for slot := range 360 {
		for i := range 1 + slot%4 {
			s.call("rookie", time.Hour+time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second)
		}
	}
	if got := len(s.found); got > 0 {
		t.Errorf("%d alarms about agents that all do the same", got)
	}
}

func TestWithoutPeersInTheWarmUpANewAgentIsJudgedByItsOwnPastAlone(t *testing.T) {
	s := newStage(t, replace(among, ", peers: 3", ""))
	s.settledPeers(6)
	if s.call("rookie", time.Hour).Known {
		t.Error("a new agent is known, though the detector asks for a past of its own")
	}
}

// Each of five agents uses three documents of its own and the twelve that all share. One more,
// which uses three, then turns to others.
func TestWhatPeersKnowCountsLessThanWhatNobodyDoes(t *testing.T) {
	evidence := func(peers int, resource string) (sum float64) {
		s := newStage(t, `id: beyond
title: Resources that it never used
group_by: agent
baseline: [{feature: new(resource)}]
budget: 1 per 1000 agent-days
slot: 10s
warmup: {calls: 100, slots: 20}
`)
		for i := range 400 {
			at := time.Duration(i) * 7 * time.Second
			for a := range peers {
				doc := fmt.Sprintf("own-%d-%d", a, i%3)
				if i%2 == 0 {
					doc = fmt.Sprint("shared-", i/2%12)
				}
				s.call(fmt.Sprint("peer-", a), at, on(doc))
			}
			s.call("a", at, on(fmt.Sprint("mine-", i%3)))
		}
		for i := range 4 {
			sum = s.call("a", 3000*time.Second+time.Duration(i)*time.Second, on(fmt.Sprint(resource, i))).Evidence
		}
		return sum
	}
	alone, shared, foreign := evidence(0, "shared-"), evidence(5, "shared-"), evidence(5, "secret-")
	t.Logf("four new resources give evidence of %.1f that peers know, %.1f that nobody does, %.1f where there are no peers", shared, foreign, alone)
	if !(shared < alone && alone < foreign) {
		t.Errorf("evidence %.1f of what peers know, %.1f without peers, %.1f of what nobody knows: want them to rise", shared, alone, foreign)
	}
}

// Two tenants know nothing of one another.
func TestPeersAreThoseOfTheSameTenant(t *testing.T) {
	s := newStage(t, among)
	s.settledPeers(6)
	c := call(s.n, "rookie", time.Hour)
	c.Tenant = []byte("t2")
	if s.take(&c); s.last.Known {
		t.Error("an agent of another tenant is judged by what the agents of this one are like")
	}
}

// The rookie made one call in each of 30 slots before its peers were there, and bursts as they do after
// that: what vouches for it is what it is judged by.
func TestWhoWasMetBeforeItsPeersBelievesThemToo(t *testing.T) {
	s := newStage(t, replace(among, "calls: 100", "calls: 1000"))
	for slot := range 30 {
		s.call("rookie", time.Duration(slot)*10*time.Second)
	}
	for slot := range 900 {
		for peer := range 6 {
			for i := range 1 + slot%4 {
				s.call(fmt.Sprint("peer-", peer), 10*time.Minute+time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second)
			}
		}
	}
	for slot := range 360 {
		for i := range 1 + slot%4 {
			s.call("rookie", 4*time.Hour+time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second)
		}
	}
	if got := s.alarms("rookie"); got > 0 {
		t.Errorf("%d alarms about an agent that does as its peers do", got)
	}
}
