package backtest

import (
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// version is a set of detectors that history is played to, and what each would answer.
type version struct {
	set       *detector.Set
	as        string                // the mode that is supposed; empty: each has its own
	responses [][]detector.Supposed // by detector and step, as they stand in its file; nil: it stops nobody
	counted   bool                  // days are counted, for rates
	shard     shard.Options
}

// newVersion returns the detectors with the responses that they have in their own mode, or in the one
// that is supposed of all of them.
func newVersion(set *detector.Set, as string) version {
	v := version{set: set, as: as}
	for i := range set.Plan.Detectors {
		var steps []detector.Supposed
		if _, ok := set.Plan.Enforcer(i); as == detector.Enforce.String() || as == "" && ok {
			steps = set.Sources[i].Supposed
		}
		v.responses = append(v.responses, steps)
	}
	return v
}

// response is what answers a detection: in a supposed mode what stands in the file, else what production would
// do, which depends on the tenant and the schedule.
func (v *version) response(d *shard.Detected) (r detector.Supposed, ok bool) {
	if v.as != "" {
		steps := v.responses[d.Index]
		if len(steps) == 0 {
			return r, false
		}
		return steps[min(max(d.Step-1, 0), len(steps)-1)], true
	}
	return v.set.Plan.SupposedOf(d.Index, &d.Detection)
}

// Hit is a detection that history led to.
type Hit struct {
	detector.Detection
	Killed  bool             // somebody would have been stopped who was not stopped yet
	Outcome string           // of the breaking call,
	Context []telemetry.Pair // and what it carried along

	call  int64 // number of the call in the log
	index int   // of the detector in its plan
}

// side is a version at work in one lane.
type side struct {
	version
	player   *player
	guard    *Guard
	exposure *exposure
	hits     []Hit
	told     []int // how many hits of each detector have kept their features
	counting bool  // the call under way is to be reported
}

func newSide(v version, partitions int) *side {
	s := &side{version: v, guard: NewGuard(), told: make([]int, len(v.set.Plan.Detectors))}
	opt := v.shard
	if v.counted {
		s.exposure = newExposure(len(v.set.Plan.Detectors))
		further := opt.Judged
		opt.Judged = func(j shard.Judgement) {
			if s.counting {
				s.exposure.judged(j)
			}
			if further != nil {
				further(j)
			}
		}
	}
	s.player = newPlayer(v.set.Plan, opt, partitions)
	return s
}

// call plays the call with a number, which is counted if it is to be reported. keep is how many hits of a
// detector keep their features.
func (s *side) call(c *telemetry.Call, src shard.Source, stray bool, number int64, report bool, keep int) {
	if s.counting = report; report && s.exposure != nil {
		s.exposure.call(c)
	}
	for i, d := range s.player.call(c, src, stray) {
		h := Hit{Detection: d.Detection, index: d.Index, call: number}
		if r, ok := s.response(&s.player.found[i]); ok && !s.guard.Denies(c) {
			s.guard.Kill(r, &s.player.found[i].Detection)
			h.Killed = true
		}
		if !report {
			continue
		}
		h.Outcome = c.Outcome.String()
		for _, p := range c.Context {
			h.Context = append(h.Context, telemetry.Pair{Key: append([]byte(nil), p.Key...), Value: append([]byte(nil), p.Value...)})
		}
		if s.told[d.Index]++; s.told[d.Index] > keep {
			h.Features = nil
		}
		s.hits = append(s.hits, h)
	}
}
