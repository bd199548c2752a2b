package detector_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
)

// call is the fields of a call by their names in detectors.
type call map[string]string

// bitsOf classifies a call as a shard does: each value that is there, and the union of their bits.
func bitsOf(p *detector.Plan, c call) []uint64 {
	bits := make([]uint64, p.Words)
	for _, f := range p.Fields() {
		value, ok := c[p.FieldName(f)]
		if ok || f < detector.FieldContext {
			p.Classify(f, value, bits)
		}
	}
	return bits
}

func matches(t testing.TB, match string, c call) bool {
	t.Helper()
	p := load(t, head+"match: "+match+"\n").Plan
	return p.Detectors[0].Match.Eval(bitsOf(p, c))
}

func TestMatch(t *testing.T) {
	get := call{"agent": "Billing-7", "action": "s3:GetObject", "outcome": "ok", "context.ip": "10.1.2.3", "context.ua": "Curl/8"}
	for match, want := range map[string]bool{
		"{action: s3:GetObject}":                                         true,
		"{action: S3:getobject}":                                         true,
		"{action|cased: S3:getobject}":                                   false,
		"{action|cased: s3:GetObject}":                                   true,
		"{action: s3:Get}":                                               false,
		"{action: 's3:*'}":                                               true,
		"{action: '*:get*'}":                                             true,
		"{action: 's?:GetObject'}":                                       true,
		"{action: 's??:GetObject'}":                                      false,
		`{action: 's3\*'}`:                                               false,
		"{action|in: ['s3:*']}":                                          false,
		"{action|in: ['S3:GetObject', x]}":                               true,
		"{action|contains: getob}":                                       true,
		"{action|contains: 'g?tob'}":                                     true,
		"{action|startswith: S3}":                                        true,
		"{action|startswith: 3}":                                         false,
		"{action|endswith: object}":                                      true,
		"{action|endswith|cased: object}":                                false,
		"{action|startswith: [x, s3]}":                                   true,
		"{action|contains|all: [get, obj]}":                              true,
		"{action|contains|all: [get, put]}":                              false,
		"{action|contains|not: put}":                                     true,
		"{action|re: '^s3:(Get|Put)'}":                                   true,
		"{action|re: '^S3:'}":                                            false,
		"{action|re: '(?i)^S3:'}":                                        true,
		"{context.ip|cidr: 10.0.0.0/8}":                                  true,
		"{context.ip|cidr: [192.168.0.0/16, 10.1.2.3]}":                  true,
		"{context.ip|cidr: 11.0.0.0/8}":                                  false,
		"{context.ua|cidr: 10.0.0.0/8}":                                  false,
		"{context.ua|contains: curl}":                                    true,
		"{context.absent|contains: curl}":                                false,
		"{context.absent|contains|not: curl}":                            true,
		"{context.ip|exists: true}":                                      true,
		"{context.ip|exists: false}":                                     false,
		"{context.absent|exists: true}":                                  false,
		"{context.absent|exists: false}":                                 true,
		"{context.absent|exists|not: true}":                              true,
		"{session|exists: false}":                                        true,
		"{agent|exists: true}":                                           true,
		"{outcome: OK}":                                                  true,
		"{outcome: [denied, error]}":                                     false,
		"{action: s3:GetObject, outcome: denied}":                        false,
		"{action: s3:GetObject, outcome: ok}":                            true,
		"[{outcome: denied}, {action: s3:GetObject}]":                    true,
		"[{outcome: denied}, {action: x}]":                               false,
		"{any: [{outcome: denied}, {outcome: ok}]}":                      true,
		"{all: [{outcome: denied}, {outcome: ok}]}":                      false,
		"{not: {outcome: denied}}":                                       true,
		"{not: [{outcome: denied}, {outcome: ok}]}":                      false,
		"{not: {not: {outcome: ok}}}":                                    true,
		"{agent: billing-7, not: {action|contains: put}}":                true,
		"{any: [{agent: x}, {all: [{outcome: ok}, {not: {agent: y}}]}]}": true,
	} {
		if got := matches(t, match, get); got != want {
			t.Errorf("%s is %v, want %v", match, got, want)
		}
	}
}

func TestMatchComparesNumbers(t *testing.T) {
	for _, c := range []struct {
		test, value string
		want        bool
	}{
		{"gt: 5", "6", true}, {"gt: 5", "5", false}, {"gte: 5", "5", true}, {"lt: 5", "4.5", true}, {"lte: 5", "5", true},
		{"lte: 5", "6", false}, {"gt: 5", "many", false}, {"lt: 5", "", false}, {"gt: [100, 5]", "6", true},
	} {
		if got := matches(t, "{context.n|"+c.test+"}", call{"context.n": c.value}); got != c.want {
			t.Errorf("%q %s is %v, want %v", c.value, c.test, got, c.want)
		}
	}
}

func TestWithoutMatchEveryCallCounts(t *testing.T) {
	d := load(t, head).Plan.Detectors[0]
	if d.Match != nil || !d.Match.Eval(nil) {
		t.Error("a detector without match does not match a call")
	}
}

// An exception that ignored case would let through whoever can choose a name that differs
// from the trusted one in case alone.
func TestExceptionsCompareCase(t *testing.T) {
	p := load(t, head+"match: {agent: backup}\nexceptions: [{match: {agent: backup}, reason: x}]\n").Plan
	bits := bitsOf(p, call{"agent": "Backup"})
	d := p.Detectors[0]
	if !d.Match.Eval(bits) {
		t.Error("the match compared case")
	}
	if d.Exceptions[0].Match.Eval(bits) {
		t.Error("the exception ignored case")
	}
}

func TestEqualConditionsShareOneBit(t *testing.T) {
	one := simple("a")
	match := func(id, m string) string {
		return fmt.Sprintf("---\n{id: %s, title: t, when: 'count(calls, 1m) > 1', match: %s}\n", id, m)
	}
	text := one
	for i := range 100 {
		text += match(fmt.Sprintf("d%d", i), "{action|contains: [GET, put], agent: a}")
		text += match(fmt.Sprintf("e%d", i), "{action|contains: [Put, get], agent: A}")
	}
	if p := load(t, text).Plan; p.Words != 1 {
		t.Errorf("two conditions, used 200 times, take %d words", p.Words)
	}
}

func TestConditionsBeyondOneWord(t *testing.T) {
	text := head + "match:\n  any:\n"
	for i := range 200 {
		text += fmt.Sprintf("  - agent: agent-%d\n", i)
	}
	p := load(t, text).Plan
	if p.Words != 4 {
		t.Fatalf("%d words, want 4", p.Words)
	}
	for i := range 201 {
		want := i < 200
		if got := p.Detectors[0].Match.Eval(bitsOf(p, call{"agent": fmt.Sprintf("agent-%d", i)})); got != want {
			t.Errorf("agent-%d: %v, want %v", i, got, want)
		}
	}
}

// condition is a random condition on the agent and what it is for each agent.
func condition(depth int) *rapid.Generator[struct {
	Text  string
	Holds map[string]bool
}] {
	type cond = struct {
		Text  string
		Holds map[string]bool
	}
	agents := []string{"a", "b", "c"}
	return rapid.Custom(func(t *rapid.T) cond {
		c := cond{Holds: map[string]bool{}}
		op := "leaf"
		if depth > 0 {
			op = rapid.SampledFrom([]string{"leaf", "all", "any", "not", "list"}).Draw(t, "op")
		}
		if op == "leaf" {
			a := rapid.SampledFrom(agents).Draw(t, "agent")
			c.Text, c.Holds[a] = fmt.Sprintf("{agent: %s}", a), true
			return c
		}
		kids := rapid.SliceOfN(condition(depth-1), 1, 3).Draw(t, "kids")
		if op == "not" {
			kids = kids[:1]
		}
		for _, a := range agents {
			all, any := true, false
			for _, k := range kids {
				all, any = all && k.Holds[a], any || k.Holds[a]
			}
			c.Holds[a] = map[string]bool{"all": all, "any": any, "list": any, "not": !all}[op]
		}
		items := ""
		for i, k := range kids {
			if i > 0 {
				items += ", "
			}
			items += k.Text
		}
		switch op {
		case "list":
			c.Text = "[" + items + "]"
		case "not":
			c.Text = "{not: " + items + "}"
		default:
			c.Text = "{" + op + ": [" + items + "]}"
		}
		return c
	})
}

func TestAnyNestingOfConditionsMeansWhatLogicSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := condition(5).Draw(rt, "condition")
		p := load(t, head+"match: "+c.Text+"\n").Plan
		for _, agent := range []string{"a", "b", "c"} {
			if got := p.Detectors[0].Match.Eval(bitsOf(p, call{"agent": agent})); got != c.Holds[agent] {
				rt.Fatalf("%s for agent %s is %v", c.Text, agent, got)
			}
		}
	})
}

func TestConditionsAsDeepAsYAMLAllowsEvaluate(t *testing.T) {
	// Each level waits on the stack for the next: the deepest that formulas get.
	text := "{agent: a}"
	for i := 0; i < 30; i++ {
		text = "[{agent: b}, " + text + "]"
	}
	if !matches(t, text, call{"agent": "a"}) {
		t.Error("the innermost condition was lost")
	}
}

func BenchmarkFormula(b *testing.B) {
	p := load(b, head+"match: {action|startswith: [s3, x], outcome: ok, not: {agent: y}}\n").Plan
	bits := bitsOf(p, call{"action": "s3:GetObject", "outcome": "ok", "agent": "a"})
	f := p.Detectors[0].Match
	b.ReportAllocs()
	for b.Loop() {
		if !f.Eval(bits) {
			b.Fatal("does not match")
		}
	}
}
