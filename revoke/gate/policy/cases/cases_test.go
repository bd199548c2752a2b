package cases_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/gate/policy/cases"
)

const policies = `
@id("reads") permit (principal == Agent::"acme/bot", action == Action::"GET", resource) when { context.hour < 18 };
@id("exports") permit (principal, action == Action::"POST", resource) when { principal.risk.score < 30 && principal.chain.contains("planner") && context.call.server == "crm" };
@id("never") @reason("by law") forbid (principal, action == Action::"DELETE", resource);
@id("idle") permit (principal == Agent::"acme/nobody", action, resource);
`

const tests = `
- name: reads at noon
  call: {tenant: acme, agent: bot, action: GET, resource: /a}
  want: allow
  policies: [reads]
- name: not in the evening
  call: {tenant: acme, agent: bot, action: GET, resource: /a}
  time: 2026-11-24T20:00:00Z
  want: deny
  policies: []
- name: exports while low
  call: {tenant: acme, agent: bot, chain: [planner, bot], action: POST, resource: /a}
  risk: low
  context: {server: crm}
  want: allow
- name: not with a higher score
  call: {tenant: acme, agent: bot, chain: [planner, bot], action: POST, resource: /a}
  risk: low
  score: 40
  context: {server: crm}
  want: deny
- name: by law
  call: {tenant: acme, agent: bot, action: DELETE, resource: /a}
  want: deny
  policies: [never]
  reason: by law
`

func TestCasesAreHeldAgainstThePolicies(t *testing.T) {
	set, err := policy.LoadFS(fstest.MapFS{"p.cedar": {Data: []byte(policies)}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	load := func(text string) []cases.Case {
		t.Helper()
		all, err := cases.LoadFS(fstest.MapFS{"a/p_test.yaml": {Data: []byte(text)}, "other.yaml": {Data: []byte("{")}}, ".")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	results, untested := cases.Run(set, load(tests))
	for _, r := range results {
		if r.Failure != "" {
			t.Errorf("%s:%d %s: %s", r.File, r.Line, r.Name, r.Failure)
		}
	}
	if diff := cmp.Diff([]string{"idle"}, untested); diff != "" || len(results) != 5 {
		t.Error(diff, len(results))
	}
	for text, want := range map[string]string{
		"\n- {name: a, call: {tenant: acme, agent: bot, action: GET}, want: deny}":                        "want deny, got allow by reads",
		"\n- {name: a, call: {tenant: acme, agent: bot, action: GET}, want: allow, policies: [exports]}":  "want it decided by exports, got reads",
		"\n- {name: a, call: {tenant: acme, agent: bot, action: PUT}, want: allow}":                       "want allow, got deny by no policy: no policy permits it",
		"\n- {name: a, call: {tenant: acme, agent: bot, action: DELETE}, want: deny, reason: by decree}":  `the reason is "forbidden by policy never: by law", without "by decree"`,
		"\n- {name: a, call: {tenant: acme, agent: bot, action: GET}, policies: [], want: allow}":         "want it decided by no policy, got reads",
		"\n- {name: a, call: {tenant: acme, agent: bot, action: GET, resource: /a/../b}, want: allow}":    "two ways",
		"\n- {name: a, verdict: throttle, call: {tenant: t, agent: bot, action: GET}, want: allow}":       "no policy",
		"\n- {name: a, call: {tenant: acme, agent: bot, action: POST}, risk: low, score: 1, want: allow}": "no policy",
	} {
		results, _ := cases.Run(set, load(text))
		if len(results) != 1 || !strings.Contains(results[0].Failure, want) || results[0].Line != 2 {
			t.Errorf("%s: got %+v, want %s", text, results, want)
		}
	}
}

func TestMistakesInCasesNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"- {name: a, call: {tenant: acme, agent: bot}, want: maybe}":               `p_test.yaml:1:3: "a": want: "maybe" is neither allow nor deny`,
		"- {name: a, call: {tenant: acme, agnet: bot}, want: deny}":                `p_test.yaml:1:3: field agnet not found`,
		"\n- {call: {tenant: acme, agent: bot}, want: deny}":                       `p_test.yaml:2:3: a test without a name`,
		"- {name: a, call: {agent: bot}, want: deny}":                              `a tenant and an agent are needed`,
		"- {name: a, risk: hgih, call: {tenant: acme, agent: bot}, want: deny}":    `"hgih" is none of low, medium, high, unknown`,
		"- {name: a, score: 101, call: {tenant: acme, agent: bot}, want: deny}":    `101 is not between 0 and 100`,
		"- {name: a, verdict: deny, call: {tenant: acme, agent: bot}, want: deny}": `"deny" is none of allow, throttle, restrict`,
		"name: a":                          `p_test.yaml: it is not a list of tests`,
		"- [":                              `p_test.yaml: it is not a list of tests`,
		"- {name: a, call: 7, want: deny}": `p_test.yaml:1:3: cannot unmarshal`,
	} {
		all, err := cases.LoadFS(fstest.MapFS{"p_test.yaml": {Data: []byte(text)}}, ".")
		if err == nil || !strings.Contains(err.Error(), want) || all != nil {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzWhateverStandsInAFileOfCases(f *testing.F) {
	f.Add([]byte(tests))
	f.Add([]byte("- &a [*a]"))
	f.Add([]byte("- {<<: 1}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := cases.LoadFS(fstest.MapFS{"p_test.yaml": {Data: b}}, ".")
		if err != nil && all != nil {
			t.Error("both tests and an error")
		}
	})
}
