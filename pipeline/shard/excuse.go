package shard

import (
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Excuse says that on a day, which is one of the calls' own time, an exception first let a call of an entity pass.
type Excuse struct {
	Index     int // of the detector in the plan
	Exception *detector.Exception
	Time      time.Time // the call's own
	Tenant    string
	EntityBy  string
	Entity    string
	Agent     string
	CallID    string
}

// excuses are, by exception and entity, the latest days with an excuse.
type excuses map[excusedBy]int64

type excusedBy struct {
	exception *detector.Exception
	entity    uint32 // its number
}

// mostExcuses bounds what is remembered: past it all is forgotten, and some excuse of the day is told again.
const mostExcuses = 1 << 16

// excepted reports whether an exception lets the call at t pass, which is then counted, and told once a day.
func (s *Shard) excepted(r *rule, e *entity, c *telemetry.Call, t int64) bool {
	x := r.exception(s.bits, t)
	if x == nil {
		return false
	}
	s.Excepted[r.index]++
	by, day := excusedBy{x, e.id}, floorDiv(t, int64(24*time.Hour))
	if last, ok := s.excuses[by]; ok && day <= last {
		return true
	}
	if len(s.excuses) >= mostExcuses {
		clear(s.excuses)
	}
	s.excuses[by] = day
	kind, tenant, name := splitEntityKey(e.key)
	s.Excuses = append(s.Excuses, Excuse{
		Index: r.index, Exception: x, Time: time.Unix(0, t).UTC(), Tenant: tenant, EntityBy: kind.String(), Entity: name,
		Agent: string(c.Agent), CallID: string(c.ID),
	})
	return true
}
