package cloudtrail

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/telemetry"
)

func lines(t *testing.T, seed uint64, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, seed, n); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSameSeedGivesSameBytes(t *testing.T) {
	if !bytes.Equal(lines(t, 1, 500), lines(t, 1, 500)) {
		t.Error("seed 1 gave two different outputs")
	}
	if bytes.Equal(lines(t, 1, 500), lines(t, 2, 500)) {
		t.Error("seeds 1 and 2 gave the same output")
	}
}

func TestEveryRecordDecodes(t *testing.T) {
	var d telemetry.Decoder
	var c telemetry.Call
	outcomes, agents, last := map[string]int{}, map[string]bool{}, int64(0)
	backwards, chains := 0, 0
	raw := lines(t, 3, 5000)
	for line := range bytes.Lines(raw) {
		d.Start(telemetry.Auto, line)
		if err := d.Next(&c); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if d.Format() != telemetry.CloudTrail {
			t.Fatalf("format %v of %s", d.Format(), line)
		}
		if len(c.ID) == 0 || string(c.Tenant) != accountID || len(c.Agent) == 0 || !strings.Contains(string(c.Action), ":") {
			t.Fatalf("id %q, tenant %q, agent %q, action %q of %s", c.ID, c.Tenant, c.Agent, c.Action, line)
		}
		outcomes[c.Outcome.String()]++
		agents[string(c.Agent)] = true
		if c.Time < last {
			backwards++
		}
		last = c.Time
		if len(c.Chain) > 1 {
			chains++
		}
	}
	if outcomes["denied"] < 100 || outcomes["error"] < 100 || outcomes["ok"] < 4000 {
		t.Errorf("outcomes %v", outcomes)
	}
	if len(agents) < 15 || len(agents) > 60 || backwards < 300 || chains < 500 {
		t.Errorf("%d agents, %d times backwards, %d chains", len(agents), backwards, chains)
	}
}

func TestFileHoldsTheSameRecords(t *testing.T) {
	var file bytes.Buffer
	if err := WriteFile(&file, 5, 300); err != nil {
		t.Fatal(err)
	}
	var got struct{ Records []json.RawMessage }
	if err := json.Unmarshal(file.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var want []json.RawMessage
	for line := range bytes.Lines(lines(t, 5, 300)) {
		want = append(want, bytes.TrimSpace(line))
	}
	if diff := cmp.Diff(want, got.Records); diff != "" {
		t.Error(diff)
	}
	var d telemetry.Decoder
	var c telemetry.Call
	n := 0
	for d.Start(telemetry.Auto, file.Bytes()); ; n++ {
		if err := d.Next(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 300 {
		t.Errorf("%d calls decoded, want 300", n)
	}
	file.Reset()
	if err := WriteFile(&file, 5, 0); err != nil || file.String() != `{"Records":[]}` {
		t.Errorf("no records: %q, %v", file.String(), err)
	}
}

// The shares are those measured on real records; the package comment states them.
func TestRecordsKeepTheStatedShares(t *testing.T) {
	const n = 20_000
	count := map[string]float64{}
	for line := range bytes.Lines(lines(t, 7, n)) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse("2006-01-02T15:04:05Z", r.EventTime); err != nil {
			t.Fatal(err)
		}
		tally := func(name string, is bool) {
			if is {
				count[name]++
			}
		}
		u := r.UserIdentity
		tally("no type", u.Type == "")
		tally("no session context", u.SessionContext == nil)
		tally("invoked by", u.InvokedBy != "")
		tally("errors", r.ErrorCode != "")
		tally("throttled", r.ErrorCode == "ThrottlingException")
		tally("omitted", r.RequestParameters["omitted"] == true)
		tally("empty key", u.AccessKeyID != nil && *u.AccessKeyID == "")
		tally("unknown field", r.Future != nil)
		tally("compact date", u.SessionContext != nil && !strings.Contains(u.SessionContext.Attributes.CreationDate, "-"))
	}
	f := func(name string, low, high float64) {
		t.Helper()
		got := count[name] / n
		t.Logf("%-20s %.4f", name, got)
		if got < low || got > high {
			t.Errorf("%s: share %.4f, want %g to %g", name, got, low, high)
		}
	}
	f("no type", 0.010, 0.018)
	f("no session context", 0.20, 0.27)
	f("invoked by", 0.10, 0.14)
	f("errors", 0.11, 0.15)
	f("throttled", 0.035, 0.050)
	f("omitted", 0.01, 0.03)
	f("empty key", 0.005, 0.03)
	f("unknown field", 0.005, 0.02)
	f("compact date", 0.08, 0.15)
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteReportsItsWritersError(t *testing.T) {
	if err := Write(full{}, 1, 100); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		// One op is 1,000 records.
		if err := Write(io.Discard, 1, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
