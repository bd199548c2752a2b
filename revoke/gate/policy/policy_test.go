package policy_test

import (
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/guard"
)

var (
	low    = policy.Risk{Level: revoke.RiskLow, Score: 3}
	medium = policy.Risk{Level: revoke.RiskMedium, Score: 60}
	high   = policy.Risk{Level: revoke.RiskHigh, Score: 100}
)

// load compiles one file of policies, and entities if there are any.
func load(t testing.TB, policies string, entities ...string) *policy.Set {
	t.Helper()
	files := fstest.MapFS{"p.cedar": {Data: []byte(policies)}}
	for _, e := range entities {
		files[policy.EntitiesFile] = &fstest.MapFile{Data: []byte(e)}
	}
	set, err := policy.LoadFS(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// request is a call of the support bot, changed.
func request(change ...func(*gate.Request)) *gate.Request {
	q := &gate.Request{
		Call: guard.Call{Tenant: "acme", Agent: "support-bot", Action: "GET", Resource: "/tickets/7"},
		Time: time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC), Reads: true, Gate: "http",
	}
	for _, f := range change {
		f(q)
	}
	return q
}

func on(action, resource string) func(*gate.Request) {
	return func(q *gate.Request) { q.Call.Action, q.Call.Resource = action, resource }
}

const support = `
@id("support-reads")
permit (principal == Agent::"acme/support-bot", action == Action::"GET", resource in Resource::"/tickets");

@id("support-exports")
permit (principal == Agent::"acme/support-bot", action == Action::"POST", resource == Resource::"/tickets/export")
when { principal.risk.level == "low" };

@id("nobody-deletes")
@reason("Tickets are kept for seven years.")
forbid (principal, action == Action::"DELETE", resource in Resource::"/tickets");
`

func TestPoliciesPermitForbidAndSayWhich(t *testing.T) {
	s := load(t, support)
	for _, c := range []struct {
		name string
		q    *gate.Request
		risk policy.Risk
		want gate.Permission
	}{
		{"permitted", request(), high, gate.Permission{Allowed: true, Policies: []string{"support-reads"}}},
		{"permitted while the risk is low", request(on("POST", "/tickets/export")), low, gate.Permission{Allowed: true, Policies: []string{"support-exports"}}},
		{"not when it is medium", request(on("POST", "/tickets/export")), medium, gate.Permission{Reason: "no policy permits it"}},
		{"nor when nothing is known", request(on("POST", "/tickets/export")), policy.Unknown, gate.Permission{Reason: "no policy permits it"}},
		{"forbidden, with the reason", request(on("DELETE", "/tickets/7")), low, gate.Permission{
			Policies: []string{"nobody-deletes"}, Reason: "forbidden by policy nobody-deletes: Tickets are kept for seven years."}},
		{"another agent", request(func(q *gate.Request) { q.Call.Agent = "other" }), low, gate.Permission{Reason: "no policy permits it"}},
		{"another tenant's agent of the same name", request(func(q *gate.Request) { q.Call.Tenant = "globex" }), low, gate.Permission{Reason: "no policy permits it"}},
		{"a resource beside", request(on("GET", "/tickets-private/7")), low, gate.Permission{Reason: "no policy permits it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, s.Authorize(c.q, c.risk)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// permits says whether a condition on a request of the support bot holds.
func permits(t *testing.T, condition string, q *gate.Request, r policy.Risk, entities ...string) bool {
	t.Helper()
	p := load(t, "permit (principal, action, resource) when { "+condition+" };", entities...).Authorize(q, r)
	if strings.Contains(p.Reason, "evaluated") {
		t.Errorf("%s: %s", condition, p.Reason)
	}
	return p.Allowed
}

func TestWhatPoliciesSeeOfACall(t *testing.T) {
	q := request(func(q *gate.Request) {
		q.Call.Identity, q.Call.Session, q.Call.Chain = "role/reader", "s1", []string{"planner", "helper", "support-bot"}
		q.Call.Action, q.Call.Resource = "tools/call:export", "mcp://crm/export"
		q.Verdict, q.Context = guard.Restrict, map[string]string{"server": "crm"}
	})
	for _, holds := range []string{
		`principal == Agent::"acme/support-bot"`, `principal in Tenant::"acme"`, `principal.tenant == "acme"`, `principal.agent == "support-bot"`,
		`principal.identity == "role/reader"`, `principal.session == "s1"`,
		`principal.chain.contains("helper")`, `principal.root == "planner"`, `principal.depth == 3`,
		`principal.risk.level == "medium"`, `principal.risk.score == 60`,
		`action == Action::"tools/call:export"`, `action in Action::"tools/call"`,
		`resource == Resource::"mcp://crm/export"`, `resource in Resource::"mcp://crm"`,
		`resource.name == "mcp://crm/export"`, `resource.tenant == "acme"`, `resource.scheme == "mcp"`, `resource.host == "crm"`, `resource.path == "/export"`,
		`context.hour == 9`, `context.weekday == "tuesday"`, `context.time > datetime("2026-11-24T09:00:00Z")`,
		`context.verdict == "restrict"`, `context.reads`, `context.gate == "http"`, `context.call.server == "crm"`,
		`!(context.call has other)`,
	} {
		if !permits(t, holds, q, medium) {
			t.Errorf("%s does not hold", holds)
		}
	}
	for _, holds := range []string{`principal.identity == ""`, `principal.root == "support-bot"`, `principal.depth == 1`, `principal.chain.contains("support-bot")`, `principal.risk.level == "unknown"`, `principal.risk.score == 100`} {
		if !permits(t, holds, request(), policy.Unknown) {
			t.Errorf("%s does not hold for a bare call", holds)
		}
	}
}

func TestEntitiesAddGroupsAndAttributesAndCannotForgeWhatTheGateKnows(t *testing.T) {
	const entities = `[
	  {"uid": {"type": "Agent", "id": "acme/support-bot"}, "attrs": {"owner": "ada", "risk": {"level": "low", "score": 0}}, "parents": [{"type": "Team", "id": "support"}]},
	  {"uid": {"type": "Team", "id": "support"}, "attrs": {}, "parents": [{"type": "Team", "id": "people"}]},
	  {"uid": {"type": "Resource", "id": "/tickets"}, "attrs": {}, "parents": [{"type": "Class", "id": "internal"}]}
	]`
	for _, holds := range []string{`principal in Team::"people"`, `principal.owner == "ada"`, `principal.risk.level == "high"`, `resource in Class::"internal"`, `resource in Resource::"/"`, `principal in Tenant::"acme"`} {
		if !permits(t, holds, request(), high, entities) {
			t.Errorf("%s does not hold", holds)
		}
	}
}

// Evaluation errors leave a policy out in plain Cedar. Of a forbid that would be a hole.
func TestAForbidThatCannotBeEvaluatedDenies(t *testing.T) {
	s := load(t, `permit (principal, action, resource); @id("typo") forbid (principal, action, resource) when { principal.riks.level == "high" };`)
	p := s.Authorize(request(), low)
	if p.Allowed || !cmp.Equal(p.Policies, []string{"typo"}) || !strings.Contains(p.Reason, "typo cannot be evaluated") || !strings.Contains(p.Reason, "riks") {
		t.Errorf("got %+v", p)
	}
	s = load(t, `@id("typo") permit (principal, action, resource) when { principal.riks.level == "low" };`)
	if p := s.Authorize(request(), low); p.Allowed || !strings.Contains(p.Reason, "typo cannot be evaluated") {
		t.Errorf("got %+v", p)
	}
}

func TestAResourceWithTwoReadingsIsDenied(t *testing.T) {
	s := load(t, `permit (principal, action, resource); forbid (principal, action, resource in Resource::"/payments");`)
	for _, resource := range []string{
		"//payments", "/a/../payments", "/./payments", "/payments/..", "/.", "/payments;v=1/7", `/a\payments`, "/%70ayments%2f7", "/a/%2E%2e/payments", "/a%252fb", "/a\x00b", "/a/%5cb",
		"/proxy/http://payments", "mcp://s/../x", strings.Repeat("/a", 65),
	} {
		if p := s.Authorize(request(on("GET", resource)), low); p.Allowed || p.Reason == "" {
			t.Errorf("%q passes: %+v", resource, p)
		}
	}
	for _, resource := range []string{"/", "", "/a%20b", "/a.b/..c/d..", "orders", "estop.v1.Orders", "mcp://files/file:///srv/a", "mcp://files/read", "s3://bucket/key", "/pay ments/7"} {
		if p := s.Authorize(request(on("GET", resource)), low); !p.Allowed {
			t.Errorf("%q is denied: %+v", resource, p)
		}
	}
	for _, resource := range []string{"/payments", "/payments/", "/payments/7", "/payments" + strings.Repeat("/a", 50)} {
		if s.Authorize(request(on("GET", resource)), low).Allowed {
			t.Errorf("%q is not in /payments", resource)
		}
	}
}

func TestMistakesNameFileLineAndColumn(t *testing.T) {
	ok := "permit (principal, action, resource);"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"syntax":           {map[string]string{"a/b.cedar": "permit (principal,\n  action, resorce);"}, `a/b.cedar:2:18: at ")": exact got resorce want resource`},
		"no end":           {map[string]string{"b.cedar": ok + "\nforbid (principal, action, resource)"}, `b.cedar:2:`},
		"the same id":      {map[string]string{"a.cedar": `@id("x") ` + ok, "b.cedar": "\n" + `@id("x") ` + ok}, `b.cedar:2:1: the id "x" is taken by the policy at a.cedar:1`},
		"entities":         {map[string]string{"a.cedar": ok, "entities.json": "[\n {]"}, `entities.json:2:3: `},
		"an entity":        {map[string]string{"a.cedar": ok, "entities.json": `[{"uid": {"type": "A", "id": "b"}}]`}, `entities.json: `},
		"not UTF-8":        {map[string]string{"a.cedar": "// \xff\n" + ok}, `a.cedar: it is not UTF-8`},
		"no policy":        {map[string]string{"a.txt": ok}, `no policy`},
		"an empty file":    {map[string]string{"a.cedar": "// none"}, `no policy`},
		"schema":           {map[string]string{"a.cedar": ok, "schema.cedarschema": "entity Agent = {;"}, `schema.cedarschema:1:`},
		"against a schema": {map[string]string{"a.cedar": "\npermit (principal, action, resource) when { principal.riks };", "schema.cedarschema": schemaText}, `a.cedar:2:1: `},
	} {
		files := fstest.MapFS{}
		for n, text := range c.files {
			files[n] = &fstest.MapFile{Data: []byte(text)}
		}
		set, err := policy.LoadFS(files, ".")
		if err == nil || !strings.Contains(err.Error(), c.want) || set != nil {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

const schemaText = `entity Agent { risk: { level: String, score: Long } }; entity Resource;
action "GET" appliesTo { principal: Agent, resource: Resource };`

func TestPoliciesHoldAgainstTheirSchema(t *testing.T) {
	_, err := policy.LoadFS(fstest.MapFS{
		"a.cedar":            {Data: []byte(`permit (principal, action == Action::"GET", resource) when { principal.risk.level == "low" };`)},
		"schema.cedarschema": {Data: []byte(schemaText)},
	}, ".")
	if err != nil {
		t.Error(err)
	}
}

func TestAPolicyWithoutAnIDIsCalledByItsPlace(t *testing.T) {
	s := load(t, `permit (principal, action == Action::"a", resource); permit (principal, action, resource);`)
	if diff := cmp.Diff([]string{"p#1", "p#2"}, s.IDs()); diff != "" {
		t.Error(diff)
	}
}

func TestDecisionsAreSafeAtOnce(t *testing.T) {
	s := load(t, support)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				q := request(on("POST", "/tickets/export"))
				r := low
				if i%2 == 0 {
					r = high
				}
				if s.Authorize(q, r).Allowed != (r == low) {
					t.Error("a wrong decision")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzWhateverACallSaysADecisionIsMade(f *testing.F) {
	s := load(f, support+`forbid (principal, action, resource) when { context.hour > 25 || resource.path like "*secret*" };`)
	f.Add("acme", "bot", "GET", "/a/b", "x")
	f.Add("", "\xff", "a:b:c", "mcp://a/file:///b", "\x00")
	f.Fuzz(func(t *testing.T, tenant, agent, action, resource, value string) {
		p := s.Authorize(&gate.Request{Call: guard.Call{Tenant: tenant, Agent: agent, Action: action, Resource: resource, Chain: []string{value}, Identity: value}, Context: map[string]string{value: value}}, low)
		if p.Allowed && (agent != "support-bot" || tenant != "acme") || p.Allowed == (p.Reason != "") {
			t.Errorf("%+v", p)
		}
	})
}

func BenchmarkAuthorize(b *testing.B) {
	s := load(b, support)
	q := request(on("POST", "/tickets/export"))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !s.Authorize(q, low).Allowed {
				b.Error("denied")
			}
		}
	})
}
