package backtest

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// supposed is a response for five minutes.
func supposed(t *testing.T, action, scope string) detector.Supposed {
	t.Helper()
	text := "id: x\ntitle: x\nmode: enforce\nwhen: count(calls, 1s) > 1\nresponse: {action: " + action + ", scope: " + scope + ", for: 5m}\n"
	set, errs := detector.Load(fstest.MapFS{"x.yaml": {Data: []byte(text)}})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Sources[0].Supposed[0]
}

func TestTheGuardDeniesTheScopeAndNothingElse(t *testing.T) {
	d := &detector.Detection{Time: time.Unix(0, 0), Tenant: "acme", Agent: "a", Identity: "role", Session: "s", Chain: []string{"root", "a"}}
	call := func(change func(*telemetry.Call)) *telemetry.Call {
		c := &telemetry.Call{Time: int64(time.Minute), Tenant: []byte("acme"), Agent: []byte("x"), Identity: []byte("y"), Session: []byte("z"), Chain: [][]byte{[]byte("v"), []byte("x")}}
		change(c)
		return c
	}
	for _, tc := range []struct {
		scope  string
		change func(*telemetry.Call)
	}{
		{"agent", func(c *telemetry.Call) { c.Agent = []byte("a") }},
		{"agent", func(c *telemetry.Call) { c.Chain[0] = []byte("a") }},
		{"identity", func(c *telemetry.Call) { c.Identity = []byte("role") }},
		{"session", func(c *telemetry.Call) { c.Session = []byte("s") }},
		{"chain", func(c *telemetry.Call) { c.Chain[0] = []byte("root") }},
		{"tenant", func(*telemetry.Call) {}},
	} {
		g := NewGuard()
		g.Kill(supposed(t, "revoke", tc.scope), d)
		c := call(tc.change)
		if !g.Denies(c) {
			t.Errorf("%s: not denied", tc.scope)
		}
		if c.Time = int64(5 * time.Minute); g.Denies(c) {
			t.Errorf("%s: denied after the end", tc.scope)
		}
		if c := call(tc.change); tc.scope != "tenant" {
			if g.Denies(call(func(*telemetry.Call) {})) {
				t.Errorf("%s: somebody else is denied", tc.scope)
			}
			if c.Tenant = []byte("other"); g.Denies(c) {
				t.Errorf("%s: another tenant is denied", tc.scope)
			}
		}
	}
	g := NewGuard()
	if g.Kill(supposed(t, "throttle", "agent"), d); g.Denies(call(func(c *telemetry.Call) { c.Agent = []byte("a") })) {
		t.Error("a throttled agent is denied")
	}
}
