package shard

import (
	"math"
	"time"

	"github.com/estop-project/estop/detector"
)

// Band is how near the evidence against an agent is to what its detectors fire at.
type Band uint8

// The bands. Where no detector knows the agent there is none: what is not known is never called low.
const (
	NoBand Band = iota
	Low
	Medium
	High
)

// The bands begin at these shares of the level at which a detector fires.
const (
	mediumFrom = 0.5
	highFrom   = 0.9
)

// tellAgain is after how long of an agent's own time its risk is told again though it is as before.
const tellAgain = int64(24 * time.Hour)

// Risk is an agent's band, of the detectors that may alert or enforce the highest. It is told when it is another one than before, and once a day.
type Risk struct {
	Tenant, Agent string
	Band          Band
	Share         float64 // of the level, up to 1
	Detector      string  // that weighs most
}

// bears reports whether the evidence of a rule counts for an agent's risk. Sessions are judged by themselves.
func (r *rule) bears() bool {
	return r.GroupBy == detector.ByAgent && !r.Canary && r.Mode >= detector.Alert && len(r.Evidence) > 0 && !r.Within
}

// weight returns the band of what evidence there is.
func (w *watch) weight(r *rule) Band {
	if !w.known(r) {
		return NoBand
	}
	switch asked := w.block.asked(); {
	case w.total < mediumFrom*asked:
		return Low
	case w.total < highFrom*asked:
		return Medium
	}
	return High
}

// tellRisk tells the risk of an agent at t, if it is another one than was told, or was told long ago.
func (s *Shard) tellRisk(e *entity, t int64) {
	worst := Risk{Share: -1}
	for i := range e.watches {
		w := &e.watches[i]
		if !w.rule.bearsRisk {
			continue
		}
		b := w.weight(w.rule)
		if share := w.share(); b > worst.Band || b == worst.Band && b != NoBand && share > worst.Share {
			worst = Risk{Band: b, Share: share, Detector: w.rule.ID}
		}
	}
	if worst.Band == e.band && t < e.told+tellAgain {
		return
	}
	e.band, e.told = worst.Band, max(e.told, t)
	if worst.Band != NoBand {
		_, worst.Tenant, worst.Agent = splitEntityKey(e.key)
		s.Risks = append(s.Risks, worst)
	}
}

// share returns the evidence as a share of what the detector fires at.
func (w *watch) share() float64 {
	x := w.total / w.block.asked()
	if !(x > 0) { // none yet, which is -Inf
		return 0
	}
	return math.Min(x, 1)
}
