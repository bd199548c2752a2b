package detector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// head begins a detector that is right, so that a test can add what is wrong from line 4 on.
const head = "id: x\ntitle: x\nwhen: count(calls, 1m) > 1\n"

func TestErrorsNamePlaceCauseAndNearestWord(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":           {head + "titel: x", `4:1: a detector has no key "titel" (did you mean "title"?)`},
		"key twice":             {head + "id: y", `4:1: key "id" comes twice (first on line 1)`},
		"missing id":            {"title: x\nwhen: count(calls, 1m) > 1", `1:1: a detector needs the key "id" (add id: …)`},
		"bad id":                {"id: A_b\ntitle: x\nwhen: count(calls, 1m) > 1", `1:5: the id "A_b" is not well formed (small letters, digits and single hyphens, as in call-rate-breach)`},
		"empty title":           {"id: x\ntitle:\nwhen: count(calls, 1m) > 1", `2:7: title is empty`},
		"not a mapping":         {"- a", `1:1: a detector must be a mapping, not a list (keys: id, title, description, severity, tags, mode, match, group_by, baseline, budget, slot, warmup, when, quiet, response, exceptions, tests)`},
		"severity":              {head + "severity: hihg", `4:11: severity cannot be "hihg" (did you mean "high"?)`},
		"tag":                   {head + "tags: [attack.t1, foo]", `4:19: the tag "foo" is not well formed (write namespace.name, as in attack.t1530)`},
		"mode":                  {head + "mode: enforced", `4:7: mode cannot be "enforced" (did you mean "enforce"?)`},
		"enforce, no response":  {head + "mode: enforce", `4:7: mode enforce needs a response (add response: {action: revoke, scope: agent, for: 15m})`},
		"group_by":              {head + "group_by: sesion", `4:11: group_by cannot be "sesion" (did you mean "session"?)`},
		"neither":               {"id: x\ntitle: x", `1:1: the detector never fires: it has neither baseline nor when (add baseline: or when:)`},
		"anchor":                {head + "tags: &t [a.b]", `4:7: anchors and aliases are not allowed (write the value out)`},
		"not YAML":              {head + "tags: [a", `4:1: not YAML: did not find expected ',' or ']'`},
		"unknown field":         {head + "match: {acton: a}", `4:9: a call has no field "acton" (did you mean "action"?)`},
		"unknown modifier":      {head + "match:\n  action|startwith: x", `5:10: unknown modifier "startwith" (did you mean "startswith"?)`},
		"second modifier":       {head + "match:\n  action|cased|re|contians: x", `5:19: unknown modifier "contians" (did you mean "contains"?)`},
		"two comparisons":       {head + "match: {action|re|contains: x}", `4:19: modifiers re and contains exclude each other (use one of them)`},
		"missing modifier":      {head + "match: {'action|': x}", `4:9: a modifier is missing after |`},
		"cased re":              {head + "match: {action|re|cased: x}", `4:9: re does not ignore case anyway (leave cased out)`},
		"in without list":       {head + "match: {action|in: x}", `4:20: action|in needs a list (write [a, b])`},
		"bad expression":        {head + "match: {action|re: 'a(b'}", "4:20: action|re: not an RE2 expression: missing closing ): `a(b`"},
		"bad network":           {head + "match: {context.ip|cidr: 10.0.0/8}", `4:26: context.ip|cidr: "10.0.0/8" is not a network such as 10.0.0.0/8`},
		"bad number":            {head + "match: {context.n|gt: ten}", `4:23: context.n|gt: "ten" is not a number`},
		"bad exists":            {head + "match: {context.n|exists: yes}", `4:27: context.n|exists must be true or false, not "yes"`},
		"outcome":               {head + "match: {outcome: denyed}", `4:18: an outcome is never "denyed" (did you mean "denied"?)`},
		"context without key":   {head + "match: {context.: x}", `4:9: the context entry has no name (write context.KEY)`},
		"empty value":           {head + "match: {agent: ''}", `4:16: agent is empty`},
		"no value":              {head + "match: {agent: }", `4:16: agent is empty`},
		"empty value in a list": {head + "match: {agent: [a, '']}", `4:20: agent is empty`},
		"empty values":          {head + "match: {agent: []}", `4:16: agent is an empty list`},
		"empty match":           {head + "match: {}", `4:8: match is empty (leave it out to match every call)`},
		"empty any":             {head + "match: {any: []}", `4:14: any is an empty list (name what the calls must have)`},
		"empty not":             {head + "match: {not: {}}", `4:14: not is empty (name what the calls must have)`},
		"match is text":         {head + "match: agent", `4:8: match must be a mapping or a list of mappings, not "agent" (write field: value)`},

		"empty exception": {head + "exceptions: [{match: {}, reason: x}]", `4:22: the match of an exception is empty (name what the calls must have)`},
		"exception for all": {head + "exceptions: [{match: {agent: '*'}, reason: x}]",
			`4:30: agent excludes nothing (name what the calls have in common)`},
		"exception for all by expression": {head + "exceptions: [{match: {agent|re: 'a*'}, reason: x}]",
			`4:33: agent|re excludes nothing (name what the calls have in common)`},
		"exception for all of some length": {head + "exceptions: [{match: {agent|re: '^.{3,}$'}, reason: x}]",
			`4:33: agent|re excludes nothing (name what the calls have in common)`},
		"exception for all in a list": {head + "exceptions: [{match: {agent: [a, '??*']}, reason: x}]",
			`4:30: agent excludes nothing (name what the calls have in common)`},
		"exception for all addresses": {head + "exceptions: [{match: {context.ip|cidr: ['0.0.0.0/0', '::/0']}, reason: x}]",
			`4:40: context.ip|cidr excludes nothing (name what the calls have in common)`},
		"exception for presence": {head + "exceptions: [{match: {agent|exists: true}, reason: x}]",
			`4:22: the exception could excuse every call: it holds for calls that have none of its values (name values that the calls have)`},
		"exception for what is not there": {head + "exceptions: [{match: {not: {agent: a}}, reason: x}]",
			`4:22: the exception could excuse every call: it holds for calls that have none of its values (name values that the calls have)`},
		"exception for absence": {head + "exceptions: [{match: [{agent: a}, {context.k|exists: false}], reason: x}]",
			`4:22: the exception could excuse every call: it holds for calls that have none of its values (name values that the calls have)`},
		"exception without match":  {head + "exceptions: [{reason: x}]", `4:14: an exception needs the key "match" (add match: …)`},
		"exception without reason": {head + "exceptions: [{match: {agent: a}}]", `4:14: an exception needs the key "reason" (add reason: …)`},
		"empty reason":             {head + "exceptions: [{match: {agent: a}, reason: ' '}]", `4:42: reason is empty`},
		"bad until":                {head + "exceptions: [{match: {agent: a}, reason: x, until: 2027-02-30}]", `4:52: until cannot be "2027-02-30" (write 2027-01-31, the last day)`},

		"response without for": {head + "response: {action: revoke, scope: agent}", `4:11: a response needs the key "for" (add for: …)`},
		"endless response":     {head + "response: {action: revoke, scope: agent, for: 31d}", `4:47: for is 31d, it must be from 1s to 30d`},
		"negative response":    {head + "response: {action: revoke, scope: agent, for: -5m}", `4:47: for cannot be negative`},
		"zero response":        {head + "response: {action: revoke, scope: agent, for: 0s}", `4:47: for is 0s, it must be from 1s to 30d`},
		"response without unit": {head + "response: {action: revoke, scope: agent, for: 900}",
			`4:47: for: "900" is not a duration such as 500ms, 10s, 5m, 2h or 7d`},
		"unknown action": {head + "response: {action: revok, scope: agent, for: 1m}", `4:20: action cannot be "revok" (did you mean "revoke"?)`},
		"unknown scope":  {head + "response: {action: revoke, scope: agents, for: 1m}", `4:35: scope cannot be "agents" (did you mean "agent"?)`},

		"budget alone": {head + "budget: 1 per 1000 agent-days", `4:1: budget means nothing without a baseline (add baseline: or leave it out)`},
		"no budget":    {head + "baseline: {feature: new(resource)}", `1:1: a detector with a baseline needs the key "budget" (add budget: …)`},
		"budget entity": {head + "group_by: identity\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days",
			`6:20: the budget counts agent-days but the detector groups by identity (write identity-days)`},
		"budget unit": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-dayz",
			`5:20: a budget is not counted in "agent-dayz" (did you mean "agent-days"?)`},
		"budget phrase": {head + "baseline: {feature: new(resource)}\nbudget: rarely",
			`5:9: the budget "rarely" is not a phrase of the form N per M UNIT (write 1 per 1000 agent-days or 1 per 1000000 calls)`},
		"budget sign": {head + "baseline: {feature: new(resource)}\nbudget: -1 per 1000 calls",
			`5:9: the numbers of the budget "-1 per 1000 calls" must be positive (write 1 per 1000 agent-days or 1 per 1000000 calls)`},
		"budget too wide": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 10 calls",
			`5:9: the budget "1 per 10 calls" allows a false alarm within 100 slots of 10s (write a longer time)`},
		"slot": {head + "baseline: {feature: 'count(calls, 1m)'}\nbudget: 1 per 1000 agent-days\nslot: 10s",
			`4:1: count(calls, 1m) and the slot have different lengths (make them the same)`},
		"two slots": {head + "baseline: [{feature: 'count(calls, 1m)'}, {feature: 'count(errors, 10s)'}]\nbudget: 1 per 1000 agent-days",
			`4:1: count(errors, 10s) and count(calls, 1m) have different lengths (make them the same)`},
		"no baseline for it": {head + "baseline: {feature: 'rate(calls, 1s)'}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for rate(calls, 1s) (use it in when:, or write count(calls, 10s), new(resource) or surprise(agent))`},
		"weight": {head + "baseline: {feature: new(resource), weight: -1}\nbudget: 1 per 1000 agent-days",
			`4:44: weight must be a number over 0 and up to 1000, not "-1"`},
		"baseline twice": {head + "baseline: [{feature: new(action)}, {feature: new(action)}]\nbudget: 1 per 1000 agent-days",
			`4:46: the baseline of new(action) comes twice`},
		"comma in a flow mapping": {head + "baseline: {feature: count(calls, 10s)}\nbudget: 1 per 1000 agent-days",
			`4:31: the expression ends too early (inside { } a comma ends a value: write it in quotes); 4:34: a baseline has no key "10s)" (known: feature, weight)`},
		"warm-up": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\nwarmup: {calls: 0}",
			`6:17: warmup calls is 0, it must be from 1 to 1000000`},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := detector.Load(files("f", "", "f.yaml", c.text))
			var got []string
			for _, e := range errs {
				got = append(got, strings.TrimPrefix(e.Error(), "f.yaml:"))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConditionErrorsNameTheirPlaceInTheFile(t *testing.T) {
	for name, c := range map[string]struct{ when, want string }{
		"number":           {`rate(calls, 1s)`, `3:7: when must be true or false, this is a number (compare it, as in … > 100)`},
		"number in and":    {`rate(calls, 1s) and count(calls, 1m) > 1`, `3:7: "and" wants true or false here, this is a number`},
		"truth in sum":     {`count(calls, 1m) + (count(calls, 1m) > 1) > 2`, `3:44: "+" wants a number here, this is true or false`},
		"truth compared":   {`(count(calls, 1m) > 1) > 2`, `3:25: ">" wants a number here, this is true or false`},
		"not a number":     {`not count(calls, 1m)`, `3:11: "not" wants true or false here, this is a number`},
		"unknown feature":  {`cuont(calls, 1m) > 1`, `3:7: unknown feature "cuont" (did you mean "count"?)`},
		"expr's function":  {`max(1, 2) > 1`, `3:7: unknown feature "max" (known: count, sum, rate, distinct, new, surprise)`},
		"unknown measure":  {`count(cals, 1m) > 1`, `3:13: count has no measure "cals" (did you mean "calls"?)`},
		"count of bytes":   {`count(bytes_out, 1m) > 1`, `3:13: count has no measure "bytes_out" (write sum(bytes_out, …))`},
		"sum of calls":     {`sum(calls, 1m) > 1`, `3:11: sum has no measure "calls" (write count(calls, …))`},
		"unknown field":    {`distinct(resorce, 1m) > 1`, `3:16: distinct does not work on "resorce" (did you mean "resource"?)`},
		"new session":      {`new(session) > 0`, `3:11: new does not work on "session" (known: tenant, agent, identity, chain_root, action, resource, context.KEY)`},
		"own group":        {`new(agent) > 0`, `3:11: new(agent) says nothing: the detector groups by agent, so it is always the same`},
		"no unit":          {`count(calls, 10) > 1`, `3:20: the window must be a duration with its unit (write 10s, 5m or 1d)`},
		"unknown unit":     {`count(calls, 10x) > 1`, `3:20: "10x" has no known unit (did you mean "s"?)`},
		"size as window":   {`count(calls, 10MiB) > 1`, `3:20: the window must be a duration with its unit (write 10s, 5m or 1d)`},
		"short window":     {`count(calls, 500ms) > 1`, `3:20: a window of 500ms: it must be whole seconds from 1s to 7d`},
		"long window":      {`count(calls, 8d) > 1`, `3:20: a window of 8d: it must be whole seconds from 1s to 7d`},
		"duration":         {`count(calls, 1m) > 10s`, `3:26: 10s is a duration; here a number is wanted`},
		"arity":            {`count(calls) > 1`, `3:7: count takes 2 argument(s), not 1 (write count(calls, 10s))`},
		"no feature":       {`1 + 1 > 1`, `3:13: when names no feature, so it would fire always or never`},
		"unknown name":     {`calls > 1`, `3:7: unknown name "calls" (features are written as calls: rate(calls, 1s))`},
		"unknown operator": {`count(calls, 1m) % 2 > 1`, `3:24: operator "%" is not part of a condition (known: + - * / < <= > >= == != and or not)`},
		"unknown syntax":   {`'[1, 2]'`, `3:8: this is not part of a condition (known: numbers, features, + - * /, comparisons, and, or, not)`},
		"grammar":          {`count(calls, 1m) > `, `3:24: the expression ends too early (inside { } a comma ends a value: write it in quotes)`},
		"quoted":           {`"count(calls, 1m) > foo"`, `3:27: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"literal block":    {"|\n    count(calls, 1m) > 5 or\n      foo > 1", `5:7: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"folded block":     {">-\n  count(calls, 1m) > 5\n  or\n  foo > 1", `6:3: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"plain, continued": {"count(calls, 1m) > 5\n  or foo > 1", `4:6: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"deep":             {strings.Repeat("(1 + ", 17) + "count(calls, 1m)" + strings.Repeat(")", 17) + " > 1", `3:88: the condition needs more than 16 values at once (name fewer values in parentheses)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := detector.Load(files("f.yaml", "id: x\ntitle: x\nwhen: "+c.when+"\n"))
			if diff := cmp.Diff(c.want, strings.TrimPrefix(errs.Error(), "f.yaml:")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestManyErrorsAreReportedAtOnceAndInOrder(t *testing.T) {
	_, errs := detector.Load(files("f.yaml", "id: X\ntitel: x\nmatch: {acton: a, outcome: no}\nwhen: cuont(calls, 1m) > 1 and 5\n"))
	var got []string
	for _, e := range errs {
		got = append(got, fmt.Sprintf("%d:%d", e.Line, e.Column))
	}
	if want := "1:1 1:5 2:1 3:9 3:28 4:7 4:32"; strings.Join(got, " ") != want {
		t.Errorf("errors at %v, want %s:\n%v", got, want, errs)
	}
}

func TestWhatCouldExhaustMemoryIsRefused(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b, *b]\n"
	for name, c := range map[string]struct{ text, want string }{
		"large":          {strings.Repeat("# padding\n", 1<<20/10+1), "more than 1048576"},
		"deep":           {head + "match: " + strings.Repeat("[", 50) + strings.Repeat("]", 50), "nested deeper than 32"},
		"very deep":      {head + "match: " + strings.Repeat("[", 500_000), "not YAML"},
		"alias bomb":     {bomb, "anchors and aliases are not allowed"},
		"many documents": {strings.Repeat("---\n"+simple("a"), 1001), "more than 1000 documents"},
		"long when":      {"{id: x, title: x, when: '" + strings.Repeat("1 + ", 2000) + "1 > count(calls, 1m)'}", "longer than 4096 bytes"},
		"deep when":      {"{id: x, title: x, when: '" + strings.Repeat("-", 2000) + "1 > count(calls, 1m)'}", "exceeds maximum allowed nodes"},
		"many tests":     {head + "tests: [{name: x, calls: [{agent: a, action: b, repeat: 900000, every: 1s, burst: 2}], expect: {detections: 0}}]", "more than 1000000"},
		"not UTF-8":      {"id: \xff", "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := detector.Load(files("f.yaml", c.text))
			if len(errs) == 0 || !strings.Contains(errs[0].Msg, c.want) {
				t.Errorf("errors %.300q, want %q", errs.Error(), c.want)
			}
		})
	}
}

func TestErrorsOfOneFileAreBounded(t *testing.T) {
	_, errs := detector.Load(files("f.yaml", strings.Repeat("bad: x\n---\n", 500)))
	if len(errs) != 100 {
		t.Errorf("%d errors, want 100", len(errs))
	}
}
