package risk

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Whoever follows risks in another language tests against these vectors; this one passes them all.
func TestVectorsOfRisks(t *testing.T) {
	b, err := os.ReadFile("../../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Keys  json.RawMessage
		Risks []struct {
			Name  string
			Steps []struct {
				Now     string
				Message *struct{ Subject, Token string }
				Agent   *struct{ Tenant, Agent string }
				Outcome string
				Score   int
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	verifier, err := revoke.ParseVerifier(v.Keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Risks) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Risks {
		var now time.Time
		f, err := New(Options{Conn: &nats.Conn{}, Verifier: verifier, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range c.Steps {
			ns, err := strconv.ParseInt(s.Now, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			now = time.Unix(0, ns)
			if s.Message != nil {
				f.take(s.Message.Subject, []byte(s.Message.Token))
				continue
			}
			if got := f.Of(s.Agent.Tenant, s.Agent.Agent); string(got.Level) != s.Outcome || got.Score != s.Score {
				t.Errorf("%s: step %d: %+v, want %s %d", c.Name, i, got, s.Outcome, s.Score)
			}
		}
	}
}
