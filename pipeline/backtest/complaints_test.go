package backtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
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
				if diff := gocmp.Diff(want, strings.Join(got, "; ")); diff != "" {
					t.Errorf("%s: -want +got\n%s", expect, diff)
				}
			}
		})
	}
}

func place(u Unmet) string { return fmt.Sprintf("%d:%d", u.Line, u.Column) }

// What a random detector of the properties below may be.
var (
	anyGroup = rapid.SampledFrom([]string{"agent", "identity", "session", "tenant", "resource", "[agent, resource]"})
	anyMatch = rapid.SampledFrom([]string{"", "match: {action: [read, write]}\n", "match: {outcome: denied}\n"})
	anyLimit = rapid.SampledFrom([]string{
		"count(calls, 10s) > 3", "rate(calls, 1s) > 2", "count(denied, 1m) > 2", "sum(bytes_out, 30s) > 900", "distinct(action, 1m) > 1 and count(calls, 1m) > 4",
	})
	anyBaseline = rapid.SampledFrom([]string{`[{feature: "count(calls, 10s)"}]`, `[{feature: new(action)}, {feature: "count(calls, 10s)"}]`})
)

// limited writes a detector with a hard limit, learning one with a baseline.
func limited(t *rapid.T, id, group string) string {
	return fmt.Sprintf("id: %s\ntitle: Any\ngroup_by: %s\nquiet: 3s\n%swhen: %s\n", id, group, anyMatch.Draw(t, "match"), anyLimit.Draw(t, "limit"))
}

func learning(t *rapid.T, id, group string) string {
	unit := strings.NewReplacer("[", "", "]", "", ", ", "-").Replace(group)
	return fmt.Sprintf("id: %s\ntitle: Any\ngroup_by: %s\nquiet: 3s\nbaseline: %s\nslot: 10s\nbudget: 1 per 10 %s-days\nwarmup: {calls: 20, slots: 10}\n",
		id, group, anyBaseline.Draw(t, "baseline"), unit)
}

// began is when the calls of these tests begin.
var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const excusing = "exceptions: {match: {agent: a1}, until: %q, owner: o, reason: r}\n"

// anyCalls are calls of four agents, two a tenant: a past of twenty minutes, and then bursts.
func anyCalls(t *rapid.T) []*telemetry.Call {
	var calls []*telemetry.Call
	add := func(a int, at time.Duration, action string, outcome telemetry.Outcome) {
		calls = append(calls, &telemetry.Call{
			Time: began.Add(at).UnixNano(), Tenant: fmt.Appendf(nil, "t%d", a%2), Agent: fmt.Appendf(nil, "a%d", a),
			Identity: fmt.Appendf(nil, "i%d", a/2), Session: fmt.Appendf(nil, "s%d", a), Action: []byte(action),
			Resource: fmt.Appendf(nil, "r%d", len(calls)%3), Outcome: outcome, BytesOut: int64(len(calls) % 400),
		})
	}
	for i := range 120 {
		for a := range 4 {
			for k := range 1 + (i+a)%2 {
				add(a, time.Duration(i)*10*time.Second+time.Duration(a+4*k)*time.Millisecond, "read", telemetry.OutcomeOK)
			}
		}
	}
	for range rapid.IntRange(1, 8).Draw(t, "bursts") {
		a, at := rapid.IntRange(0, 3).Draw(t, "agent"), time.Duration(rapid.IntRange(600, 1800).Draw(t, "second"))*time.Second
		action := rapid.SampledFrom([]string{"read", "write", "list"}).Draw(t, "action")
		outcome := telemetry.Outcome(rapid.IntRange(0, 2).Draw(t, "outcome"))
		for i := range rapid.IntRange(1, 60).Draw(t, "length") {
			add(a, at+time.Duration(i)*100*time.Millisecond, action, outcome)
		}
	}
	slices.SortStableFunc(calls, func(a, b *telemetry.Call) int { return cmp.Compare(a.Time, b.Time) })
	for i, c := range calls {
		c.ID = fmt.Appendf(nil, "call-%d", i)
	}
	return calls
}

// playedTo plays calls, and returns what each detector found. A version is that of a text, which an exception changes.
func playedTo(t testing.TB, calls []*telemetry.Call, texts ...string) map[string][]detector.Detection {
	t.Helper()
	r := NewRunner(complained(t, texts...).Plan, shard.Options{})
	found := map[string][]detector.Detection{}
	for _, c := range calls {
		for _, d := range r.Call(c) {
			d.Version = ""
			found[d.Detector] = append(found[d.Detector], d.Detection)
		}
	}
	return found
}

func of(all []detector.Detection, keep func(*detector.Detection) bool) []detector.Detection {
	return slices.DeleteFunc(slices.Clone(all), func(d detector.Detection) bool { return !keep(&d) })
}

// An exception that was appended silenced other rules: falco#1376 and #3604. Here it changes nothing but what its
// detector finds of the agent that it names, as long as it holds: from its end on, that agent is found as one whose
// excused calls never were.
func TestComplaint09AnExceptionChangesNothingElse(t *testing.T) {
	dropped, others := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		base := limited(rt, "excepting", "agent")
		beside := []string{limited(rt, "beside-1", anyGroup.Draw(rt, "group")), learning(rt, "beside-2", anyGroup.Draw(rt, "group")), limited(rt, "beside-3", "agent")}
		calls := anyCalls(rt)
		until := began.Add(time.Duration(rapid.IntRange(600, 1900).Draw(rt, "until")) * time.Second)
		before := playedTo(t, calls, slices.Insert(slices.Clone(beside), 1, base)...)
		after := playedTo(t, calls, slices.Insert(slices.Clone(beside), 1, base+fmt.Sprintf(excusing, until.Format(time.RFC3339)))...)
		for _, id := range []string{"beside-1", "beside-2", "beside-3"} {
			if diff := gocmp.Diff(before[id], after[id]); diff != "" {
				rt.Fatalf("%s: -without +with the exception\n%s", id, diff)
			}
		}
		var elsewhere []*telemetry.Call // the same log, but that others made the excused calls
		for _, c := range calls {
			if string(c.Agent) == "a1" && c.Time < until.UnixNano() {
				c = c.Clone()
				c.Agent = []byte("nobody")
			}
			elsewhere = append(elsewhere, c)
		}
		want := of(playedTo(t, elsewhere, base)["excepting"], func(d *detector.Detection) bool { return d.Agent != "nobody" })
		if diff := gocmp.Diff(want, after["excepting"], cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("excepting: -want +got\n%s", diff)
		}
		isOther := func(d *detector.Detection) bool { return d.Agent != "a1" }
		if diff := gocmp.Diff(of(before["excepting"], isOther), of(after["excepting"], isOther), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("other agents: -without +with the exception\n%s", diff)
		}
		dropped += len(before["excepting"]) - len(after["excepting"])
		others += len(before["beside-1"]) + len(before["beside-2"]) + len(of(after["excepting"], isOther))
	})
	if dropped == 0 || others == 0 {
		t.Errorf("%d detections were dropped, %d are of others: the property says nothing", dropped, others)
	}
}

// What an agent does is also what its peers are held against. An exception takes it out of that, within its tenant
// and nowhere else.
func TestComplaint09AnExceptionToABaselineChangesNothingInOtherTenants(t *testing.T) {
	dropped, others := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		base := learning(rt, "excepting", "agent")
		calls := anyCalls(rt)
		before := playedTo(t, calls, base)["excepting"]
		after := playedTo(t, calls, base+fmt.Sprintf(excusing, "2026-12-31"))["excepting"]
		isOther := func(d *detector.Detection) bool { return d.Tenant != "t1" }
		if diff := gocmp.Diff(of(before, isOther), of(after, isOther), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("-without +with the exception\n%s", diff)
		}
		isExcused := func(d *detector.Detection) bool { return d.Agent == "a1" }
		if left := of(after, isExcused); len(left) > 0 {
			rt.Fatalf("found of the excused agent: %v", left)
		}
		dropped, others = dropped+len(of(before, isExcused)), others+len(of(after, isOther))
	})
	if dropped == 0 || others == 0 {
		t.Errorf("%d detections were dropped, %d are of others: the property says nothing", dropped, others)
	}
}

// An exception that had expired brought old alerts back: kibana#253962. The wall clock says nothing here, neither when
// detectors are run again nor when the calls came to the log again.
func TestComplaint09AnExceptionIsJudgedAtTheTimeOfTheCall(t *testing.T) {
	const text = `id: reads
title: Many reads
mode: enforce
when: count(calls, 1m) > 5
response: {action: revoke, scope: agent, for: 15m}
quiet: 10s
exceptions: {match: {agent: a1}, until: 2026-03-01, owner: o, reason: r}
`
	var calls []*telemetry.Call
	for day := range 2 { // the last one on which it holds, and the next
		for i := range 10 {
			calls = append(calls, &telemetry.Call{
				ID: fmt.Appendf(nil, "call-%d", len(calls)), Tenant: []byte("t"), Agent: []byte("a1"), Action: []byte("read"),
				Time: began.Add(time.Duration(day)*24*time.Hour + time.Duration(i)*time.Second).UnixNano(),
			})
		}
	}
	report := func(t *testing.T) *Report {
		r, err := Run(t.Context(), memory(calls), complained(t, text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	synctest.Test(t, func(t *testing.T) { // its clock begins in the year 2000
		before := report(t)
		time.Sleep(100 * 366 * 24 * time.Hour)
		if now := time.Now(); now.Year() < 2100 {
			t.Fatalf("the clock says %v", now)
		}
		if diff := gocmp.Diff(before, report(t)); diff != "" {
			t.Errorf("a hundred years later: %s", diff)
		}
		if d := before.Detectors[0]; d.Detections != 1 || d.Examples[0].CallID != "call-15" {
			t.Errorf("%d detections, the first at %+v; want one, at the sixth call of the day after", d.Detections, d.Examples)
		}
	})
	s := shard.New(complained(t, text).Plan, shard.Options{})
	var found []string
	for i, c := range calls {
		s.Call(c, shard.Source{Topic: "estop.calls", Offset: int64(i), Appended: began.AddDate(3, 0, 0).UnixNano() + int64(i)})
	}
	for _, d := range s.Detections {
		found = append(found, d.CallID)
	}
	if diff := gocmp.Diff([]string{"call-15"}, found); diff != "" {
		t.Errorf("appended again three years later: %s", diff)
	}
	if s.Excepted[0] != 10 || len(s.Excuses) != 1 || s.Excuses[0].Exception.Owner != "o" || s.Excuses[0].CallID != "call-0" {
		t.Errorf("%d calls excused, told %+v", s.Excepted[0], s.Excuses)
	}
}

// memory is a log.
type memory []*telemetry.Call

func (m memory) Partitions() int { return 1 }

func (m memory) Read(_ context.Context, each func(Entry) error) error {
	for _, c := range m {
		if err := each(Entry{Numbered: true, Call: c}); err != nil {
			return err
		}
	}
	return nil
}

// Nobody could see what an exception would drop: kibana#141930. Both are shown: what one dropped, with whoever answers
// for it, and what a new one would.
func TestComplaint09WhatAnExceptionDropsIsShown(t *testing.T) {
	const base = `id: reads
title: Many reads
mode: enforce
when: count(calls, 1m) > 5
response: {action: revoke, scope: agent, for: 15m}
`
	var calls []*telemetry.Call
	for i := range 24 {
		calls = append(calls, &telemetry.Call{
			ID: fmt.Appendf(nil, "call-%d", i), Tenant: []byte("t"), Agent: fmt.Appendf(nil, "a%d", i%3), Action: []byte("read"),
			Time: began.Add(time.Duration(i) * time.Second).UnixNano(),
		})
	}
	without, with := complained(t, base), complained(t, base+fmt.Sprintf(excusing, "2026-12-31"))
	r, err := Run(t.Context(), memory(calls), with, Options{Exceptions: true, Against: without, AgainstName: "without"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Exceptions) != 1 {
		t.Fatalf("exceptions %+v", r.Exceptions)
	}
	x := r.Exceptions[0]
	if x.Owner != "o" || x.Reason != "r" || x.Excused != 8 || x.Dropped != 1 || x.Kills != 1 || x.New != 0 || len(x.Examples) != 1 || x.Examples[0].CallID != "call-16" {
		t.Errorf("%+v", x)
	}
	if diff := gocmp.Diff([]DropCount{{Tenant: "t", Entity: "a1", Drops: 1}}, x.Drops); diff != "" {
		t.Error(diff)
	}
	if c := r.Comparison.Detectors[0]; c.Before != 3 || c.Now != 2 || c.Both != 2 || c.OnlyBefore != 1 || c.Differences[0].Entity != "a1" {
		t.Errorf("beside the detector without it: %+v", c)
	}
}

// Without a baseline nothing is said, and least of all that all is well: beenuar/AiSOC#606. A report counts whom it does
// not know beside whom it does, gives no rate where nobody is known, and calls no hit false, for nobody labelled the calls.
func TestComplaint10WhoIsNotKnownIsNeverCalledNormal(t *testing.T) {
	const text = `id: pace
title: More calls than usual
mode: enforce
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10, time: 1d}
response: {action: revoke, scope: agent, for: 15m}
`
	var calls []*telemetry.Call
	for i := range 40 {
		calls = append(calls, &telemetry.Call{
			ID: fmt.Appendf(nil, "call-%d", i), Tenant: []byte("t"), Agent: []byte("rookie"), Action: []byte("read"),
			Time: began.Add(time.Duration(i) * 30 * time.Second).UnixNano(),
		})
	}
	set := complained(t, text)
	r, err := Run(t.Context(), memory(calls), set, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := r.Detectors[0]
	if d.Entities != 1 || d.Known != 0 || d.Exposure != (Exposure{All: 1}) || d.Within != nil || d.Value != 0 || d.Upper != 0 {
		t.Errorf("%+v", d)
	}
	written, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(written), "false_") || strings.Contains(string(written), "normal") {
		t.Errorf("the report calls something false or normal: %s", written)
	}
	e, err := Explain(t.Context(), memory(calls), set, Asked{Agent: "rookie"})
	if err != nil {
		t.Fatal(err)
	}
	x := e.Detectors[0]
	if want := "this agent is not known yet: 40 of 50 calls, 39 of 10 slots, 0.0d of 1.0d; nothing is said of it, never that it is normal"; x.Verdict != "not_known" || x.Why != want {
		t.Errorf("%s: %s\nwant %s", x.Verdict, x.Why, want)
	}
	if f := x.Account.Features[0]; f.Known || f.LogP != 0 || f.Expected != 0 || strings.Contains(SampleText(&f.Sample), "p ") {
		t.Errorf("a feature of whom it does not know: %s", SampleText(&f.Sample))
	}
}
