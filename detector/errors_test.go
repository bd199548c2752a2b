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
		"empty title":           {"id: x\ntitle:\nwhen: count(calls, 1m) > 1", `2:7: title is empty (write a value, or leave it out)`},
		"not a mapping":         {"- a", `1:1: a detector must be a mapping, not a list (keys: id, title, description, severity, tags, references, mode, constants, lists, conditions, match, group_by, within, baseline, slot, budget, warmup, relearn, when, correlation, quiet, schedule, response, escalate, exceptions, tenants, tests)`},
		"severity":              {head + "severity: hihg", `4:11: severity cannot be "hihg" (did you mean "high"?)`},
		"tag":                   {head + "tags: [attack.t1, foo]", `4:19: the tag "foo" is not well formed (write namespace.name, as in attack.t1530)`},
		"reference":             {head + "references: [https://example.com, '']", `4:35: a reference is empty (write a value, or leave it out)`},
		"no reference":          {head + "references: []", `4:13: references is an empty list (write a value, or leave it out)`},
		"mode":                  {head + "mode: enforced", `4:7: mode cannot be "enforced" (did you mean "enforce"?)`},
		"enforce, no response":  {head + "mode: enforce", `4:7: mode enforce needs a response (add response: {action: revoke, scope: agent, for: 15m})`},
		"group_by":              {head + "group_by: sesion", `4:11: group_by cannot be "sesion" (did you mean "session"?)`},
		"neither":               {"id: x\ntitle: x", `1:1: the detector never fires: it has neither baseline nor when (add baseline: or when:)`},
		"anchor":                {head + "tags: &t [a.b]", `4:7: anchors and aliases are not allowed (write the value out)`},
		"not YAML":              {head + "tags: [a", `4:1: not YAML: did not find expected ',' or ']' (close the bracket [, and quote texts with a comma or a bracket)`},
		"unknown field":         {head + "match: {acton: a}", `4:9: a call has no field "acton" (did you mean "action"?)`},
		"unknown modifier":      {head + "match:\n  action|startwith: x", `5:10: unknown modifier "startwith" (did you mean "startswith"?)`},
		"second modifier":       {head + "match:\n  action|cased|re|contians: x", `5:19: unknown modifier "contians" (did you mean "contains"?)`},
		"two comparisons":       {head + "match: {action|re|contains: x}", `4:19: modifiers re and contains exclude each other (use one of them)`},
		"missing modifier":      {head + "match: {'action|': x}", `4:9: a modifier is missing after | (write one of contains, startswith, endswith, re, cidr, in, exists, lt, lte, gt, gte, cased, all, not, or leave | out)`},
		"cased re":              {head + "match: {action|re|cased: x}", `4:9: re does not ignore case anyway (leave cased out)`},
		"in without list":       {head + "match: {action|in: x}", `4:20: action|in needs a list (write [a, b])`},
		"bad expression":        {head + "match: {action|re: 'a(b'}", "4:20: action|re: not an RE2 expression: missing closing ): `a(b` (close it, or write \\ before it for the sign itself)"},
		"bad network":           {head + "match: {context.ip|cidr: 10.0.0/8}", `4:26: context.ip|cidr: "10.0.0/8" is not a network such as 10.0.0.0/8`},
		"bad number":            {head + "match: {context.n|gt: ten}", `4:23: context.n|gt: "ten" is not a number such as 10 or 2.5`},
		"bad exists":            {head + "match: {context.n|exists: yes}", `4:27: context.n|exists must be true or false, not "yes"`},
		"outcome":               {head + "match: {outcome: denyed}", `4:18: an outcome is never "denyed" (did you mean "denied"?)`},
		"context without key":   {head + "match: {context.: x}", `4:9: the context entry has no name (write context.KEY)`},
		"empty value":           {head + "match: {agent: ''}", `4:16: agent is empty (write a value, or leave it out)`},
		"no value":              {head + "match: {agent: }", `4:16: agent is empty (write a value, or leave it out)`},
		"empty value in a list": {head + "match: {agent: [a, '']}", `4:20: agent is empty (write a value, or leave it out)`},
		"empty values":          {head + "match: {agent: []}", `4:16: agent is an empty list (write a value, or leave it out)`},
		"empty match":           {head + "match: {}", `4:8: match is empty (leave it out to match every call)`},
		"empty any":             {head + "match: {any: []}", `4:14: any is an empty list (name what the calls must have)`},
		"empty not":             {head + "match: {not: {}}", `4:14: not is empty (name what the calls must have)`},
		"match is text":         {head + "match: agent", `4:8: match must be a mapping or a list of mappings, not "agent" (write field: value)`},

		"match on chain":           {head + "match: {chain: a}", `4:9: chain is for features, not for a match (write chain_root, parent or agent)`},
		"match on call":            {head + "match: {call|contains: a}", `4:9: call is for features, not for a match (write action and resource)`},
		"match on a chain's child": {head + "match: {chian_root: a}", `4:9: a call has no field "chian_root" (did you mean "chain_root"?)`},
		"match on parents":         {head + "match: {parents: a}", `4:9: a call has no field "parents" (did you mean "parent"?)`},

		"season on new": {head + "baseline: {feature: new(resource), season: hour-of-week}\nbudget: 1 per 1000 agent-days",
			`4:44: only count(…) has a season, new(resource) has none (leave season out)`},
		"season on sum": {head + "baseline: {feature: 'sum(bytes_out, 1m)', season: hour-of-week}\nbudget: 1 per 1000 agent-days",
			`4:51: only count(…) has a season, sum(bytes_out, 1m) has none (leave season out)`},
		"season misspelt": {head + "baseline: {feature: 'count(calls, 1m)', season: hour_of_week}\nbudget: 1 per 1000 agent-days",
			`4:49: season cannot be "hour_of_week" (did you mean "hour-of-week"?)`},
		"memory on surprise": {head + "baseline: {feature: surprise(resource), memory: 7d}\nbudget: 1 per 1000 agent-days",
			`4:49: only count(…), sum(…) and max(…) have a memory, surprise(resource) has none (leave memory out)`},
		"memory too short": {head + "baseline: {feature: 'count(calls, 1h)', memory: 12h}\nbudget: 1 per 1000 agent-weeks",
			`4:49: memory is 12h, under 20 slots of 1h (write 20h or more)`},
		"memory too short for the slot": {head + "baseline: [{feature: 'max(latency, 1m)', memory: 19m}]\nbudget: 1 per 1000 agent-weeks\nslot: 1m",
			`4:50: memory is 19m, under 20 slots of 1m (write 20m or more)`},
		"memory too long": {head + "baseline: {feature: 'count(calls, 1h)', memory: 401d}\nbudget: 1 per 1000 agent-weeks",
			`4:49: memory is 401d, it must be from 1s to 400d`},
		"sum and slot": {head + "baseline: {feature: 'sum(bytes_out, 1m)'}\nbudget: 1 per 1000 agent-days\nslot: 10s",
			`4:1: sum(bytes_out, 1m) and the slot have different lengths (make them the same)`},
		"count and max": {head + "baseline: [{feature: 'count(calls, 1m)'}, {feature: 'max(latency, 5m)'}]\nbudget: 1 per 1000 agent-days",
			`4:1: max(latency, 5m) and count(calls, 1m) have different lengths (make them the same)`},
		"window over a slot": {head + "baseline: {feature: 'count(calls, 2d)'}\nbudget: 1 per 1000 agent-days",
			`4:1: the window of count(calls, 2d) is over 1d, the longest slot`},
		"slot too long": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 10000 agent-days\nslot: 25h",
			`6:7: slot is 25h, it must be from 1s to 1d`},
		"rate of bytes as evidence": {head + "baseline: {feature: 'rate(bytes_in, 1m)'}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for rate(bytes_in, 1m) (use it in when:, or write sum(bytes_in, 1m))`},
		"distinct as evidence": {head + "baseline: {feature: 'distinct(context.tool, 1m)'}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for distinct(context.tool, 1m) (use it in when:, or write new(context.tool))`},
		"distinct sessions as evidence": {head + "baseline: {feature: 'distinct(session, 1m)'}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for distinct(session, 1m) (use it in when:)`},
		"depth as evidence": {head + "baseline: {feature: depth(chain)}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for depth(chain) (use it in when:, or write new(chain))`},
		"recurs as evidence": {head + "baseline: {feature: recurs(chain)}\nbudget: 1 per 1000 agent-days",
			`4:21: there is no baseline for recurs(chain) (use it in when:, or write new(chain))`},

		"within misspelt": {head + "within: sesion\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days",
			`4:9: within cannot be "sesion" (did you mean "session"?)`},
		"within alone": {head + "within: session", `4:1: within means nothing without a baseline (add baseline: or leave it out)`},
		"within a tenant": {head + "group_by: tenant\nwithin: session\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 sessions",
			`5:9: within: session does not go with group_by: tenant (group by one of agent, identity, chain_root, parent)`},
		"within, budget in days": {head + "within: session\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days",
			`6:20: the budget counts agent-days but the detector judges sessions (write sessions)`},
		"within, budget in calls": {head + "within: session\nbaseline: {feature: new(resource)}\nbudget: 1 per 1_000_000 calls",
			`6:25: the budget counts calls but the detector judges sessions (write sessions)`},
		"within, budget phrase": {head + "within: session\nbaseline: {feature: new(resource)}\nbudget: rarely",
			`6:9: the budget "rarely" is not a phrase of the form N per M UNIT (write 1 per 1000 sessions)`},
		"within, budget too wide": {head + "within: session\nbaseline: {feature: new(resource)}\nbudget: 1 per 99 sessions",
			`6:9: the budget "1 per 99 sessions" allows a false alarm within 100 sessions (write more sessions)`},
		"within, slot": {head + "within: session\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 sessions\nslot: 10s",
			`7:1: slot means nothing within a session (leave slot out)`},
		"within, count": {head + "within: session\nbaseline: {feature: 'count(calls, 1m)'}\nbudget: 1 per 1000 sessions",
			`5:21: count(calls, 1m) is counted by slots, and a session has none (use it in when:, or write sequence(call) or new(resource))`},
		"within, max": {head + "within: session\nbaseline: {feature: 'max(latency, 1m)'}\nbudget: 1 per 1000 sessions",
			`5:21: max(latency, 1m) is counted by slots, and a session has none (use it in when:, or write sequence(call) or new(resource))`},
		"within, repeats": {head + "within: session\nbaseline: {feature: repeats(call)}\nbudget: 1 per 1000 sessions",
			`5:21: repeats(call) is counted by slots, and a session has none (use it in when:, or write sequence(call) or new(resource))`},
		"sequence without within": {head + "baseline: {feature: sequence(call)}\nbudget: 1 per 1000 agent-days",
			`4:21: sequence(call) is judged session by session (add within: session, or use it in when:)`},
		"sessions without within": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 sessions",
			`5:20: a budget counts sessions only within: session (write agent-days, or add within: session)`},

		"relearn alone": {head + "relearn: context.version", `4:1: relearn means nothing without a baseline (add baseline: or leave it out)`},
		"relearn by a session": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\nrelearn: session",
			`6:10: relearn cannot be "session" (known: tenant, agent, identity, chain_root, action, resource, parent, context.KEY)`},
		"relearn without key": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\nrelearn: context.",
			`6:10: relearn cannot be "context." (did you mean "context.KEY"?)`},
		"relearn by own group": {head + "baseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\nrelearn: agent",
			`6:10: relearn: agent says nothing: the detector groups by agent, so it is always the same (write context.version)`},

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
		"empty reason":             {head + "exceptions: [{match: {agent: a}, reason: ' '}]", `4:42: reason is empty (write a value, or leave it out)`},
		"bad until":                {head + "exceptions: [{match: {agent: a}, reason: x, until: 2027-02-30}]", `4:52: until cannot be "2027-02-30" (write 2027-01-31, the last day)`},

		"response without for": {head + "response: {action: revoke, scope: agent}", `4:11: a response needs the key "for" (add for: …)`},
		"endless response":     {head + "response: {action: revoke, scope: agent, for: 31d}", `4:47: for is 31d, it must be from 1s to 30d`},
		"negative response":    {head + "response: {action: revoke, scope: agent, for: -5m}", `4:47: for cannot be negative (write it without the minus)`},
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
			`4:21: there is no baseline for rate(calls, 1s) (use it in when:, or write count(calls, 1s))`},
		"weight": {head + "baseline: {feature: new(resource), weight: -1}\nbudget: 1 per 1000 agent-days",
			`4:44: weight must be a number over 0 and up to 1000, not "-1"`},
		"baseline twice": {head + "baseline: [{feature: new(action)}, {feature: new(action)}]\nbudget: 1 per 1000 agent-days",
			`4:46: the baseline of new(action) comes twice (leave one out)`},
		"comma in a flow mapping": {head + "baseline: {feature: count(calls, 10s)}\nbudget: 1 per 1000 agent-days",
			`4:31: the expression ends too early (inside { } a comma ends a value: write it in quotes; else close the parenthesis); 4:34: a baseline has no key "10s)" (known: feature, weight, season, memory)`},
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
		"number":               {`rate(calls, 1s)`, `3:7: when must be true or false, this is a number (compare it, as in … > 100)`},
		"number in and":        {`rate(calls, 1s) and count(calls, 1m) > 1`, `3:7: "and" wants true or false here, this is a number`},
		"truth in sum":         {`count(calls, 1m) + (count(calls, 1m) > 1) > 2`, `3:44: "+" wants a number here, this is true or false`},
		"truth compared":       {`(count(calls, 1m) > 1) > 2`, `3:25: ">" wants a number here, this is true or false`},
		"not a number":         {`not count(calls, 1m)`, `3:11: "not" wants true or false here, this is a number`},
		"unknown feature":      {`cuont(calls, 1m) > 1`, `3:7: unknown feature "cuont" (did you mean "count"?)`},
		"expr's function":      {`abs(1) > 1`, `3:7: unknown feature "abs" (known: count, sum, max, rate, share, quantile, distinct, new, surprise, sequence, repeats, stale, depth, recurs, burst)`},
		"unknown measure":      {`count(cals, 1m) > 1`, `3:13: count has no measure "cals" (did you mean "calls"?)`},
		"count of bytes":       {`count(bytes_out, 1m) > 1`, `3:13: count has no measure "bytes_out" (write sum(bytes_out, …))`},
		"sum of calls":         {`sum(calls, 1m) > 1`, `3:11: sum has no measure "calls" (write count(calls, …))`},
		"unknown field":        {`distinct(resorce, 1m) > 1`, `3:16: distinct does not work on "resorce" (did you mean "resource"?)`},
		"new session":          {`new(session) > 0`, `3:11: new does not work on "session" (known: tenant, agent, identity, chain_root, action, resource, parent, chain, shape, call, context.KEY)`},
		"max of calls":         {`max(calls, 1m) > 1`, `3:11: max has no measure "calls" (write count(calls, …))`},
		"count of latency":     {`count(latency, 1m) > 1`, `3:13: count has no measure "latency" (write max(latency, …))`},
		"rate of latency":      {`rate(latency, 1m) > 1`, `3:12: rate has no measure "latency" (write max(latency, …))`},
		"minutes":              {`count(minutes, 1h) > 1`, `3:7: count(minutes, 1h) is for a baseline alone (write it under baseline:)`},
		"rate of minutes":      {`rate(minutes, 1h) > 1`, `3:12: rate has no measure "minutes" (write count(minutes, …))`},
		"max misspelt":         {`max(latensy, 1m) > 1`, `3:11: max has no measure "latensy" (did you mean "latency"?)`},
		"max of numbers":       {`max(1, 1m) > 1`, `3:11: the first argument of max must be a measure`},
		"sequence of sessions": {`sequence(session) > 1`, `3:16: sequence does not work on "session" (known: action, resource, shape, call)`},
		"sequence of context":  {`sequence(context.tool) > 1`, `3:24: sequence does not work on context entries (known: action, resource, shape, call)`},
		"sequence, window":     {`sequence(action, 1m) > 1`, `3:7: sequence takes 1 argument(s), not 2 (write sequence(action))`},
		"repeats of resources": {`repeats(resource) > 9`, `3:15: repeats does not work on "resource" (known: call)`},
		"depth of nothing":     {`depth() > 9`, `3:7: depth takes 1 argument(s), not 0 (write depth(chain))`},
		"depth of the root":    {`depth(chain_root) > 9`, `3:13: depth does not work on "chain_root" (known: chain)`},
		"recurs misspelt":      {`recurse(chain) > 0`, `3:7: unknown feature "recurse" (did you mean "recurs"?)`},
		"burst of an agent":    {`burst(resource) > 9`, `3:7: burst is about the calls between all agents of a tenant and what they use (write group_by: tenant; the detection names the agent all the same)`},
		"own group":            {`new(agent) > 0`, `3:11: new(agent) says nothing: the detector groups by agent, so it is always the same (name another field)`},
		"no unit":              {`count(calls, 10) > 1`, `3:20: the window must be a duration with its unit (write 10s, 5m or 1d)`},
		"unknown unit":         {`count(calls, 10x) > 1`, `3:20: "10x" has no known unit (did you mean "s"?)`},
		"size as window":       {`count(calls, 10MiB) > 1`, `3:20: the window must be a duration with its unit (write 10s, 5m or 1d)`},
		"short window":         {`count(calls, 500ms) > 1`, `3:20: a window of 500ms: it must be whole seconds from 1s to 7d`},
		"long window":          {`count(calls, 8d) > 1`, `3:20: a window of 8d: it must be whole seconds from 1s to 7d`},
		"duration":             {`count(calls, 1m) > 10s`, `3:26: ">" wants a plain number here, this is a time (a number without a unit goes with everything)`},
		"counts and bytes":     {`count(calls, 1m) > 5MiB`, `3:26: ">" wants a plain number here, this is a number of bytes (a number without a unit goes with everything)`},
		"bytes and a time":     {`sum(bytes_out, 1m) + max(latency, 1m) > 5`, `3:28: "+" wants a number of bytes here, this is a time (a number without a unit goes with everything)`},
		"bytes and a ratio":    {`sum(bytes_out, 1m) / max(latency, 1m) > 5MiB`, `3:47: ">" wants a number in bytes·seconds^-1 here, this is a number of bytes (a number without a unit goes with everything)`},
		"share of bytes":       {`share(bytes_out, 1m) > 0.5`, `3:13: share has no measure "bytes_out" (write sum(bytes_out, …))`},
		"share of calls":       {`share(calls, 1m) > 0.5`, `3:13: share has no measure "calls" (write count(calls, …))`},
		"share of a unit":      {`share(denied, 1m) > 50B`, `3:27: ">" wants a plain number here, this is a number of bytes (a number without a unit goes with everything)`},
		"quantile in percent":  {`quantile(95, latency, 1m) > 5`, `3:16: the first argument of quantile must be a number between 0 and 1 (write 0.95 for the value that 95 % of the calls do not exceed)`},
		"quantile, turned":     {`quantile(latency, 0.95, 1m) > 5`, `3:16: the first argument of quantile must be a number between 0 and 1 (write 0.95 for the value that 95 % of the calls do not exceed)`},
		"quantile of calls":    {`quantile(0.95, calls, 1m) > 5`, `3:22: quantile has no measure "calls" (write count(calls, …))`},
		"quantile, arity":      {`quantile(0.95, latency) > 5`, `3:7: quantile takes 3 argument(s), not 2 (write quantile(0.95, latency, 10m))`},
		"arity":                {`count(calls) > 1`, `3:7: count takes 2 argument(s), not 1 (write count(calls, 10s))`},
		"no feature":           {`1 + 1 > 1`, `3:13: when names no feature, so it would fire always or never (name one, as in count(calls, 1m) > 100)`},
		"unknown name":         {`calls > 1`, `3:7: unknown name "calls" (features are written as calls: rate(calls, 1s))`},
		"unknown operator":     {`count(calls, 1m) % 2 > 1`, `3:24: operator "%" is not part of a condition (known: + - * / < <= > >= == != and or not)`},
		"unknown syntax":       {`'[1, 2]'`, `3:8: this is not part of a condition (known: numbers, features, + - * /, comparisons, and, or, not)`},
		"grammar":              {`count(calls, 1m) > `, `3:24: the expression ends too early (inside { } a comma ends a value: write it in quotes)`},
		"quoted":               {`"count(calls, 1m) > foo"`, `3:27: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"literal block":        {"|\n    count(calls, 1m) > 5 or\n      foo > 1", `5:7: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"folded block":         {">-\n  count(calls, 1m) > 5\n  or\n  foo > 1", `6:3: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"plain, continued":     {"count(calls, 1m) > 5\n  or foo > 1", `4:6: unknown name "foo" (features are written as calls: rate(calls, 1s))`},
		"deep":                 {strings.Repeat("(1 + ", 17) + "count(calls, 1m)" + strings.Repeat(")", 17) + " > 1", `3:88: the condition needs more than 16 values at once (name fewer values in parentheses)`},
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
