package backtest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// complained loads detectors, one a text.
func complained(t testing.TB, texts ...string) *detector.Set {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range texts {
		files[string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

const knocking = `id: knocking
title: Three refusals within a minute
match: {outcome: denied}
when: count(calls, 1m) > 2
quiet: 2m
response: [{action: throttle, scope: agent, for: 2m}, {action: revoke, scope: agent, for: 1h}]
escalate: {within: 1h}
tests:
  - name: t
`

// Tests of stateful detectors are missing everywhere: refractionPOINT/documentation#326. Ordered calls with
// offsets and counts are the model: timescale/rsigma#216 and #343, SigmaHQ/sigma#5719. Each row here is a test
// that an analyst writes, in pairs: what holds, and the same thing expected wrongly.
func TestComplaint11TestsOfStatefulDetectors(t *testing.T) {
	const (
		one    = "    calls: [{at: 0s, agent: a, action: x, outcome: denied}, {at: +5s, agent: a, action: x, outcome: denied}, {at: +5s, agent: a, action: x, outcome: denied}]\n"
		apart  = "    calls: [{at: 0s, agent: a, action: x, outcome: denied}, {at: +5s, agent: a, action: x, outcome: denied}, {at: +1m, agent: a, action: x, outcome: denied}]\n"
		both   = "    calls: [{repeat: 3, every: 5s, agent: a, action: x, outcome: denied}, {at: +1h, repeat: 3, every: 5s, agent: b, action: x, outcome: denied}]\n"
		thrice = "    calls: {repeat: 3, every: 10m, burst: 3, agent: a, action: x, outcome: denied}\n"
	)
	for _, c := range []struct{ name, calls, holds, fails, want string }{
		{"a count", one, "{detections: exactly 1}", "{detections: exactly 2}", `11:14: detections: want exactly 2, got 1: 10s of "a" by count(calls, 1m) > 2`},
		{"a lower bound", one, "{detections: at_least 1}", "{detections: at_least 2}", `11:14: detections: want at_least 2, got 1: 10s of "a" by count(calls, 1m) > 2`},
		{"an upper bound", one, "{detections: at_most 1}", "{detections: at_most 0}", `11:14: detections: want at_most 0, got 1: 10s of "a" by count(calls, 1m) > 2`},
		{"a window that has passed", apart, "{detections: none}", "{detections: 1}", `11:14: detections: want exactly 1, got none`},
		{"when it comes", one, "{detections: 1, first_at: 10s}", "{detections: 1, first_at: 5s..9s}", `11:29: first_at: want 5s..9s, got 10s`},
		{"the first bad call", one, "{detections: 1, first_bad: 10s}", "{detections: 1, first_bad: 0s}", `11:29: first_bad: want 0s, got 10s`},
		{"whose", one, "{detections: 1, entity: a, agent: a}", "{detections: 1, entity: b, agent: c}", `11:29: entity: want b, got a; 11:40: agent: want c, got a`},
		{"each entity", both, "{detections: 2, entities: {a: exactly 1, b: at_least 1, c: none}}", "{detections: 2, entities: {a: none, b: at_least 2}}",
			`11:29: entities: want none for "a", got 1: 10s of "a" by count(calls, 1m) > 2; 11:29: entities: want at_least 2 for "b", got 1: 1h0m20s of "b" by count(calls, 1m) > 2`},
		{"the answer", one, "{detections: 1, response: throttle}", "{detections: 1, response: revoke}", `11:29: response: want revoke, got throttle`},
		{"the steps", thrice, "{detections: exactly 3, steps: [1, 2, 2]}", "{detections: exactly 3, steps: [1, 1, 2]}", `11:37: steps: want step 1 for detection 2, got 2`},
		{"the mode", one, "{detections: 1, mode: observe}", "{detections: 1, mode: enforce}", `11:29: mode: want enforce, got observe`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for expect, want := range map[string]string{c.holds: "", c.fails: c.want} {
				set := complained(t, knocking+c.calls+"    expect: "+expect+"\n")
				var got []string
				for _, u := range Test(set, 0, set.Sources[0].Tests[0]).Unmet {
					got = append(got, place(u)+": "+u.String())
				}
				if diff := cmp.Diff(want, strings.Join(got, "; ")); diff != "" {
					t.Errorf("%s: -want +got\n%s", expect, diff)
				}
			}
		})
	}
}

func place(u Unmet) string { return fmt.Sprintf("%d:%d", u.Line, u.Column) }
