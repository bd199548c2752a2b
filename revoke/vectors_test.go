package revoke

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"
)

var updateVectors = flag.Bool("update", false, "write testdata/vectors.json")

const vectorsFile = "testdata/vectors.json"

// vectors are what every implementation of a guard is tested with. The file is made here, out of
// a fixed key; this package checks what it says of tokens and names, revoke/guard and the guards
// in other languages check all of it.
type vectors struct {
	About    []string            `json:"about"`
	Issuer   string              `json:"issuer"`
	Audience string              `json:"audience"`
	Keys     json.RawMessage     `json:"keys"` // a JWK set
	Names    []vectorName        `json:"names"`
	Tenants  []vectorTenant      `json:"tenants"`
	KeySets  []vectorKeySet      `json:"key_sets"`
	Risks    []vectorRisk        `json:"risks"`
	Cases    []vectorCase        `json:"cases"`
	ids      map[string]struct{} // of cases
}

type vectorName struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

type vectorTenant struct {
	Name string `json:"name"`
	Key  string `json:"key"` // hexadecimal
}

// vectorKeySet is a key set, and whether a guard takes it.
type vectorKeySet struct {
	Name  string          `json:"name"`
	Keys  json.RawMessage `json:"keys"`
	Taken bool            `json:"taken"`
}

// vectorCase is what happens to one new guard, in order.
type vectorCase struct {
	Name   string          `json:"name"`
	Serves []string        `json:"serves"`         // tenants; none: all
	Keys   json.RawMessage `json:"keys,omitempty"` // in place of those of all cases
	Steps  []vectorStep    `json:"steps"`
}

// vectorStep is one of a message, a heartbeat, a call, or a look at the digest, and what comes of it.
type vectorStep struct {
	Now     int64          `json:"now,string"` // the guard's clock, ns
	Message *vectorMessage `json:"message,omitempty"`
	Beat    string         `json:"beat,omitempty"`
	Call    *vectorCall    `json:"call,omitempty"`
	Digest  *vectorDigest  `json:"digest,omitempty"`

	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"` // of what is refused
	By      string `json:"by,omitempty"`     // the revocation that decides a call
	Unknown bool   `json:"unknown,omitempty"`
}

type vectorMessage struct {
	Subject  string `json:"subject"`
	Token    string `json:"token"`
	Sequence uint64 `json:"sequence,omitempty"` // in the stream; none: over core NATS
}

type vectorCall struct {
	Tenant             string   `json:"tenant"`
	Agent              string   `json:"agent"`
	Identity           string   `json:"identity,omitempty"`
	Session            string   `json:"session,omitempty"`
	Chain              []string `json:"chain,omitempty"`
	CredentialIssuedAt int64    `json:"credential_issued_at,omitempty,string"` // ns
}

type vectorDigest struct {
	Tenant string `json:"tenant,omitempty"` // none: of all
	AsOf   int64  `json:"as_of"`            // s
	Count  uint64 `json:"count"`
	Digest string `json:"digest"` // hexadecimal
}

// scenario builds one case.
type scenario struct{ vectorCase }

func (v *vectors) add(name string, build func(*scenario)) {
	if _, twice := v.ids[name]; twice {
		panic("two cases are named " + name)
	}
	v.ids[name] = struct{}{}
	s := &scenario{vectorCase{Name: name, Serves: []string{}}}
	build(s)
	v.Cases = append(v.Cases, s.vectorCase)
}

func (s *scenario) step(at time.Time, step vectorStep) *vectorStep {
	step.Now = at.UnixNano()
	s.Steps = append(s.Steps, step)
	return &s.Steps[len(s.Steps)-1]
}

// hear is a genuine message on its own subject.
func (s *scenario) hear(at time.Time, r Revocation, outcome string) *vectorStep {
	return s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(r), Token: mustForge(r)}, Outcome: outcome,
		Unknown: outcome == "applied" && !(r.Scope.Valid() && r.Action.Valid())})
}

// stored is a genuine message that is read from the stream.
func (s *scenario) stored(at time.Time, r Revocation, sequence uint64) {
	s.hear(at, r, "applied").Message.Sequence = sequence
}

func (s *scenario) refuse(at time.Time, subject, token, reason string) {
	s.step(at, vectorStep{Message: &vectorMessage{Subject: subject, Token: token}, Outcome: "refused", Reason: reason})
}

// call is a call, its verdict, and which revocation decides it, if one does.
func (s *scenario) call(at time.Time, c vectorCall, verdict string, by ...string) {
	step := s.step(at, vectorStep{Call: &c, Outcome: verdict})
	if len(by) > 0 {
		step.By = by[0]
	}
}

func (s *scenario) beat(at time.Time, token, outcome string) *vectorStep {
	return s.step(at, vectorStep{Beat: token, Outcome: outcome})
}

// digest is of the ledger that it is given, as of the second of at.
func (s *scenario) digest(at time.Time, l *Ledger, tenant string) {
	v, ok := l.At(at.Unix())
	if !ok {
		panic("too late")
	}
	d, n := v.All()
	if tenant != "" {
		account := v.of(l.tenants[TenantKeyOf(tenant)])
		d, n = account.digest(), account.n
	}
	s.step(at, vectorStep{Digest: &vectorDigest{tenant, at.Unix(), n, hexadecimal(d[:])}, Outcome: "same"})
}

func newVectors() *vectors {
	v := &vectors{
		About: []string{
			"Test vectors of the protocol, version 1. Made by go test ./revoke -run Vectors -update; docs/protocol.md says how to use them.",
			"The keys are of no other use.",
		},
		Issuer: DefaultIssuer, Audience: DefaultAudience, ids: make(map[string]struct{}),
	}
	v.Keys = must(testSigner.Verifier().marshal())
	v.addNames()
	v.addTargets()
	v.addRefused()
	v.addTimes()
	v.addConflicts()
	v.addGlobal()
	v.addRoles()
	v.addApprovals()
	v.addKeySets()
	v.addRisks()
	v.addDigests()
	v.addBeats()
	return v
}

// The file is what this package makes, so nobody edits it by hand.
func TestVectorsAreUpToDate(t *testing.T) {
	want, err := json.MarshalIndent(newVectors(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *updateVectors {
		if err := os.WriteFile(vectorsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the tests make: go test ./revoke -run Vectors -update, if that is meant", vectorsFile)
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectorsOfNames(t *testing.T) {
	for _, n := range readVectors(t).Names {
		if got := Token(n.Name); got != n.Token {
			t.Errorf("Token(%q) = %q, want %q", n.Name, got, n.Token)
		}
	}
	for _, n := range readVectors(t).Tenants {
		key := TenantKeyOf(n.Name)
		if got := hexadecimal(key[:]); got != n.Key {
			t.Errorf("key of tenant %q = %q, want %q", n.Name, got, n.Key)
		}
	}
}

// What revoke/guard adds (order, calls, heartbeats) is tested there.
func TestVectorsOfTokens(t *testing.T) {
	v := readVectors(t)
	n := 0
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			keys := v.Keys
			if c.Keys != nil {
				keys = c.Keys
			}
			verifier, err := ParseVerifier(keys)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.Steps {
				if s.Message == nil {
					continue
				}
				n++
				_, believed := verifier.genuine(s.Message.Subject, []byte(s.Message.Token), time.Unix(0, s.Now))
				if want := s.Outcome != "refused"; believed != want {
					_, err := verifier.Verify([]byte(s.Message.Token), time.Unix(0, s.Now))
					t.Errorf("step %d: believed %v, want %v (%s): %v", i, believed, want, s.Reason, err)
				}
			}
		})
	}
	if n < 100 {
		t.Errorf("%d messages, fewer than there were", n)
	}
}
