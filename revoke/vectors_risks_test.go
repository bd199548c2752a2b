package revoke

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// vectorRisk is what happens to whoever follows risks, in order.
type vectorRisk struct {
	Name  string           `json:"name"`
	Steps []vectorRiskStep `json:"steps"`
}

// vectorRiskStep is a message and whether it is believed, or a question about an agent and the answer.
type vectorRiskStep struct {
	Now     int64          `json:"now,string"`
	Message *vectorMessage `json:"message,omitempty"`
	Agent   *vectorAgent   `json:"agent,omitempty"`

	Outcome string `json:"outcome"` // of a message believed or refused, of a question the level
	Reason  string `json:"reason,omitempty"`
	Score   int    `json:"score,omitempty"`
}

type vectorAgent struct {
	Tenant string `json:"tenant"`
	Agent  string `json:"agent"`
}

// riskScenario builds one case.
type riskScenario struct{ vectorRisk }

func (s *riskScenario) hear(at time.Time, r Risk) {
	s.Steps = append(s.Steps, vectorRiskStep{Now: at.UnixNano(), Outcome: "believed",
		Message: &vectorMessage{Subject: RiskSubject(r), Token: must(testSigner.SignRisk(r))}})
}

func (s *riskScenario) refuse(at time.Time, subject, token, reason string) {
	s.Steps = append(s.Steps, vectorRiskStep{Now: at.UnixNano(), Message: &vectorMessage{Subject: subject, Token: token}, Outcome: "refused", Reason: reason})
}

func (s *riskScenario) ask(at time.Time, agent string, level Level, score int) {
	s.Steps = append(s.Steps, vectorRiskStep{Now: at.UnixNano(), Agent: &vectorAgent{"acme", agent}, Outcome: string(level), Score: score})
}

func (v *vectors) addRisk(name string, build func(*riskScenario)) {
	s := &riskScenario{vectorRisk{Name: name}}
	build(s)
	v.Risks = append(v.Risks, s.vectorRisk)
}

func riskSample(change ...func(*Risk)) Risk {
	r := Risk{Tenant: "acme", Agent: "bot", Source: SourceEvidence, Level: RiskMedium, Score: 61,
		IssuedAt: issued, Until: issued.Add(time.Hour), Reason: "burst"}
	for _, f := range change {
		f(&r)
	}
	return r
}

func (v *vectors) addRisks() {
	r := riskSample()
	of := func(source string, l Level, score int, after time.Duration) Risk {
		return riskSample(func(r *Risk) { r.Source, r.Level, r.Score, r.IssuedAt = source, l, score, issued.Add(after) })
	}
	v.addRisk("unknown until something is heard, and after its end", func(s *riskScenario) {
		s.ask(issued, "bot", RiskUnknown, 100)
		s.hear(issued, r)
		s.ask(issued, "bot", RiskMedium, 61)
		s.ask(issued, "other", RiskUnknown, 100)
		s.ask(r.Until.Add(-1), "bot", RiskMedium, 61)
		s.ask(r.Until, "bot", RiskUnknown, 100)
	})
	v.addRisk("of several sources the highest, of one the last", func(s *riskScenario) {
		s.hear(issued, of(SourceEvidence, RiskLow, 5, 0))
		s.hear(issued, of(SourceOf("burst"), RiskHigh, 90, 0))
		s.ask(issued, "bot", RiskHigh, 90)
		s.hear(issued, of(SourceOf("spree"), RiskHigh, 95, 0))
		s.ask(issued, "bot", RiskHigh, 95)
		s.hear(issued, of(SourceOf("spree"), RiskLow, 0, 1))
		s.ask(issued, "bot", RiskHigh, 90)
		s.hear(issued, of(SourceOf("burst"), RiskMedium, 99, 2))
		s.ask(issued, "bot", RiskMedium, 99)
	})
	v.addRisk("an old one and the same one again change nothing", func(s *riskScenario) {
		s.hear(issued, of(SourceEvidence, RiskHigh, 90, 1))
		s.hear(issued, of(SourceEvidence, RiskLow, 1, 0))
		s.hear(issued, of(SourceEvidence, RiskHigh, 90, 1))
		s.ask(issued, "bot", RiskHigh, 90)
	})
	v.addRisk("a name in base64url", func(s *riskScenario) {
		s.hear(issued, riskSample(func(r *Risk) { r.Agent = "support.bot" }))
		s.ask(issued, "support.bot", RiskMedium, 61)
	})
	v.addRisk("two minutes from the future, and no more", func(s *riskScenario) {
		token := must(testSigner.SignRisk(r))
		s.refuse(issued.Add(-MaxSkew-1), RiskSubject(r), token, "not_yet_valid")
		s.ask(issued, "bot", RiskUnknown, 100)
		s.hear(issued.Add(-MaxSkew), r)
		s.refuse(r.Until, RiskSubject(r), token, "expired")
	})
	v.addRefusedRisks(r)
}

func (v *vectors) addRefusedRisks(r Risk) {
	token, subject := must(testSigner.SignRisk(r)), RiskSubject(r)
	refused := func(name, token, reason string) {
		v.addRisk("refused: "+name, func(s *riskScenario) {
			s.refuse(issued, subject, token, reason)
			s.ask(issued, "bot", RiskUnknown, 100)
		})
	}
	stranger := fixedSigner("another seed of a key for tests!")
	foreign, elsewhere := testSigner, testSigner
	foreign.Issuer, elsewhere.Audience = "somebody", "others"
	refused("one bit of the signature", flipped(token, 2, 5), "signature")
	refused("a revocation in place of it", mustForge(sample()), "type")
	refused("an unknown key", must(stranger.SignRisk(r)), "unknown_key")
	refused("another issuer", must(foreign.SignRisk(r)), "issuer")
	refused("another audience", must(elsewhere.SignRisk(r)), "audience")
	refused("another agent's subject", must(testSigner.SignRisk(riskSample(func(r *Risk) { r.Agent = "other" }))), "underfilled")
	refused("over 8 KiB", token+strings.Repeat("A", maxRiskToken), "too_large")

	payload := must(decodeCanonical([]byte(strings.Split(token, ".")[1])))
	changed := func(name string, change func(claims, event, estop map[string]any)) {
		d := json.NewDecoder(strings.NewReader(string(payload)))
		d.UseNumber()
		var c map[string]any
		if err := d.Decode(&c); err != nil {
			panic(err)
		}
		event := in(c, "events", EventRiskLevelChange)
		change(c, event, in(event, "estop"))
		refused(name, must(testSigner.jws(must(json.Marshal(c)), RiskType)), "malformed")
	}
	changed("a level that is not known", func(_, event, _ map[string]any) { event["current_level"] = "NONE" })
	changed("another principal", func(_, event, _ map[string]any) { event["principal"] = "USER" })
	changed("an event of another type", func(c, event, _ map[string]any) { c["events"] = map[string]any{EventResponse: event} })
	changed("two events", func(c, event, _ map[string]any) { in(c, "events")[EventResponse] = event })
	changed("no sub_id", func(c, _, _ map[string]any) { delete(c, "sub_id") })
	changed("a sub_id without agent", func(c, _, _ map[string]any) { delete(in(c, "sub_id"), "application") })
	changed("a sub_id with a member more", func(c, _, _ map[string]any) {
		in(c, "sub_id")["session"] = map[string]any{"format": "opaque", "id": "s"}
	})
	changed("a member of another format", func(c, _, _ map[string]any) { in(c, "sub_id", "application")["format"] = "email" })
	changed("a claim exp", func(c, _, _ map[string]any) { c["exp"] = 1 })
	changed("a claim sub", func(c, _, _ map[string]any) { c["sub"] = "bot" })
	changed("an iat that is not issued_at", func(c, _, _ map[string]any) { c["iat"] = issued.Unix() + 1 })
	changed("a score over 100", func(_, _, estop map[string]any) { estop["score"] = 101 })
	changed("a negative score", func(_, _, estop map[string]any) { estop["score"] = -1 })
	changed("no source", func(_, _, estop map[string]any) { estop["source"] = "" })
	changed("an until before issued_at", func(_, _, estop map[string]any) { estop["until"] = issued.UnixNano() - 1 })
	changed("over 30 days", func(_, _, estop map[string]any) { estop["until"] = issued.Add(MaxRiskFor + 1).UnixNano() })
	changed("an until that is a text", func(_, _, estop map[string]any) { estop["until"] = "1795172400123456789" })
}

// refusals are the names of the reasons.
var refusals = map[string]error{
	"too_large": ErrTooLarge, "malformed": ErrMalformed, "type": ErrType, "algorithm": ErrAlgorithm, "unknown_key": ErrUnknownKey,
	"signature": ErrSignature, "issuer": ErrIssuer, "audience": ErrAudience, "underfilled": ErrUnderfilled, "expired": ErrExpired,
	"not_yet_valid": ErrNotYetValid, "role": ErrRole, "key_time": ErrKeyTime, "unapproved": ErrUnapproved,
}

// What of several risks holds is tested in revoke/gate/risk.
func TestVectorsOfRisks(t *testing.T) {
	v := readVectors(t)
	verifier, err := ParseVerifier(v.Keys)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range v.Risks {
		for i, s := range c.Steps {
			if s.Message == nil {
				continue
			}
			n++
			_, err := verifier.VerifyRisk(s.Message.Subject, []byte(s.Message.Token), time.Unix(0, s.Now))
			if s.Outcome == "believed" && err != nil || s.Outcome == "refused" && !errors.Is(err, refusals[s.Reason]) {
				t.Errorf("%s: step %d: %v, want %s %s", c.Name, i, err, s.Outcome, s.Reason)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d messages, fewer than there were", n)
	}
}

func TestVectorsOfKeySets(t *testing.T) {
	sets := readVectors(t).KeySets
	for _, s := range sets {
		if _, err := ParseVerifier(s.Keys); (err == nil) != s.Taken {
			t.Errorf("%s: taken %v, want %v: %v", s.Name, err == nil, s.Taken, err)
		}
	}
	if len(sets) < 12 {
		t.Errorf("%d key sets, fewer than there were", len(sets))
	}
}
