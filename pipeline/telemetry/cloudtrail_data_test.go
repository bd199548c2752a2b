package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// labelledData returns the folder of the labelled data, and skips the test without it.
func labelledData(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("ESTOP_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			data := filepath.Join(dir, "..", "shared", "data")
			if _, err := os.Stat(data); err == nil {
				return data
			}
			break
		}
	}
	t.Skip("no labelled data: set ESTOP_DATA")
	return ""
}

// gunzippedLines returns the lines of a gzip file.
func gunzippedLines(t testing.TB, name string) [][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for sc := bufio.NewReader(zr); ; {
		line, err := sc.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			lines = append(lines, line)
		}
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// prepared is a record of the labelled data as others mapped it.
type prepared struct {
	ID, TS, Tenant, Agent, Identity, Session, Action, Resource, Outcome string
	Chain                                                               []string
}

func TestRealCloudTrailRecordsDecodeAsOthersMappedThem(t *testing.T) {
	dir := filepath.Join(labelledData(t), "cloudtrail")
	want := map[string]prepared{}
	var raws [][]byte
	for _, set := range []string{"invictus", "stratus"} {
		for _, line := range gunzippedLines(t, filepath.Join(dir, set+".jsonl.gz")) {
			var p prepared
			if err := json.Unmarshal(line, &p); err != nil {
				t.Fatal(err)
			}
			want[p.ID] = p
		}
		raws = append(raws, gunzippedLines(t, filepath.Join(dir, "raw", set+".cloudtrail.jsonl.gz"))...)
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
