package notify

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/revoke"
)

// required are the attributes that OCSF 1.5.0 requires, as read from ocsf/ocsf-schema: of a class from
// events/base_event.json, events/findings/finding.json and events/remediation/remediation_activity.json, of an
// object from objects/NAME.json. Where the schema wants one of several, one of ours stands here.
var required = map[string][]string{
	"2004":         {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "finding_info"},
	"7001":         {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "command_uid"},
	"metadata":     {"product", "version"},
	"product":      {"name"},
	"finding_info": {"uid"},
	"analytic":     {"type_id", "uid"},
	"actor":        {"app_name"},
	"user":         {"uid"},
	"api":          {"operation"},
	"remediation":  {"desc"},
	"resources":    {"name"},
	"evidences":    {"actor"},
}

// checkRequired walks an event and its objects.
func checkRequired(t *testing.T, name string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			checkRequired(t, name, e)
		}
	case map[string]any:
		for _, key := range required[name] {
			if v[key] == nil || v[key] == "" {
				t.Errorf("%s has no %s", name, key)
			}
		}
		for key, value := range v {
			if key != "unmapped" {
				checkRequired(t, key, value)
			}
		}
	}
}

func TestASIEMGetsWhatItsSchemaRequires(t *testing.T) {
	held := revoke.Decision{Verdict: revoke.Held, At: noon, Why: "held back", Order: stopped("d9", "acme", "bot").Revocation}
	bare := detected()
	bare.Detection.Identity, bare.Detection.Session, bare.Detection.Action, bare.Detection.Resource, bare.Detection.Tags = "", "", "", "", nil
	action := func(a revoke.Action) *Event { return revoked(func(e *Event) { e.Revocation.Action = a }) }
	for name, c := range map[string]struct {
		event                          *Event
		class                          string
		activity, severity, typ, state float64
	}{
		"detection":         {detected(), "2004", 1, 4, 200401, 1},
		"bare detection":    {bare, "2004", 1, 4, 200401, 1},
		"revoke":            {action(revoke.Revoke), "7001", 2, 4, 700102, 1},
		"restrict":          {action(revoke.Restrict), "7001", 1, 3, 700101, 1},
		"throttle":          {action(revoke.Throttle), "7001", 1, 3, 700101, 1},
		"release":           {action(revoke.Release), "7001", 3, 1, 700103, 1},
		"held":              {&Event{ID: "decision-d9-held", Kind: Decision, Tenant: "acme", Time: noon, Decision: &held}, "7001", 2, 4, 700102, 99},
		"an action to come": {action("quarantine"), "7001", 99, 0, 700199, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := (&siem{version: "v1"}).message(c.event, noon)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(m.body, &got); err != nil {
				t.Fatal(err)
			}
			checkRequired(t, c.class, got)
			metadata := got["metadata"].(map[string]any)
			have := []any{got["class_uid"], got["activity_id"], got["severity_id"], got["type_uid"], got["status_id"], got["time"], metadata["uid"], metadata["tenant_uid"], metadata["version"]}
			want := []any{map[string]float64{"2004": 2004, "7001": 7001}[c.class], c.activity, c.severity, c.typ, c.state, float64(noon.UnixMilli()), c.event.ID, "acme", "1.5.0"}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheCommandOfARemediationIsTheRevocation(t *testing.T) {
	e := revoked(func(e *Event) { e.Revocation.ID = "k7" })
	o, err := ocsf(e, "v1")
	if err != nil || o.CommandUID != "k7" || o.Message != "revoke agent bot of tenant acme: loop: evidence" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestSplunkGetsItsWrapper(t *testing.T) {
	to := newReceiver(t, nil)
	f := mustLoad(t, "sinks:\n  - {name: splunk, type: siem, format: hec, index: agents, token: {env: T}, url: "+to.URL+"/services/collector/event}\n", map[string]string{"T": "hec-token"})
	if err := f.Sinks[0].Send(t.Context(), detected(), noon); err != nil {
		t.Fatal(err)
	}
	q := to.all()[0]
	var got map[string]any
	if err := json.Unmarshal(q.body, &got); err != nil {
		t.Fatal(err)
	}
	if got["time"] != float64(noon.Unix()) || got["index"] != "agents" || q.header.Get("Authorization") != "Splunk hec-token" {
		t.Errorf("%v %v", got, q.header)
	}
	checkRequired(t, "2004", got["event"])
	if strings.Contains(string(q.body), "hec-token") {
		t.Error("the token is in the body")
	}
}
