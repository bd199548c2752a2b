package shard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// weak are three detectors that each fire at a call with their action, and not again for a second.
const weak = `
id: a-sign
title: A
tags: [weak.sign]
when: count(calls, 1s) >= 1
match: {action: a}
quiet: 1s
---
id: b-sign
title: B
tags: [weak.sign]
when: count(calls, 1s) >= 1
match: {action: b}
quiet: 1s
---
id: c-sign
title: C
when: count(calls, 1s) >= 1
match: {action: c}
quiet: 1s
---
id: strong
title: Together
mode: enforce
quiet: 1m
response: {action: revoke, scope: agent, for: 1h}
correlation: `

// signs are calls of an agent with one letter for each action, ten seconds apart; a dot is a pause.
func signs(agent, actions string) []sent {
	var calls []sent
	for i, action := range actions {
		if action == '.' {
			continue
		}
		c := call(0, agent, time.Duration(i)*10*time.Second)
		c.Action = []byte(string(action))
		calls = append(calls, c)
	}
	return calls
}

// together returns the correlation's detections.
func together(p *pair) (found []detector.Detection) {
	for _, d := range p.found {
		if d.Detector == "strong" {
			found = append(found, d)
		}
	}
	return found
}

func TestACorrelationFiresOnWhatItsConditionSays(t *testing.T) {
	for name, c := range map[string]struct {
		correlation, actions string
		want                 []int // seconds
	}{
		"count":                {`{of: [a-sign], within: 1m, condition: {count: ">= 3"}}`, "aaa", []int{20}},
		"count of several":     {`{of: [a-sign, b-sign], within: 1m, condition: {count: ">= 3"}}`, "acbca", []int{40}},
		"count of a tag":       {`{of: weak.sign, within: 1m, condition: {count: ">= 3"}}`, "acbca", []int{40}},
		"too far apart":        {`{of: [a-sign], within: 1m, condition: {count: ">= 3"}}`, "a...a...a", nil},
		"just within":          {`{of: [a-sign], within: 41s, condition: {count: ">= 3"}}`, "a.a.a", []int{40}},
		"just not within":      {`{of: [a-sign], within: 40s, condition: {count: ">= 3"}}`, "a.a.a", nil},
		"begins anew after it": {`{of: [a-sign], within: 1m, condition: {count: ">= 2"}}`, "aa.......aa", []int{10, 100}},
		"quiet":                {`{of: [a-sign], within: 1m, condition: {count: ">= 2"}}`, "aaaa", []int{10}},
		"all":                  {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: temporal}`, "cab", []int{20}},
		"all but one":          {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: temporal}`, "cacaca", nil},
		"ordered":              {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: ordered}`, "abac", []int{30}},
		"in another order":     {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: ordered}`, "cba", nil},
		"different ones":       {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: {distinct: {field: detector, count: ">= 3"}}}`, "aabbc", []int{40}},
		"not different enough": {`{of: [a-sign, b-sign, c-sign], within: 1m, condition: {distinct: {field: detector, count: ">= 3"}}}`, "aabbab", nil},
		"different actions":    {`{of: [a-sign, b-sign], within: 1m, condition: {distinct: {field: action, count: ">= 2"}}}`, "aab", []int{20}},
	} {
		p := newPair(plan(t, weak+c.correlation), small)
		calls := number(signs("x", c.actions))
		for i := range calls {
			p.take(&calls[i])
			p.restart(t, small)
		}
		var got []int
		for _, d := range together(p) {
			got = append(got, int(d.Time.Sub(t0)/time.Second))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestACorrelationSaysOfWhichDetectionsItIsMade(t *testing.T) {
	p := newPair(plan(t, weak+`{of: [a-sign, b-sign, c-sign], within: 1m, condition: temporal}`), small)
	calls := number(signs("x", "ab"), signs("y", "c..c"), signs("x", "....c"))
	for i := range calls {
		p.take(&calls[i])
	}
	found := together(p)
	if len(found) != 1 || found[0].Entity != "x" || found[0].CallID != "call-4" || found[0].FirstBad != "call-0" || found[0].Reason != "temporal within 1m" {
		t.Fatalf("found %+v", found)
	}
	var got []string
	for _, s := range found[0].Signs {
		got = append(got, s.Detector)
		if !strings.Contains(idsOf(p.found), s.ID) {
			t.Errorf("no detection has the id %s", s.ID)
		}
	}
	if diff := cmp.Diff([]string{"a-sign", "b-sign", "c-sign"}, got); diff != "" {
		t.Error(diff)
	}
}

func idsOf(found []detector.Detection) string {
	var ids []string
	for _, d := range found {
		ids = append(ids, d.ID)
	}
	return strings.Join(ids, " ")
}

// An agent that dates some of its calls back does not keep its detections apart.
func TestCallsThatAreDatedBackCountTogether(t *testing.T) {
	text := replace(weak, "count(calls, 1s) >= 1", "depth(chain) > 0") + `{of: [a-sign, b-sign], within: 1m, condition: temporal}`
	p := newPair(plan(t, text), small)
	calls := number(signs("x", "zab"))
	for i := range calls {
		calls[i].Chain = [][]byte{[]byte("x")}
	}
	calls[1].Time -= int64(24 * time.Hour)
	for i := range calls {
		p.take(&calls[i])
	}
	if n := len(together(p)); n != 1 {
		t.Errorf("%d detections, want 1", n)
	}
}
