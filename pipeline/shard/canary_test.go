package shard_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

// tried is a detector that knows an agent after 50 calls, with its hard limit.
func tried(features, limit string) string {
	return `id: tried
title: More than an agent ever did
mode: enforce
baseline: ` + features + `
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10}
when: ` + limit + `
quiet: 1s
response: {action: revoke, scope: agent, for: 15m}
`
}

const (
	counts    = `[{feature: "count(calls, 10s)"}]`
	resources = `[{feature: "count(calls, 10s)"}, {feature: new(resource)}]`
)

// filed compiles detectors by the names of their files.
func filed(t *testing.T, pairs ...string) *detector.Plan {
	t.Helper()
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

// known says which of the detectors know the agent after its last call.
func known(p *pair, keys ...string) []bool {
	var all []bool
	c := call(0, "a", 0)
	for _, key := range keys {
		all = append(all, p.calls.Known(key, detector.ByAgent, &c.Call))
	}
	return all
}

func teach(s *stage, from, slots int) {
	for slot := range slots {
		for i := range 2 + slot%2 {
			s.call("a", time.Duration(from+slot)*10*time.Second+time.Duration(i)*100*time.Millisecond)
		}
	}
}

func TestACanaryJudgesByItselfBesideTheLiveDetector(t *testing.T) {
	for name, features := range map[string]string{"the same features": counts, "other features": resources} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.plan = filed(t, "a.yaml", tried(counts, "count(calls, 10s) > 20"))
			s.calls.Reload(s.plan)
			teach(s, 0, 40)
			s.plan = filed(t, "a.yaml", tried(counts, "count(calls, 10s) > 20"), "canary/a.yaml", tried(features, "count(calls, 10s) > 10"))
			s.calls.Reload(s.plan)
			teach(s, 40, 5)
			if diff := cmp.Diff([]bool{true, false}, known(s.pair, "tried", "canary/tried")); diff != "" {
				t.Error("known once the canary is there:", diff)
			}
			teach(s, 45, 40)
			if diff := cmp.Diff([]bool{true, true}, known(s.pair, "tried", "canary/tried")); diff != "" {
				t.Error("known after as many calls again:", diff)
			}
			for i := range 30 {
				s.call("a", 900*time.Second+time.Duration(i)*time.Millisecond)
			}
			type fired struct {
				Key, Mode string
				Canary    bool
			}
			var got []fired
			ids := map[string]bool{}
			for _, d := range s.found {
				if d.Agent == "a" {
					got = append(got, fired{d.Key(), d.Mode, d.Canary})
					ids[d.ID] = true
				}
			}
			want := []fired{{"canary/tried", "observe", true}, {"tried", "enforce", false}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if len(ids) != len(got) {
				t.Errorf("ids %v", ids)
			}
			for _, sample := range s.samples {
				if sample.Detector != "tried" {
					t.Errorf("a sample of %s", sample.Detector)
				}
			}
		})
	}
}

// Promotion moves the file: what the live detector learned stays if the features are unchanged, and else what the canary
// learned.
func TestWhatWasLearnedStaysOverAPromotion(t *testing.T) {
	for name, features := range map[string]string{"the same features": counts, "other features": resources} {
		for _, restarts := range []bool{false, true} {
			s := newStage(t)
			s.plan = filed(t, "a.yaml", tried(counts, "count(calls, 10s) > 20"), "canary/a.yaml", tried(features, "count(calls, 10s) > 10"))
			s.calls.Reload(s.plan)
			teach(s, 0, 60)
			s.plan = filed(t, "a.yaml", tried(features, "count(calls, 10s) > 10"))
			if restarts {
				s.restart(t, shard.Options{Judged: func(j shard.Judgement) { s.last = j }})
			} else {
				s.calls.Reload(s.plan)
			}
			teach(s, 60, 1)
			if diff := cmp.Diff([]bool{true, false}, known(s.pair, "tried", "canary/tried")); diff != "" {
				t.Errorf("%s, restarted %v: known %s", name, restarts, diff)
			}
		}
	}
}
