package detector_test

import (
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
)

// whole uses every key of the language once, but within, which excludes slots.
const whole = `id: whole
title: The whole language
description: All keys.
severity: critical
tags: [attack.t1530, owasp.agentic.asi02]
mode: enforce
match:
  action|startswith: ["s3:Get", "files."]
  context.user_agent|contains: curl
group_by: identity
baseline:
  - feature: count(calls, 60s)
    weight: 2
    season: hour-of-week
    memory: 42d
  - feature: surprise(context.tool.name)
budget: 1 per 1000 identity-days
slot: 1m
warmup: {calls: 50, slots: 5}
relearn: context.version
when: rate(calls, 1s) > 500 or distinct(resource, 1h) > 300
quiet: 5m
response: {action: throttle, scope: chain, for: 90s}
exceptions:
  - match: {agent: backup-runner}
    until: 2027-01-31
    owner: sec-ops
    reason: nightly backup
tests:
  - name: one
    calls: [{agent: a, action: b}]
    expect: {detections: exactly 0}
`

func files(nameAndText ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for i := 0; i < len(nameAndText); i += 2 {
		fs[nameAndText[i]] = &fstest.MapFile{Data: []byte(nameAndText[i+1])}
	}
	return fs
}

// load loads one file that must be right.
func load(t testing.TB, text string) *detector.Set {
	t.Helper()
	set, errs := detector.Load(files("d.yaml", text))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEveryKeyReachesThePlan(t *testing.T) {
	set := load(t, whole)
	p := set.Plan
	tool := detector.FieldContext + 1
	want := &detector.Compiled{
		ID: "whole", Title: "The whole language", Description: "All keys.", Severity: "critical",
		Tags: []string{"attack.t1530", "owasp.agentic.asi02"}, Mode: detector.Enforce, GroupBy: detector.ByIdentity,
		Features: []detector.Feature{
			{Name: "count(calls, 1m)", Kind: detector.KindCount, Window: time.Minute},
			{Name: "surprise(context.tool.name)", Kind: detector.KindSurprise, Field: tool},
			{Name: "rate(calls, 1s)", Kind: detector.KindRate, Window: time.Second},
			{Name: "distinct(resource, 1h)", Kind: detector.KindDistinct, Field: detector.FieldResource, Window: time.Hour},
		},
		Evidence: []detector.Evidence{{Feature: 0, Weight: 2, Seasonal: true, Memory: 42 * 24 * time.Hour}, {Feature: 1, Weight: 1}},
		Slot:     time.Minute, Level: math.Log(1000 * 24 * 60), Blocks: 1000, Budget: "1 per 1000 identity-days",
		WarmupCalls: 50, WarmupSlots: 5, Relearn: detector.FieldContext + 2, HasRelearn: true,
		WhenText: "rate(calls, 1s) > 500 or distinct(resource, 1h) > 300",
		Exceptions: []detector.Exception{{
			Until: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC), Owner: "sec-ops", Reason: "nightly backup",
		}},
		Quiet: 5 * time.Minute,
	}
	ignore := cmp.Options{
		cmpopts.IgnoreFields(detector.Compiled{}, "Match", "When", "Version"),
		cmpopts.IgnoreFields(detector.Exception{}, "Match"), cmpopts.EquateApprox(1e-12, 0),
	}
	if diff := cmp.Diff(want, p.Detectors[0], ignore); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"user_agent", "tool.name", "version"}, p.ContextKeys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{2, 3}, p.Detectors[0].When.Features()); diff != "" {
		t.Error("features of when:", diff)
	}
	wantFields := []detector.Field{detector.FieldAgent, detector.FieldAction, detector.FieldContext}
	if diff := cmp.Diff(wantFields, p.Fields()); diff != "" {
		t.Error("fields to classify:", diff)
	}
	e, ok := p.Enforcer(0)
	if want := (detector.Response{Action: detector.Throttle, Scope: detector.ScopeChain, For: 90 * time.Second}); !ok || e.Response() != want {
		t.Errorf("response %v %v, want %v", e.Response(), ok, want)
	}
	if s := set.Sources[0]; s.File != "d.yaml" || s.Line != 1 || len(s.Tests) != 1 {
		t.Errorf("source %+v", s)
	}
}

func TestWhatIsNotSaidHasDefaults(t *testing.T) {
	d := load(t, "{id: x, title: x, baseline: {feature: new(resource)}, budget: 1 per agent-week}").Plan.Detectors[0]
	want := &detector.Compiled{
		ID: "x", Title: "x", Severity: "medium",
		Features: []detector.Feature{{Name: "new(resource)", Kind: detector.KindNew, Field: detector.FieldResource}},
		Evidence: []detector.Evidence{{Weight: 1}},
		Slot:     10 * time.Second, Level: math.Log(7 * 86400 / 10), Blocks: 10, Budget: "1 per agent-week",
		WarmupCalls: 200, WarmupSlots: 20, Quiet: 10 * time.Minute,
	}
	if diff := cmp.Diff(want, d, cmpopts.IgnoreFields(detector.Compiled{}, "Version"), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestQuietLastsAsLongAsTheResponse(t *testing.T) {
	const text = "{id: x, title: x, when: 'count(calls, 1m) > 1', response: {action: revoke, scope: agent, for: 2h}}"
	if got := load(t, text).Plan.Detectors[0].Quiet; got != 2*time.Hour {
		t.Errorf("quiet %v, want 2h", got)
	}
}

// simple is a detector of one line.
func simple(id string) string { return "{id: " + id + ", title: t, when: 'count(calls, 1m) > 1'}\n" }

func ids(set *detector.Set) []string {
	var got []string
	for _, d := range set.Plan.Detectors {
		got = append(got, d.ID)
	}
	return got
}

func TestAWrongFileTakesNoOtherDown(t *testing.T) {
	set, errs := detector.Load(files(
		"a.yaml", simple("a"),
		"b.yaml", simple("b1")+"---\n"+"{id: b2, titel: t}\n",
		"c.yaml", "id: [",
		"sub/d.yml", simple("d"),
		"notes.txt", "not a detector",
		".hidden.yaml", "not: read",
		".git/e.yaml", simple("e"),
		"empty.yaml", "# nothing\n",
	))
	if diff := cmp.Diff([]string{"a", "d"}, ids(set)); diff != "" {
		t.Error(diff)
	}
	broken := map[string]bool{}
	for _, e := range errs {
		broken[e.File] = true
	}
	if want := map[string]bool{"b.yaml": true, "c.yaml": true, "empty.yaml": true}; !cmp.Equal(broken, want) {
		t.Errorf("errors in %v, want %v:\n%v", broken, want, errs)
	}
}

func TestADuplicateIDNamesBothPlaces(t *testing.T) {
	set, errs := detector.Load(files("a.yaml", simple("x"), "b.yaml", "\n"+simple("y")+"---\n"+simple("x")))
	const want = `b.yaml:4:6: the id "x" is taken: a.yaml:1:6 has it`
	if errs.Error() != want {
		t.Errorf("got %q, want %q", errs.Error(), want)
	}
	if diff := cmp.Diff([]string{"x"}, ids(set)); diff != "" {
		t.Error(diff)
	}
}

func TestAVersionIsThatOfItsOwnDocument(t *testing.T) {
	version := func(text string, i int) string { return load(t, text).Plan.Detectors[i].Version }
	alone := version(simple("a"), 0)
	if len(alone) != 12 {
		t.Errorf("version %q has not 12 digits", alone)
	}
	if got := version(simple("a")+"---\n"+simple("b"), 0); got != alone {
		t.Error("a document behind it changed the version")
	}
	if got := version(simple("b")+"\n---\n# about a\n"+simple("a"), 1); got != alone {
		t.Error("a document before it changed the version")
	}
	if version(strings.Replace(simple("a"), "> 1", "> 2", 1), 0) == alone {
		t.Error("another condition has the same version")
	}
}

func TestLoadDirSaysWhichFolderCannotBeRead(t *testing.T) {
	set, errs := detector.LoadDir(t.TempDir() + "/absent")
	if len(set.Plan.Detectors) != 0 || len(errs) != 1 {
		t.Errorf("%d detectors, errors %v", len(set.Plan.Detectors), errs)
	}
}

func TestAnExceptionEndsWithItsLastDay(t *testing.T) {
	e := load(t, whole).Plan.Detectors[0].Exceptions[0]
	last := time.Date(2027, 1, 31, 23, 59, 59, 999999999, time.UTC).UnixNano()
	if !e.Holds(last) || e.Holds(last+1) {
		t.Errorf("holds at the end of the day: %v, after it: %v", e.Holds(last), e.Holds(last+1))
	}
	e.Until = time.Time{}
	if !e.Holds(math.MaxInt64) {
		t.Error("an exception without end ended")
	}
}
