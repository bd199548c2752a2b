package detector_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

var lintDay = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// lintText lints a detector that is otherwise in order, and returns place, rule and message of each warning.
func lintText(t *testing.T, text string) []string {
	t.Helper()
	report, errs := detector.Lint(files("f.yaml", text), detector.DefaultLintOptions(lintDay))
	if len(errs) > 0 {
		t.Fatalf("%v\nin\n%s", errs, text)
	}
	var got []string
	for _, w := range report.Warnings {
		if w.File != "f.yaml" || w.Hint == "" || w.Line == 0 || w.Column == 0 {
			t.Errorf("%+v lacks something", w)
		}
		got = append(got, fmt.Sprintf("%d:%d %s: %s", w.Line, w.Column, w.Rule, w.Msg))
	}
	return got
}

const bothOutcomes = `tests:
  - name: fires
    calls: {agent: a, action: x}
    expect: {detections: at_least 1}
  - name: silent
    calls: {agent: a, action: x}
    expect: {detections: exactly 0}
`

const inOrder = "id: a\ntitle: A\nwhen: count(calls, 1m) > 9\n"

func TestTheCatalogueLintsClean(t *testing.T) {
	report, errs := detector.Lint(catalog.FS, detector.DefaultLintOptions(time.Now()))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, w := range report.Warnings {
		t.Error(w)
	}
	if len(report.Costs) < 10 || report.Total.BytesAgent < 1000 {
		t.Errorf("costs %+v, %+v", report.Costs, report.Total)
	}
}

// Each is in the detector's line 4, unless it says otherwise.
func TestLintOfMatches(t *testing.T) {
	for match, want := range map[string][]string{
		"{agent: a, action: b}":                                         nil,
		"{agent: [a, b, \"c*\"], not: {agent: c1}}":                     nil,
		"{agent|startswith: a, agent|endswith: b}":                      nil,
		"{context.n|gt: 5, context.n|lt: 9}":                            nil,
		"{agent|re: a, agent|re|not: b}":                                nil,
		"{any: [{agent: a, action: b}, {agent: a, action: c}]}":         nil,
		"{action|contains|all: [a, b], action|contains: c}":             nil,
		"{resource|exists: true, any: [{outcome: denied}, {agent: x}]}": nil,

		"{agent: [a, b, A]}":                           {`4:23 duplicate-value: "A" stands in the list already, on line 4`},
		"{agent: [a1, \"a*\"]}":                        {`4:17 duplicate-value: "a1" adds nothing beside "a*"`},
		"{agent|contains: [b, abc]}":                   {`4:29 duplicate-value: "abc" adds nothing beside "b"`},
		"{agent|contains|all: [b, abc]}":               {`4:30 duplicate-value: "b" adds nothing beside "abc"`},
		"{agent|cased: [a, A]}":                        nil,
		"{context.ip|cidr: [10.0.0.0/8, 10.1.0.0/16]}": {`4:39 duplicate-value: "10.1.0.0/16" adds nothing beside "10.0.0.0/8"`},
		"{context.n|gt: [5, 7]}":                       {`4:27 duplicate-value: "7" adds nothing beside "5"`},
		"{outcome: [ok, denied, error]}":               {"4:9 dead-condition: every call has one of these outcomes"},

		"{agent: a, agent|startswith: b}":                                {"4:19 dead-condition: no call meets both agent: a and agent|startswith: b"},
		"{agent: abc, agent|startswith: a}":                              {"4:21 dead-condition: agent|startswith: a adds nothing: it holds wherever agent: abc does"},
		"{agent|startswith: ab, all: [{agent|startswith: cd}]}":          {"4:38 dead-condition: no call meets both agent|startswith: ab and agent|startswith: cd"},
		"{agent: \"a*c\", agent|startswith: a}":                          {"4:23 dead-condition: agent|startswith: a adds nothing: it holds wherever agent: a*c does"},
		"{context.n|gt: 5, context.n|lt: 4}":                             {"4:26 dead-condition: no call meets both context.n|gt: 5 and context.n|lt: 4"},
		"{context.n|gt: 5, context.n|gte: 3}":                            {"4:26 dead-condition: context.n|gte: 3 adds nothing: it holds wherever context.n|gt: 5 does"},
		"{context.ip|cidr: 10.0.0.0/8, context.ip|cidr|not: 10.0.0.0/8}": {"4:38 dead-condition: no call meets both context.ip|cidr: 10.0.0.0/8 and context.ip|cidr|not: 10.0.0.0/8"},
		"{agent: [a1, a2], not: {agent: \"a*\"}}":                        {"4:32 dead-condition: no call meets both agent: [a1, … 2 values] and not agent: a*"},
		"{agent: a, not: {agent: b}}":                                    {"4:25 dead-condition: not agent: b adds nothing: it holds wherever agent: a does"},
		"{resource: x, resource|exists: true}":                           {"4:22 dead-condition: resource|exists: true adds nothing: it holds wherever resource: x does"},
		"{resource: x, resource|exists: false}":                          {"4:22 dead-condition: no call meets both resource: x and resource|exists: false"},
		"{agent|cased: Ab, agent|startswith: a}":                         {"4:26 dead-condition: agent|startswith: a adds nothing: it holds wherever agent|cased: Ab does"},
		"{agent: ab, agent|cased: AB}":                                   {"4:9 dead-condition: agent: ab adds nothing: it holds wherever agent|cased: AB does"},
		"{action: x, any: [{action: y}, {agent: b}]}":                    {"4:27 dead-condition: no call meets both action: x and action: y"},
		"{all: [{action: x}, {action: y}]}":                              {"4:29 dead-condition: no call meets both action: x and action: y"},
		"{any: [{agent: a, action: b}, {agent: a}]}":                     {"4:15 dead-condition: this alternative adds nothing: the one on line 4 lets the same calls through"},
		"[{agent: a}, {agent: b}, {agent: a}]":                           {"4:33 dead-condition: this alternative adds nothing: the one on line 4 lets the same calls through"},
	} {
		if diff := cmp.Diff(want, lintText(t, inOrder+"match: "+match+"\n"+bothOutcomes)); diff != "" {
			t.Errorf("%s: %s", match, diff)
		}
	}
}

func TestLintOfHardLimits(t *testing.T) {
	for when, want := range map[string]string{
		"count(calls, 1m) > 5 and count(errors, 1m) > 3": "",
		"count(calls, 1m) > 5 and count(calls, 1m) < 9":  "",
		"rate(calls, 1s) > 5 or rate(calls, 1m) > 3":     "",
		"count(errors, 1m) / count(calls, 1m) > 0.9":     "",
		"not (new(resource) > 0) and depth(chain) > 3":   "",
		"count(calls, 1m) * 2 - 5 > count(denied, 1m)":   "",
		"sum(bytes_out, 1h) / count(calls, 1h) > 5MiB":   "",
		"share(denied, 5m) > 0.5":                        "",

		"new(resource) > 1":                             "new(resource) > 1 is never true: new(resource) is from 0 to 1",
		"count(errors, 1m) / count(calls, 1m) > 90":     "count(errors, 1m) / count(calls, 1m) > 90 is never true: count(errors, 1m) / count(calls, 1m) is from 0 to 1",
		"share(denied, 5m) > 50":                        "count(denied, 5m) / count(calls, 5m) > 50 is never true: count(denied, 5m) / count(calls, 5m) is from 0 to 1",
		"count(calls, 1m) > 0":                          "count(calls, 1m) > 0 is always true: count(calls, 1m) is 1 or more",
		"distinct(agent, 1m) < 0 and depth(chain) > 2":  "distinct(agent, 1m) < 0 is never true: distinct(agent, 1m) is 0 or more",
		"count(calls, 1m) > 9 and count(calls, 1m) < 5": "count(calls, 1m) > 9 and count(calls, 1m) < 5 are never true together",
		"count(calls, 1m) > 9 and 5 < count(calls, 1m)": "5 < count(calls, 1m) adds nothing: it holds wherever count(calls, 1m) > 9 does",
		"count(calls, 1m) > 9 or count(calls, 1m) > 5":  "count(calls, 1m) > 9 adds nothing: it holds only where count(calls, 1m) > 5 does",
		"count(calls, 1m) < 9 or count(calls, 1m) > 5":  "of count(calls, 1m) < 9 and count(calls, 1m) > 5 one is always true",
		"-count(calls, 1m) * 2 + 1 > 0":                 "-count(calls, 1m) * 2 + 1 > 0 is never true: -count(calls, 1m) * 2 + 1 is -1 or less",
		"not (depth(chain) >= 1)":                       "depth(chain) >= 1 is always true: depth(chain) is 1 or more",
	} {
		var wants []string
		if want != "" {
			wants = []string{"3:7 dead-limit: " + want}
		}
		got := lintText(t, "id: a\ntitle: A\nwhen: "+when+"\ngroup_by: tenant\n"+bothOutcomes)
		if diff := cmp.Diff(wants, got); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
}

func TestLintOfTheRest(t *testing.T) {
	learned := "id: a\ntitle: A\nbaseline: {feature: new(call)}\n"
	enforced := learned + "mode: enforce\nresponse: {action: revoke, scope: agent, for: 1m}\nwarmup: {time: 21d}\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"no test": {inOrder, []string{"1:1 no-test: the detector has no test, so nobody knows that it fires"}},
		"tests of one outcome": {
			inOrder + "tests: {name: x, calls: {agent: a, action: x}, expect: {detections: exactly 0}}\n",
			[]string{"4:1 one-outcome: no test wants a detection: a detector that never fires would pass"},
		},
		"tests of the other": {
			inOrder + "tests: {name: x, calls: {agent: a, action: x}, expect: {detections: at_least 2}}\n",
			[]string{"4:1 one-outcome: no test wants silence: a detector that always fires would pass"},
		},
		"exceptions": {
			inOrder + "match: {agent: [a, b]}\nexceptions:\n  - {match: {agent: a}, reason: r}\n  - {match: {agent: b}, reason: r, owner: o, until: 2026-11-23}\n  - {match: {agent: c}, reason: r, owner: o, until: 2027-01-01}\n" + bothOutcomes,
			[]string{
				"6:5 exception-without-end: the exception never ends (r)",
				"6:5 exception-without-owner: nobody answers for the exception (r)",
				"7:53 dead-exception: the exception has ended: its last day was 2026-11-23",
				"8:14 dead-exception: no call that the match takes has agent: c",
			},
		},
		"an exception on its last day": {inOrder + "exceptions: {match: {agent: a}, reason: r, owner: o, until: 2026-11-24}\n" + bothOutcomes, nil},
		"an exception for all": {
			inOrder + "match: {agent: [a1, a2], outcome: ok}\nexceptions: {match: {agent: \"a*\"}, reason: r, owner: o, until: 2027-01-01}\n" + bothOutcomes,
			[]string{"5:21 shut-out: the exception excuses every call that the match takes, so the detector never fires"},
		},
		"exceptions for all together": {
			inOrder + "match: {agent: [a, b]}\nexceptions:\n  - {match: {agent: a}, reason: r, owner: o, until: 2027-01-01}\n  - {match: {agent: b, outcome: ok}, reason: r, owner: o, until: 2027-01-01}\n  - {match: {agent: \"b*\"}, reason: r, owner: o, until: 2027-01-01}\n" + bothOutcomes,
			[]string{"8:13 shut-out: together the exceptions excuse every call that has agent: [a, … 2 values], so the detector never fires"},
		},
		"references": {
			inOrder + "references: [https://example.com/a, A paper, \"A book: part 1\", https//x, \"https:example.com\", www.example.com, \"http://a b\", A paper]\n" + bothOutcomes,
			[]string{
				`4:74 broken-reference: "https:example.com" is no address of a page`,
				`4:95 broken-reference: "www.example.com" is no address of a page`,
				`4:112 broken-reference: "http://a b" is no address of a page`,
				`4:126 duplicate-value: "A paper" stands in the list already, on line 4`,
			},
		},
		"one reference": {inOrder + "references: https://example.com/a\n" + bothOutcomes, nil},
		"named conditions": {
			inOrder + "match: one\nconditions:\n  one: {agent: [a, a]}\n" + bothOutcomes,
			[]string{`6:20 duplicate-value: "a" stands in the list already, on line 6`},
		},
		"what tenants have instead": {
			learned + "budget: 1 per 10 agent-days\nresponse: {action: revoke, scope: tenant, for: 1m}\ntenants:\n  b*: {mode: enforce}\n  a: {mode: enforce, budget: 1 per 100 agent-days, response: {action: revoke, scope: agent, for: 1h}}\n  c: {when: new(call) > 1, exceptions: [{match: {agent: x}, reason: r, owner: o}]}\n" + bothOutcomes,
			[]string{
				"5:35 tenant-scope: one call of one agent stops the whole tenant",
				"7:3 loose-budget: the budget allows 100 false kills a day among 1000 agents",
				"7:3 no-warmup-time: an entity is stopped by what it did in its first hours: what comes once a day or once a week, the detector has not seen yet",
				"8:3 no-warmup-time: an entity is stopped by what it did in its first hours: what comes once a day or once a week, the detector has not seen yet",
				"8:22 loose-budget: the budget allows 10 false kills a day among 1000 agents",
				"9:13 dead-limit: new(call) > 1 is never true: new(call) is from 0 to 1",
				"9:41 exception-without-end: the exception never ends (r)",
			},
		},
		"groupings": {
			inOrder + "group_by: session\n" + bothOutcomes,
			[]string{"4:1 unbounded-grouping: without a match there is a state for each session that any call names, and nothing bounds how many there are"},
		},
		"an enforcing detector in order": {enforced + "budget: 1 per 1000 agent-days\n" + bothOutcomes, nil},
		"a loose budget": {
			enforced + "budget: 1 per 100 agent-days\n" + bothOutcomes,
			[]string{"7:1 loose-budget: the budget allows 10 false kills a day among 1000 agents"},
		},
		"a loose budget in observe": {learned + "budget: 1 per 100 agent-days\n" + bothOutcomes, nil},
		"a loose budget in calls": {
			enforced + "budget: 1 per 100000 calls\n" + bothOutcomes,
			[]string{"7:1 loose-budget: the budget allows 10 false kills a day among 1000 agents"},
		},
		"a loose budget in sessions": {
			enforced + "within: session\nbudget: 1 per 1000 sessions\n" + bothOutcomes,
			[]string{"8:1 loose-budget: the budget allows 10 false kills a day among 1000 agents"},
		},
		"no time of warm-up, and a tenant": {
			learned + "mode: enforce\nresponse: {action: revoke, scope: tenant, for: 1m}\nbudget: 1 per 1000 agent-days\n" + bothOutcomes,
			[]string{
				"1:1 no-warmup-time: an entity is stopped by what it did in its first hours: what comes once a day or once a week, the detector has not seen yet",
				"5:35 tenant-scope: one call of one agent stops the whole tenant",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lintText(t, c.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLintKnowsForHowLongCallsAreKept(t *testing.T) {
	o := detector.DefaultLintOptions(lintDay)
	migration, err := os.ReadFile("../pipeline/archive/migrations/0001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	calls, _, _ := strings.Cut(string(migration), "CREATE TABLE IF NOT EXISTS features")
	if want := fmt.Sprintf("INTERVAL %.0f DAY", o.Kept.Hours()/24); !strings.Contains(calls, want) {
		t.Errorf("the archive does not keep calls for %s", want)
	}
	o.Kept = 24 * time.Hour
	text := "id: a\ntitle: A\nbaseline: {feature: new(call)}\nbudget: 1 per 1000 agent-days\nwarmup: {time: 2d}\nwhen: distinct(action, 25h) > 5\n" + bothOutcomes
	report, errs := detector.Lint(files("f.yaml", text), o)
	if len(errs) > 0 || len(report.Warnings) != 2 {
		t.Fatalf("%v %v", report, errs)
	}
	for i, line := range []int{5, 6} {
		if w := report.Warnings[i]; w.Rule != "short-retention" || w.Line != line {
			t.Error(w)
		}
	}
}

func TestACommentSilencesARuleInItsDetector(t *testing.T) {
	two := "# estop-lint: ignore no-test — it is a sketch\n" + inOrder + "---\n" + strings.Replace(inOrder, "id: a", "id: b", 1)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"one of two": {two, []string{"6:1 no-test"}},
		"anywhere in it, and several": {
			inOrder + "group_by: session # estop-lint: ignore no-test, unbounded-grouping - few sessions\n", nil,
		},
		"without a reason": {inOrder + "# estop-lint: ignore no-test\n", []string{"1:1 no-test", "4:1 lint-comment"}},
		"an unknown rule":  {inOrder + "# estop-lint: ignore no-tests — why\n", []string{"1:1 no-test", "4:1 lint-comment"}},
		"nothing to silence": {
			inOrder + "# estop-lint: ignore no-test — why\n" + bothOutcomes, []string{"4:1 lint-comment"},
		},
		"in a text it is none": {inOrder + "description: \"# estop-lint: ignore no-test — why\"\n", []string{"1:1 no-test"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range lintText(t, c.text) {
				got = append(got, w[:strings.LastIndex(w[:strings.Index(w, ": ")+1], ":")])
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLintSaysNothingElseWhereADetectorIsWrong(t *testing.T) {
	if report, errs := detector.Lint(files("f.yaml", "id: a\n"), detector.DefaultLintOptions(lintDay)); report != nil || len(errs) == 0 {
		t.Errorf("%v, %v", report, errs)
	}
}

func TestTheReferenceNamesEveryRuleOfLint(t *testing.T) {
	page, err := os.ReadFile("../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range detector.LintRules() {
		names = append(names, r.Name)
		if !strings.Contains(string(page), "| `"+r.Name+"` |") {
			t.Errorf("the reference does not name %s", r.Name)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not in order: %v", names)
	}
}

// Whatever a right detector says, lint has an answer with a place and a remedy, and soon.
func FuzzLint(f *testing.F) {
	for _, seed := range []string{
		inOrder + "match: {agent: [a, \"b*\", \"?\"], agent|endswith|not: c, any: [{context.n|gt: 5}, {context.ip|cidr: 10.0.0.0/8}]}\n" + bothOutcomes,
		inOrder + "match: {all: [{action|contains|all: [a, b]}, {action|re: a}], not: {outcome: [ok, denied]}}\nexceptions: {match: {agent: x}, reason: r}\n",
		"id: a\ntitle: A\ngroup_by: tenant\nwhen: not (count(errors, 5m) / count(calls, 5m) > 2 or -max(latency, 1m) * 1KiB <= 3) and burst(action) > 1\n# estop-lint: ignore no-test — why\n",
		"id: a\ntitle: A\nmode: enforce\nbaseline: [{feature: new(call)}, {feature: \"sum(bytes_in, 1m)\"}]\nbudget: 1 per 100000 calls\nresponse: {action: revoke, scope: tenant, for: 1h}\ntenants: {b: {exceptions: [{match: {agent: x}, reason: r, until: 2026-01-01}]}}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		report, errs := detector.Lint(files("f.yaml", text), detector.DefaultLintOptions(lintDay))
		if len(errs) > 0 {
			return
		}
		for _, w := range report.Warnings {
			if w.Line < 1 || w.Column < 1 || w.Hint == "" || w.Msg == "" || w.Detector == "" {
				t.Errorf("%+v lacks something", w)
			}
		}
		for _, c := range append(report.Costs, report.Total) {
			if !(c.NsCall > 0 && c.BytesAgent > 0 && c.Kills >= 0) {
				t.Errorf("cost %+v", c)
			}
		}
	})
}
