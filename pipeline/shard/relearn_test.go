package shard_test

import (
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

const deployed = `id: deployed
title: The pace of this version of an agent
group_by: agent
baseline: [{feature: "count(calls, 10s)"}, {feature: new(resource)}]
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10}
relearn: context.version
quiet: 1h
`

func version(v string) func(*telemetry.Call) {
	return func(c *telemetry.Call) {
		c.Context = append(c.Context, telemetry.Pair{Key: []byte("version"), Value: []byte(v)})
	}
}

// paced plays slots of ten seconds with so many calls each, from a slot on.
func (s *stage) paced(from, slots, calls int, v string) {
	for slot := range slots {
		for i := range calls + slot%2 {
			s.call("a", time.Duration(from+slot)*10*time.Second+time.Duration(i)*100*time.Millisecond, version(v))
		}
	}
}

func TestANewVersionIsNotKnownUntilItHasWarmedUp(t *testing.T) {
	s := newStage(t, deployed)
	s.paced(0, 400, 2, "1")
	if !s.last.Known {
		t.Fatal("400 slots of one version, and the agent is not known")
	}
	if s.call("a", 4000*time.Second, version("2")).Known {
		t.Error("at its first call a new version is known")
	}
	unknown := 0
	for i := 1; !s.last.Known; i++ {
		if unknown++; unknown > 1000 {
			t.Fatal("the new version never becomes known")
		}
		s.call("a", 4000*time.Second+time.Duration(i)*4*time.Second, version("2"))
	}
	if unknown < 49 {
		t.Errorf("the new version is known after %d calls, want 50", unknown)
	}
}

// With the new version comes ten times the traffic: it is learned. The same from the old version is found.
func TestWhatANewVersionDoesIsLearned(t *testing.T) {
	alarms := func(next string) int {
		s := newStage(t, deployed)
		s.paced(0, 400, 2, "1")
		s.paced(400, 100, 20, next)
		return s.alarms("a")
	}
	if same, other := alarms("1"), alarms("2"); same != 1 || other != 0 {
		t.Errorf("ten times the traffic: %d alarms of the same version, %d of a new one; want 1 and none", same, other)
	}
}

func TestWhoChangesItsVersionEveryMinuteIsExcusedOnceADay(t *testing.T) {
	s := newStage(t, deployed)
	s.paced(0, 400, 2, "1")
	const days, slotsADay = 3, 8640
	excused, slots, was := 0, 0, true
	for slot := 400; slot < 400+days*slotsADay; slot++ {
		v := string(rune('a' + slot/6%20)) // another version each minute
		for i := range 2 {
			j := s.call("a", time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second, version(v))
			if was && !j.Known {
				excused++
			}
			was = j.Known
		}
		if !was {
			slots++
		}
	}
	if excused > days {
		t.Errorf("excused %d times in %d days", excused, days)
	}
	if share := float64(slots) / (days * slotsADay); share > 0.01 {
		t.Errorf("not judged in %.1f %% of the time", 100*share)
	}
	// On the same day, a flood under yet another version is found.
	for i := range 500 {
		s.call("a", (400+days*slotsADay)*10*time.Second+time.Duration(i)*10*time.Millisecond, version("Z"))
	}
	if s.alarms("a") != 1 {
		t.Errorf("%d alarms of a flood under a fresh version on a day that had one, want 1", s.alarms("a"))
	}
}

func TestACallWithoutAVersionIsNoNewVersion(t *testing.T) {
	s := newStage(t, deployed)
	s.paced(0, 400, 2, "1")
	if !s.call("a", 4000*time.Second).Known || !s.call("a", 4001*time.Second, version("1")).Known {
		t.Error("a call without a version made the agent unknown")
	}
}

// By the word of its calls each new version comes days after the one before; they all came within minutes.
func TestCallsThatAreDatedBackExcuseNobodyTwice(t *testing.T) {
	s := newStage(t, deployed)
	s.paced(0, 400, 2, "1")
	dated := func(days int) func(*telemetry.Call) {
		return func(c *telemetry.Call) { c.Time -= int64(days) * int64(24*time.Hour) }
	}
	s.call("a", 4000*time.Second, version("2"), dated(100))
	s.paced(401, 100, 2, "2")
	if !s.last.Known {
		t.Fatal("after 100 slots the new version is not known")
	}
	if !s.call("a", 5100*time.Second, version("3"), dated(50)).Known {
		t.Error("a second version within the hour is excused, dated back to 50 days after the first")
	}
}
