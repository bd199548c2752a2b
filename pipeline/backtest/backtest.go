package backtest

import (
	"context"
	"errors"
	"strings"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/estop-project/estop/detector"
)

// Options say what a backtest does.
type Options struct {
	Scope
	// Detectors keeps those of the set with these ids in the report; empty: all. All of them run.
	Detectors []string
	// As supposes a mode of all detectors: observe, alert or enforce; empty: each has its own.
	As string
	// Against is the version that the set is compared with; nil: none. AgainstName is its name.
	Against     *detector.Set
	AgainstName string
	// Suggest looks for exceptions and budgets, which takes a second turn over the log.
	Suggest bool
	// Exceptions looks what each exception dropped, likewise.
	Exceptions bool
	// Examples is how many detections of each detector are shown. Default 3.
	Examples int
}

// Report is what detectors found in history. Nothing in it depends on when or where it was made.
type Report struct {
	Calls int64      `json:"calls"` // that were played
	Bad   []BadCalls `json:"bad"`   // what was no call
	// Reported is how many calls lie in the time that was asked for, From and To their first and last.
	Reported  int64            `json:"calls_reported"`
	From      time.Time        `json:"from,omitzero"`
	To        time.Time        `json:"to,omitzero"`
	As        string           `json:"as,omitempty"` // the mode that was supposed
	AgentDays Exposure         `json:"agent_days"`
	All       HitRate          `json:"all"` // of all detectors together
	Detectors []DetectorReport `json:"detectors"`

	Comparison  *Comparison  `json:"comparison,omitempty"`
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	Exceptions  []Exception  `json:"exceptions,omitempty"`
}

// Exposure is a number of days, sessions or calls, and of those of known entities.
type Exposure struct {
	All   int `json:"all"`
	Known int `json:"known"`
}

// HitRate is how often somebody was hit. Without labels nobody knows how many of the hits are false; if all
// are, it is the rate of false kills.
type HitRate struct {
	Detections int `json:"detections"`
	Kills      int `json:"kills"` // of those who were not stopped yet
	Agents     int `json:"agents"`
	// Units is what rates are of; Value is kills for each 1000 of them that were known, Upper its upper 95 %
	// confidence bound, Budget what the budgets allow. Value, Upper and Budget are 0 where none was known.
	Units  string  `json:"units"`
	Value  float64 `json:"kills_per_1000"`
	Upper  float64 `json:"upper_95_per_1000"`
	Budget float64 `json:"budget_per_1000"`
	// Within is whether there are no more kills than the budgets allow; nil where nothing can be said.
	Within *bool `json:"within_budget,omitempty"`
}

// DetectorReport is what one detector found.
type DetectorReport struct {
	ID       string   `json:"id"`
	Version  string   `json:"version"`
	Mode     string   `json:"mode"`
	Response string   `json:"response,omitempty"` // what a kill would be; empty: none
	Budget   string   `json:"budget,omitempty"`
	Matched  int      `json:"calls_matched"`
	Entities int      `json:"entities"`
	Known    int      `json:"entities_known"`
	Exposure Exposure `json:"exposure"`
	HitRate
	Examples []Example `json:"examples"`
}

// Example is a detection with its explanation.
type Example struct {
	detector.Detection
	Kill bool `json:"kill"`
	// Explanation says in words why the detector fired.
	Explanation []string `json:"explanation"`
}

var errNothing = errors.New("the log holds no call in that time")

// Run plays a log to detectors.
func Run(ctx context.Context, log Log, set *detector.Set, opt Options) (*Report, error) {
	if opt.Examples == 0 {
		opt.Examples = 3
	}
	now := newVersion(set, opt.As)
	now.counted = true
	versions := []version{now}
	if opt.Against != nil {
		versions = append(versions, newVersion(opt.Against, opt.As))
	}
	p, err := play(ctx, log, opt.Scope, versions, playing{features: opt.Examples, traffic: opt.Suggest})
	if err != nil {
		return nil, err
	}
	if p.reported == 0 {
		return nil, errNothing
	}
	r := p.report(opt)
	if opt.Against != nil {
		r.Comparison = compare(p.sides[1], p.sides[0], opt)
	}
	if opt.Suggest {
		if r.Suggestions, err = suggest(ctx, log, p, opt); err != nil {
			return nil, err
		}
	}
	if opt.Exceptions {
		r.Exceptions, err = exceptions(ctx, log, p, opt)
	}
	return r, err
}

func (p *played) report(opt Options) *Report {
	s := p.sides[0]
	x := s.exposure
	r := &Report{
		Calls: p.calls, Bad: p.badReasons(), Reported: p.reported, As: opt.As,
		From: time.Unix(0, p.first).UTC(), To: time.Unix(0, p.last).UTC(),
		AgentDays: Exposure{x.agents.all, x.agents.known}, Detectors: []DetectorReport{},
	}
	var kept []Hit
	promised := 0.0
	for i, d := range s.set.Plan.Detectors {
		if !opt.wants(d.ID) {
			continue
		}
		n := &x.units[i]
		var hits []Hit
		for _, h := range s.hits {
			if h.index == i {
				hits = append(hits, h)
			}
		}
		kept = append(kept, hits...)
		one := DetectorReport{
			ID: d.ID, Version: d.Version, Mode: d.Mode.String(), Budget: d.Budget, Response: responseText(s.responses[i]),
			Matched: n.matched, Entities: n.entities, Known: n.knownEntities,
			Exposure: Exposure{n.all, n.known}, HitRate: hitRate(hits, unit(d)), Examples: []Example{},
		}
		base := n.known
		if len(d.Evidence) == 0 {
			base = n.all // it knows everybody from the first call on
		}
		one.over(base, allowed(d)*float64(base), len(d.Evidence) > 0)
		if len(s.responses[i]) > 0 {
			promised += allowed(d) * float64(n.known)
		}
		for _, h := range hits[:min(len(hits), opt.Examples)] {
			one.Examples = append(one.Examples, Example{h.Detection, h.Killed, explain(&h.Detection)})
		}
		r.Detectors = append(r.Detectors, one)
	}
	r.All = hitRate(kept, "agent-days")
	base := x.agents.known
	r.All.over(base, promised, promised > 0)
	return r
}

func (o *Options) wants(id string) bool {
	for _, d := range o.Detectors {
		if d == id {
			return true
		}
	}
	return len(o.Detectors) == 0
}

func hitRate(hits []Hit, units string) HitRate {
	r := HitRate{Detections: len(hits), Units: units}
	agents := map[[2]string]bool{}
	for _, h := range hits {
		agents[[2]string{h.Tenant, h.Agent}] = true
		if h.Killed {
			r.Kills++
		}
	}
	r.Agents = len(agents)
	return r
}

// over fills in the rates over so many units, in which so many kills were promised.
func (r *HitRate) over(units int, promised float64, hasBudget bool) {
	if units == 0 {
		return
	}
	per := 1000 / float64(units)
	r.Value, r.Upper, r.Budget = float64(r.Kills)*per, poissonUpper(r.Kills)*per, promised*per
	if hasBudget {
		within := r.Value <= r.Budget
		r.Within = &within
	}
}

// poissonUpper returns the upper 95 % confidence bound of the mean of a Poisson count of which n were seen
// (Garwood 1936).
func poissonUpper(n int) float64 { return mathext.GammaIncRegInv(float64(n)+1, 0.95) }

func responseText(steps []detector.Supposed) string {
	var texts []string
	for _, r := range steps {
		texts = append(texts, r.Action().String()+" "+r.Scope().String()+" for "+r.For().String())
	}
	return strings.Join(texts, ", then ")
}
