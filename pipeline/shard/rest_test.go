package shard

import (
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// resting returns how many entities rest.
func (s *Shard) restingEntities() (n int) {
	for _, e := range s.entities.byID {
		if e.packed != "" {
			n++
		}
	}
	return n
}

func TestTheIdleRestAndTheirNextCallWakesThem(t *testing.T) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	s := New(set.Plan, Options{RestAfter: time.Minute})
	const agents = 3000
	offset := int64(0)
	call := func(agent int, at time.Duration) {
		offset++
		s.Call(&telemetry.Call{
			ID: []byte("x"), Tenant: []byte("t"), Agent: fmt.Append(nil, "agent-", agent), Resource: []byte("r"), Time: int64(at),
		}, Source{Offset: offset, Appended: int64(at)})
	}
	save := func() (written int) {
		for range 1 + agents/restLeast {
			written += len(s.Dirty())
		}
		return written
	}
	for i := range agents {
		call(i, time.Hour)
	}
	if n := save(); n != agents+1 || s.restingEntities() != 0 { // with the peers
		t.Fatalf("%d written, %d rest at once, want %d and none", n, s.restingEntities(), agents+1)
	}
	call(7, time.Hour+61*time.Second)
	if n := save(); n != 1 || s.restingEntities() != agents-1 {
		t.Errorf("%d written, %d rest after a minute, want 1 and all but one", n, s.restingEntities())
	}
	call(8, time.Hour+62*time.Second)
	if n := s.restingEntities(); n != agents-2 {
		t.Errorf("%d rest after a call of one, want %d", n, agents-2)
	}
	// The call that woke it is part of its state.
	again := *s
	if again.Call(&telemetry.Call{ID: []byte("x"), Tenant: []byte("t"), Agent: []byte("agent-8"), Resource: []byte("r"), Time: int64(time.Hour + 62*time.Second)},
		Source{Offset: offset, Appended: int64(time.Hour + 62*time.Second)}); again.Stats.Replayed != 1 {
		t.Errorf("%d calls known as replayed, want the one that woke the agent", again.Stats.Replayed)
	}
	s.Reload(set.Plan)
	call(9, time.Hour+63*time.Second)
	id, _ := s.entities.ids.Lookup([]byte("\x00t\x00agent-9"))
	if e := s.entities.byID[id]; len(e.watches) == 0 || e.calls != 2 {
		t.Errorf("the agent forgot its first call while it rested: %+v", e)
	}
}
