package guard

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// vectorStep is a step of a case in ../testdata/vectors.json; package revoke makes that file.
type vectorStep struct {
	Now     string
	Message *struct {
		Subject, Token string
		Sequence       uint64
	}
	Beat string
	Call *struct {
		Tenant, Agent, Identity, Session string
		Chain                            []string
		CredentialIssuedAt               string `json:"credential_issued_at"`
	}
	Digest *struct {
		Tenant, Digest string
		AsOf           int64 `json:"as_of"`
		Count          uint64
	}
	Outcome, Reason, By string
	Unknown             bool
}

// Whoever writes another guard tests against these vectors; this one passes them all.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Keys  json.RawMessage
		Cases []struct {
			Name   string
			Serves []string
			Keys   json.RawMessage
			Steps  []vectorStep
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			keys := v.Keys
			if c.Keys != nil {
				keys = c.Keys
			}
			verifier, err := revoke.ParseVerifier(keys)
			if err != nil {
				t.Fatal(err)
			}
			var now time.Time
			g, err := New(Options{
				Name: "g", Conn: &nats.Conn{}, Verifier: verifier, Tenants: c.Serves, All: len(c.Serves) == 0,
				Clock: func() time.Time { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.Steps {
				now = instant(t, s.Now)
				if got, want := s.play(t, g), (outcome{s.Outcome, s.Reason, s.By, s.Unknown}); got != want {
					t.Errorf("step %d: %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

type outcome struct {
	result, reason, by string
	unknown            bool
}

func instant(t *testing.T, ns string) time.Time {
	t.Helper()
	if ns == "" {
		return time.Time{}
	}
	n, err := strconv.ParseInt(ns, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, n)
}

func (s vectorStep) play(t *testing.T, g *Guard) outcome {
	t.Helper()
	before := g.Stats()
	switch {
	case s.Message != nil:
		g.take(s.Message.Subject, []byte(s.Message.Token), s.Message.Sequence, g.clock())
		return happened(before, g.Stats())
	case s.Beat != "":
		g.HearBeat(s.Beat)
		if o := happened(before, g.Stats()); o.result == "refused" {
			return o
		}
		return outcome{result: [...]string{same: "same", differs: "differs", behind: "behind", ahead: "ahead"}[g.pulse.compare(g.pulse.beat, true)]}
	case s.Call != nil:
		d := g.Check(&Call{
			Tenant: s.Call.Tenant, Agent: s.Call.Agent, Identity: s.Call.Identity, Session: s.Call.Session, Chain: s.Call.Chain,
			CredentialIssuedAt: instant(t, s.Call.CredentialIssuedAt),
		})
		o := outcome{result: d.Verdict.String()}
		if d.Revocation != nil {
			o.by = d.Revocation.ID
		}
		return o
	case s.Digest != nil:
		view, ok := g.pulse.ledger.At(s.Digest.AsOf)
		digest, n := view.All()
		if s.Digest.Tenant != "" {
			digest, n = view.Tenant(revoke.TenantKeyOf(s.Digest.Tenant)), s.Digest.Count
		}
		if !ok || n != s.Digest.Count || hex.EncodeToString(digest[:]) != s.Digest.Digest {
			return outcome{result: "differs"}
		}
		return outcome{result: "same"}
	}
	t.Fatal("a step of an unknown kind")
	return outcome{}
}

// happened tells what a guard did with a message from what it counted.
func happened(before, after Stats) outcome {
	o := outcome{unknown: after.Unknown > before.Unknown && after.Applied > before.Applied}
	switch {
	case after.Applied > before.Applied:
		o.result = "applied"
	case after.Duplicates > before.Duplicates:
		o.result = "duplicate"
	case after.Superseded > before.Superseded:
		o.result = "superseded"
	}
	for reason, n := range after.Refused {
		if n > before.Refused[reason] {
			o.result, o.reason = "refused", reason
		}
	}
	return o
}
