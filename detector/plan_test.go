package detector_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
)

const budgeted = `id: enforced
title: Enforced
mode: enforce
match: {agent: a}
baseline: {feature: new(resource)}
budget: 1 per 100000 calls
response: {action: revoke, scope: agent, for: 15m}
---
id: narrow
title: Near the least level
within: session
baseline: {feature: sequence(action)}
budget: 1 per 200 sessions
---
id: limit
title: A hard limit alone
when: count(calls, 1m) > 1
`

func levels(p *detector.Plan) []float64 {
	var levels []float64
	for _, d := range p.Detectors {
		levels = append(levels, d.Level)
	}
	return levels
}

func TestAScaledBudgetAllowsThatManyTimesTheFalseAlarms(t *testing.T) {
	original := []float64{math.Log(100_000), math.Log(200), 0}
	for k, want := range map[float64][]float64{
		1:    original,
		10:   {math.Log(10_000), math.Log(100), 0}, // never under one false alarm in 100
		0.1:  {math.Log(1_000_000), math.Log(2000), 0},
		1e12: {math.Log(100), math.Log(100), 0},
	} {
		p := load(t, budgeted).Plan
		scaled := p.ScaleBudget(k)
		if diff := cmp.Diff(want, levels(scaled), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("levels at %g times the budget: %s", k, diff)
		}
		for i, d := range p.Detectors {
			if want := max(d.Blocks/k, 10); len(d.Evidence) > 0 && math.Abs(scaled.Detectors[i].Blocks-want) > 1e-9*want {
				t.Errorf("%g times the budget of %s is one in %g blocks, want %g", k, d.ID, scaled.Detectors[i].Blocks, want)
			}
		}
		if diff := cmp.Diff(original, levels(p), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Errorf("the plan that was scaled changed: %s", diff)
		}
	}
}

func TestAScaledPlanIsOtherwiseTheSame(t *testing.T) {
	p := load(t, budgeted).Plan
	scaled := p.ScaleBudget(10)
	ignore := cmpopts.IgnoreFields(detector.Compiled{}, "Level", "Blocks", "When")
	if diff := cmp.Diff(p.Detectors, scaled.Detectors, ignore); diff != "" {
		t.Error(diff)
	}
	if bits := bitsOf(scaled, call{"agent": "a"}); !scaled.Detectors[0].Match.Eval(bits) {
		t.Error("a scaled plan classifies otherwise")
	}
	before, _ := p.Enforcer(0)
	after, ok := scaled.Enforcer(0)
	if !ok || after.Response() != before.Response() || after.Compiled != scaled.Detectors[0] {
		t.Errorf("enforcer %v of a detector at level %v, want the scaled one with its response", ok, after.Level)
	}
	if before.Compiled != p.Detectors[0] {
		t.Error("scaling changed the enforcer of the plan that was scaled")
	}
	for i := 1; i < len(p.Detectors); i++ {
		if _, ok := scaled.Enforcer(i); ok {
			t.Errorf("scaling made detector %d an enforcer", i)
		}
	}
}
