package backtest

import (
	"context"
	"fmt"
	"time"

	"github.com/estop-project/estop/detector"
)

// Exception is an exception of a detector, and what would have been found without it: the record of what it excused.
type Exception struct {
	Detector string    `json:"detector"`
	Version  string    `json:"version"`
	Where    string    `json:"where"` // in the detector: exceptions[0]
	Reason   string    `json:"reason"`
	Owner    string    `json:"owner,omitempty"`
	Until    time.Time `json:"until,omitzero"`

	Excused int `json:"calls_excused"` // by it alone
	Matched int `json:"calls_matched"` // without it
	// Dropped are the detections that come only without it, Kills those that would have stopped somebody, by this
	// detector alone. New are those that come only with it, such as later ones.
	Dropped  int         `json:"dropped"`
	Kills    int         `json:"kills_dropped"`
	New      int         `json:"new"`
	Drops    []DropCount `json:"drops"`    // by entity, the most first
	Examples []Example   `json:"examples"` // of the dropped, the first
}

// exceptions plays the log again without each exception.
func exceptions(ctx context.Context, log Log, p *played, opt Options) ([]Exception, error) {
	found := p.sides[0]
	all := []Exception{}
	var of []int // the detector of each
	var versions []version
	for i, d := range found.set.Plan.Detectors {
		if !opt.wants(d.ID) {
			continue
		}
		for _, x := range found.set.Exceptions(i) {
			without, errs := found.set.With(i, detector.Variant{Without: &x})
			if err := errs.Err(); err != nil {
				return nil, fmt.Errorf("cannot leave out %s of %s: %w", x.Where, d.ID, err)
			}
			v := newVersion(without, opt.As)
			v.counted = true
			versions, of = append(versions, v), append(of, i)
			all = append(all, Exception{
				Detector: d.ID, Version: d.Version, Where: x.Where, Reason: x.Reason, Owner: x.Owner, Until: x.Until,
				Drops: []DropCount{}, Examples: []Example{},
			})
		}
	}
	if len(all) == 0 {
		return all, nil
	}
	without, err := play(ctx, log, opt.Scope, versions, playing{features: everyFeature})
	if err != nil {
		return nil, err
	}
	for k := range all {
		all[k].count(without.sides[k], found, of[k], opt.Examples)
	}
	return all, nil
}

// everyFeature lets all detections keep their features: which of them are dropped is known at the end.
const everyFeature = 1 << 10

// count compares what detector i found with the exception and without it, where it is the first of its set.
func (x *Exception) count(without, with *side, i, examples int) {
	quiet := max(time.Hour, with.set.Plan.Detectors[i].Quiet)
	drops := drops{}
	for _, t := range pair(without.of(0), with.of(i), quiet) {
		switch {
		case t.before == nil:
			x.New++
		case t.now == nil:
			x.Dropped++
			drops.of(t.before).Drops++
			if t.before.Killed {
				x.Kills++
			}
			if len(x.Examples) < examples {
				x.Examples = append(x.Examples, Example{t.before.Detection, t.before.Killed, explain(&t.before.Detection)})
			}
		}
	}
	x.Drops = drops.sorted()
	x.Matched = without.exposure.units[0].matched
	x.Excused = x.Matched - with.exposure.units[i].matched
}
