package detector_test

import (
	"io/fs"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

// Whatever a file holds: it gives detectors or errors, never both and never neither; errors
// have a place; what loads can be used; and loading it again gives the same.
func FuzzLoad(f *testing.F) {
	err := fs.WalkDir(catalog.FS, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var data []byte
			data, err = fs.ReadFile(catalog.FS, name)
			f.Add(string(data))
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		simple("a") + "---\nid: b\ntitle: b\nmode: enforce\ncorrelation: {of: a, within: 1h, condition: {distinct: {field: agent, count: \">= 3\"}}}\n" +
			"response: [{action: throttle, scope: agent, for: 5m}, {action: revoke, scope: agent, for: 1h}]\nescalate: {within: 1h}\n",
		head + "correlation: {of: [x, attack.t1], within: 1s, condition: ordered}\nresponse: [[]]\nescalate: []",
		whole, simple("a") + "---\n" + simple("b"), wrong, "a: &a [*a]", "? [a]\n: b", "\r\r0", "\u2028-\r\n", "- - - -", "id: x\nwhen: |\n\n  1 <", "\xff", "!!binary x",
		head + "match: {context.a|re|not: '(', agent|cidr: [::1/0]}", head + "exceptions: [{match: [{any: [{agent: a}]}], until: 2027-01-01, reason: x}]",
		"id: x\ntitle: x\nwhen: count(calls, 1m) / 0 > 1e400 or 0x > 1..2 and #.a ?? {b} | c(1) ? `x` : \"y\" in [1]",
		"id: x\ntitle: x\nwhen: distinct(context.a.b, 1h) > 1 and new(context['c']) > 0 or let x = 1; x > 0 or if a { b } else { c }",
		"id: x\ntitle: x\ngroup_by: parent\nwithin: session\nbaseline: [{feature: sequence(call)}, {feature: repeats(call)}, {feature: burst(resource)}]\nbudget: 1 per 1000 sessions\nrelearn: context.version\n",
		"id: x\ntitle: x\ngroup_by: [agent, chain_root]\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-chain-root-days\n", head + "group_by: [[agent], tenant]",
		"id: x\ntitle: x\nbaseline: [{feature: 'max(latency, 24h)', memory: 42d}, {feature: 'count(calls, 1d)', season: hour-of-week}, {feature: new(chain)}]\nbudget: 1 per 1000 agent-weeks\nmatch: {parent|exists: false, chain: x, call: y}\n",
		head + "tests: [{name: x, start: 1970-01-01, calls: [{agent: 'a{r%3}', action: b, at: 1d1h1m1s1ms, repeat: 3, every: 1s}], expect: {detections: 3}}]",
		named + "exports and not (office or 1 of trusted_*) or all of them", named + "NOT NOT (1 of _*) and any of x", head + "lists: {a: b.txt, c: ../d.txt, e: [f]}\nmatch: {agent: [$a, $$b]}\n",
		head + "mode: enforce\nresponse: {action: revoke, scope: agent, for: 30d}\nschedule: {days: [fri-mon, wed], hours: ['22:00-06:00', '12:00-24:00'], timezone: America/St_Johns, outside: alert}\n",
		overridden, head + "tenants: {'?': {}, a: {when: x}, 'b*': {schedule: {outside: enforce}}, $c: [], '': {mode: alert}}\n",
		"id: x\ntitle: x\nconstants: {a: 5, b: 1m, c: [x, y*]}\nmatch: {agent|in: $c, action: $c}\nwhen: count(calls, $b) > $a + $env\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, errs := detector.Load(files("f.yaml", text))
		if (len(errs) == 0) == (len(set.Plan.Detectors) == 0) {
			t.Fatalf("%d detectors and %d errors", len(set.Plan.Detectors), len(errs))
		}
		lines := 1 + len(regexp.MustCompile(`[\n\r\x{85}\x{2028}\x{2029}]`).FindAllString(text, -1))
		for _, e := range errs {
			if e.Msg == "" || e.File != "f.yaml" || e.Line > lines+1 || e.Line > 0 && e.Column < 1 {
				t.Errorf("error without place or cause: %+v", e)
			}
		}
		use(t, set)
		if again, _ := detector.Load(files("f.yaml", text)); len(errs) == 0 && again.Plan.Detectors[0].Version != set.Plan.Detectors[0].Version {
			t.Error("the version differs between two loads")
		}
	})
}

// use evaluates all that a set holds, for a call with odd values.
func use(t *testing.T, set *detector.Set) {
	p := set.Plan
	bits := make([]uint64, p.Words)
	for _, f := range p.Fields() {
		if p.FieldName(f) == "" {
			t.Errorf("field %d has no name", f)
		}
		for _, value := range []string{"", "a", "\xff*?\\", "10.0.0.1", "-1e9"} {
			p.Classify(f, value, bits)
		}
	}
	all := map[*detector.Compiled]int{}
	for i, d := range p.Detectors {
		all[d] = i
		for _, o := range d.Overrides {
			all[o.Compiled] = i
			o.Tenants.Eval(bits)
		}
	}
	for d, i := range all {
		d.For("test-1").Match.Eval(bits)
		for _, at := range []int64{math.MinInt64, 0, 1774747800e9, math.MaxInt64} {
			if mode, ok := d.ModeAt(at); ok != d.FiresAt(at) || mode > detector.Enforce || d.QuietAt(at, 0) > d.Quiet || d.QuietAt(at, 0) < 0 {
				t.Errorf("at %d: mode %v, fires %v, quiet for %v of %v", at, mode, ok, d.QuietAt(at, 0), d.Quiet)
			}
			for i, quiet := range d.Steps {
				if got := d.QuietAt(at, i); got > quiet || got < 0 || d.Escalate <= 0 {
					t.Errorf("at %d: step %d is quiet for %v of %v, escalates within %v", at, i, got, quiet, d.Escalate)
				}
			}
			found := detector.Detection{Detector: d.ID, Version: d.Version, Tenant: "test-1", Mode: "enforce"}
			if e, ok := p.EnforcerOf(i, &found); ok && (e.Response().Action == 0 || e.Response().For <= 0) {
				t.Errorf("enforcer without action or end: %+v", e.Response())
			}
		}
		for _, e := range d.Exceptions {
			e.Match.Eval(bits)
			// Never may an exception hold for a call of which no condition holds.
			if e.Match.Eval(make([]uint64, p.Words)) {
				t.Error("an exception holds for a call with none of its values")
			}
		}
		if c := d.Correlation; c != nil {
			for j := range p.Detectors {
				c.Complete([]uint64{c.Members(j), 0}, []uint64{1, 2})
			}
		}
		if d.When != nil {
			d.When.Eval(make([]float64, len(d.Features)))
		}
		if e, ok := p.Enforcer(i); ok && (e.Response().Action == 0 || e.Response().For <= 0) {
			t.Errorf("enforcer without action or end: %+v", e.Response())
		}
		if len(d.Evidence) > 0 && !(d.Level > 0) {
			t.Errorf("alarm level %v", d.Level)
		}
		for _, test := range set.Sources[i].Tests {
			n := 0
			for c := range test.Expand() {
				if c.Offset < 0 {
					t.Error("a call before the start of its test")
				}
				if n++; n == 10 {
					break
				}
			}
		}
	}
}

// Whatever a condition says, it compiles to a program that can run, or its errors stand inside it.
func FuzzWhen(f *testing.F) {
	for _, seed := range []string{
		"count(calls, 1m) / 2 > 5 and not (rate(errors, 1s) * 1KiB <= -3)", "1 < distinct(agent, 1h) < 7 || false", "new(resource) == 1.5e3",
		"a ? b : c", "x not in y", "count(calls, 1m) |> f()", "5MiB > 3s", "_ + __ > 1s", "surprise(context.a['b'].c) ?? 1",
		"max(latency, 1m) > 2.5 or depth(chain) > 8 or recurs(chain) > 0", "repeats(call) > 50 and sequence(resource) > 9", "burst(chain_root) > 20 or surprise(parent) > 9 or new(call) > 0", "((((", "é10s > 5",
		"quantile(0.95, latency, 10m) > 5s and share(denied, 5m) > 0.5", "sum(bytes_out, 1h) / count(calls, 1h) > 5MiB * share(errors, 1s)", "quantile(2, calls, 1m) * max(latency, 1m) ** 2 > 1B",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		yaml := "id: x\ntitle: x\ngroup_by: tenant\nwhen: |2\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n"
		set, errs := detector.Load(files("f.yaml", yaml))
		for _, e := range errs {
			if !strings.HasPrefix(e.Msg, "not YAML") && !strings.HasPrefix(e.Msg, "the file is not") && e.Line < 4 {
				t.Errorf("error outside of the condition: %v", e)
			}
		}
		use(t, set)
	})
}

// Whatever a match says of named conditions, it compiles to a formula that can run, or its errors stand inside it
// or at a condition that it leaves out.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"a and not (b or 1 of c_*) and all of _*", "not not a or any of them", "a b", "((a", ") a", "1 of", "all of *", "2 of a", "and", "A AND a", "_of\nor\ta", "\u00a0a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		yaml := head + "conditions: {a: {agent: a}, b: [{agent: b}, {not: {action: c}}], c_1: {action|exists: true}, _c: {outcome: ok}}\nmatch: |2\n  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n"
		set, errs := detector.Load(files("f.yaml", yaml))
		for _, e := range errs {
			if !strings.HasPrefix(e.Msg, "not YAML") && !strings.HasPrefix(e.Msg, "the file is not") && !strings.HasPrefix(e.Msg, "nothing uses") && e.Line < 5 {
				t.Errorf("error outside of the match: %v", e)
			}
		}
		use(t, set)
	})
}
