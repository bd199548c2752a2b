package detector_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
)

func TestEveryFeatureReachesThePlan(t *testing.T) {
	const tool = detector.FieldContext
	for text, want := range map[string]detector.Feature{
		"count(denied, 60s)":             {Name: "count(denied, 1m)", Kind: detector.KindCount, Measure: detector.MeasureDenied, Window: time.Minute},
		"sum(bytes_in, 1m)":              {Name: "sum(bytes_in, 1m)", Kind: detector.KindCount, Measure: detector.MeasureBytesIn, Window: time.Minute},
		"max(bytes_in, 1m)":              {Name: "max(bytes_in, 1m)", Kind: detector.KindMax, Measure: detector.MeasureBytesIn, Window: time.Minute},
		"max(bytes_out, 24h)":            {Name: "max(bytes_out, 1d)", Kind: detector.KindMax, Measure: detector.MeasureBytesOut, Window: 24 * time.Hour},
		"max(latency, 90s)":              {Name: "max(latency, 1m30s)", Kind: detector.KindMax, Measure: detector.MeasureLatency, Window: 90 * time.Second},
		"quantile(0.950, latency, 600s)": {Name: "quantile(0.95, latency, 10m)", Kind: detector.KindQuantile, Measure: detector.MeasureLatency, Window: 10 * time.Minute, Share: 0.95},
		"quantile(0.5, bytes_out, 1h)":   {Name: "quantile(0.5, bytes_out, 1h)", Kind: detector.KindQuantile, Measure: detector.MeasureBytesOut, Window: time.Hour, Share: 0.5},
		"rate(bytes_out, 1s)":            {Name: "rate(bytes_out, 1s)", Kind: detector.KindRate, Measure: detector.MeasureBytesOut, Window: time.Second},
		"distinct(parent, 1h)":           {Name: "distinct(parent, 1h)", Kind: detector.KindDistinct, Field: detector.FieldParent, Window: time.Hour},
		"distinct(chain, 1h)":            {Name: "distinct(chain, 1h)", Kind: detector.KindDistinct, Field: detector.FieldChain, Window: time.Hour},
		"distinct(session, 1h)":          {Name: "distinct(session, 1h)", Kind: detector.KindDistinct, Field: detector.FieldSession, Window: time.Hour},
		"distinct(context.tool, 1h)":     {Name: "distinct(context.tool, 1h)", Kind: detector.KindDistinct, Field: tool, Window: time.Hour},
		"new(chain)":                     {Name: "new(chain)", Kind: detector.KindNew, Field: detector.FieldChain},
		"new(call)":                      {Name: "new(call)", Kind: detector.KindNew, Field: detector.FieldCall},
		"new(context['tool'])":           {Name: "new(context.tool)", Kind: detector.KindNew, Field: tool},
		"surprise(parent)":               {Name: "surprise(parent)", Kind: detector.KindSurprise, Field: detector.FieldParent},
		"surprise(call)":                 {Name: "surprise(call)", Kind: detector.KindSurprise, Field: detector.FieldCall},
		"sequence(action)":               {Name: "sequence(action)", Kind: detector.KindSequence, Field: detector.FieldAction},
		"sequence( resource )":           {Name: "sequence(resource)", Kind: detector.KindSequence, Field: detector.FieldResource},
		"sequence(call)":                 {Name: "sequence(call)", Kind: detector.KindSequence, Field: detector.FieldCall},
		"repeats(call)":                  {Name: "repeats(call)", Kind: detector.KindRepeats, Field: detector.FieldCall},
		"stale(call)":                    {Name: "stale(call)", Kind: detector.KindStale, Field: detector.FieldCall},
		"depth(chain)":                   {Name: "depth(chain)", Kind: detector.KindDepth, Field: detector.FieldChain},
		"recurs(chain)":                  {Name: "recurs(chain)", Kind: detector.KindRecurs, Field: detector.FieldChain},
		"burst(resource)":                {Name: "burst(resource)", Kind: detector.KindBurst, Field: detector.FieldResource},
		"burst(identity)":                {Name: "burst(identity)", Kind: detector.KindBurst, Field: detector.FieldIdentity},
		"burst(action)":                  {Name: "burst(action)", Kind: detector.KindBurst, Field: detector.FieldAction},
		"burst(parent)":                  {Name: "burst(parent)", Kind: detector.KindBurst, Field: detector.FieldParent},
		"burst(chain_root)":              {Name: "burst(chain_root)", Kind: detector.KindBurst, Field: detector.FieldChainRoot},
	} {
		d := load(t, "id: x\ntitle: x\ngroup_by: tenant\nwhen: "+text+" > 1\n").Plan.Detectors[0]
		if diff := cmp.Diff([]detector.Feature{want}, d.Features); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestAShareIsACountByThatOfAllCalls(t *testing.T) {
	for _, text := range []string{
		"share(denied, 5m) > 0.5 and count(calls, 5m) >= 20", "count(denied, 5m) / count(calls, 5m) > 0.5 and count(calls, 5m) >= 20",
		"count(calls, 5m) >= 20 and 50 < 100 * share(denied, 5m)", "not (share(denied, 5m) <= 0.5) and 20 <= count(calls, 5m)",
	} {
		d := load(t, "id: x\ntitle: x\nwhen: "+text+"\n").Plan.Detectors[0]
		at := map[string]int{}
		for i, f := range d.Features {
			at[f.Name] = i
		}
		if len(at) != 2 {
			t.Fatalf("%s: features %v", text, d.Features)
		}
		for _, c := range []struct {
			denied, calls float64
			want          bool
		}{{11, 20, true}, {10, 20, false}, {11, 19, false}, {0, 0, false}, {19, 40, false}, {21, 40, true}} {
			values := make([]float64, 2)
			values[at["count(denied, 5m)"]], values[at["count(calls, 5m)"]] = c.denied, c.calls
			if got := d.When.Eval(values); got != c.want {
				t.Errorf("%s with %g of %g denied is %v", text, c.denied, c.calls, got)
			}
		}
	}
}

func TestUnitsOfALimitMustFit(t *testing.T) {
	for _, text := range []string{
		"sum(bytes_out, 1h) / count(calls, 1h) > 5MiB", "sum(bytes_out, 1h) > 5MiB * count(calls, 1h)", "rate(bytes_out, 1s) > 5MiB", "sum(bytes_out, 1h) > 1000",
		"quantile(0.95, latency, 10m) > 5s", "max(latency, 1h) > 1m30s", "max(latency, 1h) / quantile(0.5, latency, 1h) > 20", "max(latency, 1h) * count(calls, 1h) > 2h",
		"sum(bytes_out, 1h) / sum(bytes_in, 1h) > 10", "(sum(bytes_out, 1h) - sum(bytes_in, 1h)) / 1MiB > 3", "1 / max(latency, 1m) < 3", "share(errors, 1m) + share(denied, 1m) > 0.5",
	} {
		load(t, "id: x\ntitle: x\nwhen: "+text+"\n")
	}
	d := load(t, "id: x\ntitle: x\nwhen: max(latency, 1h) > 1m30s\n").Plan.Detectors[0]
	if d.When.Eval([]float64{90}) || !d.When.Eval([]float64{90.5}) {
		t.Error("1m30s are not 90 seconds")
	}
}

func TestABaselineSaysWhatItRemembersAndInWhichStep(t *testing.T) {
	const days = 24 * time.Hour
	perDays := func(n float64, slot time.Duration) float64 { return math.Log(n * days.Seconds() / slot.Seconds()) }
	type evidence = []detector.Evidence
	for text, want := range map[string]detector.Compiled{
		"baseline: {feature: 'count(calls, 1h)', season: hour-of-week}\nbudget: 1 per 1000 agent-days\n": {
			Evidence: evidence{{Weight: 1, Seasonal: true}}, Slot: time.Hour, Level: perDays(1000, time.Hour),
		},
		"baseline: {feature: 'sum(bytes_out, 5m)', memory: 100m}\nbudget: 2 per 1000 agent-days\n": {
			Evidence: evidence{{Weight: 1, Memory: 100 * time.Minute}}, Slot: 5 * time.Minute, Level: perDays(500, 5*time.Minute),
		},
		"baseline: [{feature: 'max(latency, 1d)', memory: 400d}, {feature: new(resource), weight: 3}]\nbudget: 1 per 1000 agent-days\n": {
			Evidence: evidence{{Weight: 1, Memory: 400 * days}, {Feature: 1, Weight: 3}}, Slot: days, Level: math.Log(1000),
		},
		"baseline: [{feature: new(call)}, {feature: repeats(call)}]\nbudget: 1 per 1000000 calls\n": {
			Evidence: evidence{{Weight: 1}, {Feature: 1, Weight: 1}}, Slot: 10 * time.Second, Level: math.Log(1e6),
		},
		"baseline: {feature: new(chain)}\nslot: 24h\nbudget: 1 per 1000 agent-days\n": {
			Evidence: evidence{{Weight: 1}}, Slot: days, Level: math.Log(1000),
		},
		"group_by: parent\nbaseline: {feature: 'count(calls, 1m)'}\nbudget: 1 per 1000 parent-days\n": {
			GroupBy: detector.ByParent, Evidence: evidence{{Weight: 1}}, Slot: time.Minute, Level: perDays(1000, time.Minute),
		},
	} {
		got := load(t, "id: x\ntitle: x\n"+text).Plan.Detectors[0]
		if diff := cmp.Diff(judgement(&want), judgement(got), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Errorf("%s%s", text, diff)
		}
	}
}

func TestWithinASessionTheBudgetCountsSessions(t *testing.T) {
	for budget, level := range map[string]float64{
		"1 per 1000 sessions": math.Log(1000), "2 per 1_000_000 sessions": math.Log(500_000), "0.01 per session": math.Log(100),
	} {
		for _, entity := range []detector.Entity{detector.ByAgent, detector.ByIdentity, detector.ByChainRoot, detector.ByParent} {
			got := load(t, "id: x\ntitle: x\nwithin: session\ngroup_by: "+entity.String()+"\nbudget: "+budget+`
baseline:
  - feature: new(resource)
  - feature: surprise(call)
  - feature: sequence(action)
  - feature: sequence(shape)
  - feature: new(call)
when: count(calls, 1m) > 1000
`).Plan.Detectors[0]
			want := &detector.Compiled{
				GroupBy: entity, Within: true, Level: level, Slot: 10 * time.Second,
				Evidence: []detector.Evidence{{Weight: 1}, {Feature: 1, Weight: 1}, {Feature: 2, Weight: 1}, {Feature: 3, Weight: 1}, {Feature: 4, Weight: 1}},
			}
			if diff := cmp.Diff(judgement(want), judgement(got), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
				t.Errorf("%s by %s: %s", budget, entity, diff)
			}
		}
	}
}

func TestRelearnIsAFieldOrAContextEntry(t *testing.T) {
	for text, want := range map[string]detector.Field{
		"identity": detector.FieldIdentity, "parent": detector.FieldParent,
		"context.region": detector.FieldContext, "context.git.commit": detector.FieldContext + 1,
	} {
		p := load(t, "id: x\ntitle: x\nmatch: {context.region: eu}\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\nrelearn: "+text+"\n").Plan
		d := p.Detectors[0]
		if !d.HasRelearn || d.Relearn != want || p.FieldName(d.Relearn) != text {
			t.Errorf("relearn: %s gives field %d, %s, want %d", text, d.Relearn, p.FieldName(d.Relearn), want)
		}
	}
}

// judgement is how a detector's evidence is judged, without the rest.
func judgement(d *detector.Compiled) *detector.Compiled {
	return &detector.Compiled{
		GroupBy: d.GroupBy, Evidence: d.Evidence, Slot: d.Slot, Level: d.Level,
		Within: d.Within, Relearn: d.Relearn, HasRelearn: d.HasRelearn,
	}
}

func TestAMatchTestsTheParent(t *testing.T) {
	for match, want := range map[string]bool{
		"{parent: orchestrator}": true, "{parent|startswith: orch}": true, "{parent: other}": false,
		"{parent|exists: true}": true, "{not: {parent: orchestrator}}": false,
	} {
		if got := matches(t, match, call{"parent": "Orchestrator", "agent": "worker"}); got != want {
			t.Errorf("%s is %v", match, got)
		}
	}
}

func TestABudgetIsDividedIntoBlocks(t *testing.T) {
	for text, want := range map[string]struct {
		blocks float64
		calls  int
	}{
		"budget: 1 per 1000 agent-days":                     {1000, 0},
		"budget: 3 per 1500 agent-days":                     {500, 0},
		"budget: 1 per 100 agent-weeks":                     {700, 0},
		"budget: 1 per 2400 agent-hours":                    {100, 0},
		"budget: 1 per agent-day":                           {10, 0}, // no fewer
		"budget: 1 per 1000000 calls":                       {1000, 1000},
		"budget: 1 per 2000 calls":                          {200, 10},
		"within: session\nbudget: 1 per 1000 sessions":      {1000, 0},
		"within: session\nbudget: 2 per 1_000_000 sessions": {500_000, 0},
	} {
		d := load(t, "id: x\ntitle: x\nbaseline: {feature: new(action)}\n"+text+"\n").Plan.Detectors[0]
		if math.Abs(d.Blocks-want.blocks) > 1e-6 || d.BlockCalls != want.calls {
			t.Errorf("%s: %g blocks of %d calls, want %g of %d", text, d.Blocks, d.BlockCalls, want.blocks, want.calls)
		}
	}
}
