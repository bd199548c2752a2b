package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/labelled"
)

// prepared is a record of the labelled data as others mapped it.
type prepared struct {
	ID, TS, Tenant, Agent, Identity, Session, Action, Resource, Outcome string
	Chain                                                               []string
}

func TestRealCloudTrailRecordsDecodeAsOthersMappedThem(t *testing.T) {
	want := map[string]prepared{}
	var raws [][]byte
	for _, set := range []string{"invictus", "stratus"} {
		for line := range labelled.Lines(t, "cloudtrail/"+set+".jsonl.gz") {
			var p prepared
			if err := json.Unmarshal(line, &p); err != nil {
				t.Fatal(err)
			}
			want[p.ID] = p
		}
		for line := range labelled.Lines(t, "cloudtrail/raw/"+set+".cloudtrail.jsonl.gz") {
			raws = append(raws, bytes.Clone(line))
		}
	}
	var d Decoder
	var c Call
	for i, raw := range raws {
		d.Start(CloudTrail, raw)
		if err := d.Next(&c); err != nil {
			t.Fatalf("record %d: %v\n%s", i, err, raw)
		}
		p, ok := want[string(c.ID)]
		if !ok {
			t.Fatalf("record %d: id %q is not among the prepared ones", i, c.ID)
		}
		comparePrepared(t, &c, p)
	}
	if len(raws) != 1124 {
		t.Errorf("read %d records, want 1124", len(raws))
	}
}

// comparePrepared compares where both mappings mean the same. By design ours differs in:
// identity (the whole ARN), session (empty where AWS gives neither key nor principal), and
// resource (a parameter becomes an ARN, and a call on no resource acts on the service).
func comparePrepared(t *testing.T, c *Call, p prepared) {
	t.Helper()
	check := func(field string, got, want string) {
		if got != want {
			t.Errorf("%s: %s is %q, others have %q", c.ID, field, got, want)
		}
	}
	check("tenant", string(c.Tenant), p.Tenant)
	check("agent", string(c.Agent), p.Agent)
	check("action", string(c.Action), p.Action)
	check("outcome", c.Outcome.String(), outcomeOfCode(p.Outcome))
	check("time", time.Unix(0, c.Time).UTC().Format(time.RFC3339), p.TS)
	if strings.HasPrefix(p.Resource, "arn:") {
		check("resource", string(c.Resource), p.Resource)
	}
	if p.Resource != "" && len(c.Resource) == 0 {
		t.Errorf("%s: no resource, others have %q", c.ID, p.Resource)
	}
	_, name, _ := strings.Cut(p.Identity, "/")
	if !strings.HasSuffix(string(c.Identity), "/"+name) {
		t.Errorf("%s: identity is %q, others have %q", c.ID, c.Identity, p.Identity)
	}
	if strings.HasPrefix(p.Session, "KEY") {
		check("session", string(c.Session), p.Session)
	}
}

// outcomeOfCode maps the error codes that are in the labelled data.
func outcomeOfCode(code string) string {
	switch code {
	case "ok":
		return "ok"
	case "AccessDenied", "Client.UnauthorizedOperation":
		return "denied"
	}
	return "error"
}
