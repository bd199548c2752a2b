package shard_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// What a shard believes that its entities take is what bounds the memory of a process.
func TestWhatEntitiesTakeIsAboutWhatTheHeapSays(t *testing.T) {
	for name, c := range map[string]struct {
		agents    int
		days      time.Duration
		restAfter time.Duration
	}{
		"at work, known":   {150, 4 * 24 * time.Hour, 365 * 24 * time.Hour},
		"at work, unknown": {1500, 3 * time.Hour, 365 * 24 * time.Hour},
		"resting":          {1500, 3 * time.Hour, time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet.New(fleet.Options{Seed: 1, Agents: c.agents, Tenants: 4})
			plan := catalogue(t)
			before := heap()
			o := shard.Options{RestAfter: c.restAfter}
			j := &judge{calls: shard.New(plan, o), exchange: shard.New(plan, o)}
			empty := heap() - before
			n := 0
			for c := range f.Calls(time.Time{}, fleet.DefaultStart.Add(c.days)) {
				c.Telemetry(&j.call)
				j.judge(t, 0, false)
				j.drain()
				if n++; n%5000 == 0 {
					j.calls.Dirty()
					j.exchange.Dirty()
				}
			}
			j.call = telemetry.Call{}
			for range 100 {
				j.calls.Dirty()
				j.exchange.Dirty()
			}
			used, took := j.calls.Used()+j.exchange.Used(), heap()-before-empty
			ratio := float64(used) / float64(took)
			t.Logf("%d entities: %d bytes are believed, the heap holds %d more: %.2f", j.calls.Resident()+j.exchange.Resident(), used, took, ratio)
			if ratio < 0.6 || ratio > 1.5 {
				t.Errorf("%.2f of what the heap says is believed", ratio)
			}
			runtime.KeepAlive(j)
		})
	}
}

// shelved is a shard whose states lie on a shelf.
type shelved struct {
	*shard.Shard
	shelf []shard.EntityState
	calls int
}

func newShelved(t *testing.T, text string) *shelved {
	s := &shelved{}
	s.Shard = shard.New(plan(t, text), shard.Options{Fetch: func(place int64) (shard.EntityState, error) {
		if place >= int64(len(s.shelf)) {
			return shard.EntityState{}, errors.New("the disk is gone")
		}
		return s.shelf[place], nil
	}})
	return s
}

func (s *shelved) call(agent string, at time.Duration) {
	c := call(s.calls, agent, at)
	s.calls++
	s.Call(&c.Call, c.src)
}

func (s *shelved) save() {
	states := s.Dirty()
	places := make([]int64, len(states))
	for i, st := range states {
		places[i] = int64(len(s.shelf))
		s.shelf = append(s.shelf, st)
	}
	s.Stored(states, places)
}

// fetches returns whether the agent's next call must read it back.
func (s *shelved) fetches(agent string, at time.Duration) bool {
	before := s.Stats.Fetched
	s.call(agent, at)
	return s.Stats.Fetched > before
}

func TestTheIdlestIsPutAwayFirstAndTheSuspectLast(t *testing.T) {
	s := newShelved(t, limit)
	for i := range 60 { // the regular, who has been quiet for longest
		s.call("regular", time.Duration(i)*time.Minute)
	}
	for i := range 20 {
		s.call("stopped", time.Hour+time.Duration(i)*time.Millisecond)
	}
	if len(s.Detections) == 0 {
		t.Fatal("nobody is stopped")
	}
	for i := range 50 {
		s.call(fmt.Sprint("passer-by-", i), time.Hour+100*time.Millisecond+time.Duration(i)*time.Millisecond)
	}
	s.save()
	one := s.Used() / int64(s.Resident())
	s.Evict(s.Used() - 10*one)
	if n := s.Stats.Evicted; n < 5 || n > 20 {
		t.Fatalf("%d are put away for the room of ten", n)
	}
	at := time.Hour + 200*time.Millisecond
	for agent, want := range map[string]bool{"regular": false, "stopped": false, "passer-by-0": true, "passer-by-49": false} {
		if got := s.fetches(agent, at); got != want {
			t.Errorf("%s is put away: %v, want %v", agent, got, want)
		}
	}
	// Where nothing else is left they go as well.
	s.save()
	for range 10 {
		s.Evict(0)
	}
	if n := s.Resident(); n != 0 {
		t.Errorf("%d are left, though there is no room for any", n)
	}
	if !s.fetches("stopped", at+time.Millisecond) {
		t.Error("the stopped one stayed beyond the bound")
	}
}

func TestWhatIsNotSafeIsNotPutAway(t *testing.T) {
	s := newShelved(t, limit)
	s.call("a", 0)
	s.Evict(0)
	s.Dirty() // not stored yet
	s.Evict(0)
	if s.Resident() != 1 {
		t.Fatal("an entity is put away whose state is nowhere else")
	}
	s.call("a", time.Second)
	s.save()
	s.call("a", 2*time.Second)
	s.Evict(0)
	if s.Resident() != 1 {
		t.Fatal("an entity is put away that has changed since it was saved")
	}
	s.save()
	if s.Evict(0); s.Resident() != 0 {
		t.Fatal("an entity stays whose state is safe")
	}
}

func TestAStateThatCannotBeReadBackStopsTheShard(t *testing.T) {
	s := newShelved(t, limit)
	s.call("a", 0)
	s.save()
	s.Evict(0)
	s.shelf = nil
	s.call("a", time.Second)
	if s.Err() == nil {
		t.Error("the agent starts as a stranger, and nobody hears of it")
	}
}

// Each name that a shard has met counts, also of those that are put away.
func TestNamesCount(t *testing.T) {
	s := newShelved(t, limit)
	known := map[string]int{}
	for i := range 100 {
		s.call(fmt.Sprint("agent-", i), time.Duration(i)*time.Second)
	}
	s.save()
	s.Evict(0)
	if s.Used() < 100*50 {
		t.Errorf("%d bytes for the names of 100 agents", s.Used())
	}
	s.call("agent-3", time.Hour)
	if s.Agents(known); known["t1"] != 100 {
		t.Errorf("%d agents are known, want 100", known["t1"])
	}
}
