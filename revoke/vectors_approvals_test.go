package revoke

import (
	"encoding/json"
	"strings"
	"time"
)

// office is a key set with operators and demands.
type office struct {
	detector, ada, ada2, bob, cleo Signer
	verifier                       Verifier
}

func newOffice(rules Rules) *office {
	person := func(seed, name string) Signer {
		s := fixedSigner(seed)
		s.Role, s.Name = OperatorRole, name
		return s
	}
	o := &office{
		detector: testSigner,
		ada:      person("the first key of the person ada!", "ada"), ada2: person("another key of the person ada !!", "ada"),
		bob: person("the one key of the person bob !!", "bob"), cleo: person("the one key of the person cleo !", "cleo"),
	}
	o.detector.Role = DetectorRole
	o.verifier = o.detector.Verifier()
	for _, s := range []Signer{o.ada, o.ada2, o.bob} { // cleo is not trusted
		o.verifier.Keys[s.KID] = s.public()
	}
	o.verifier.Rules = rules
	return o
}

// approved is an order of ada with approvals.
func (o *office) approved(r Revocation, approvals ...string) string {
	return must(o.ada.token(r, TokenType, approvals))
}

// by is s's approval of r, whether or not it may be given.
func by(s Signer, r Revocation) string {
	r.By = s.Name
	return must(s.token(r, ApprovalType, nil))
}

// addApprovals says what takes two operators, and what one alone may do.
func (v *vectors) addApprovals() {
	add := func(name string, rules Rules, build func(*scenario, *office)) {
		v.add("two operators: "+name, func(s *scenario) {
			o := newOffice(rules)
			s.Keys = must(o.verifier.marshal())
			build(s, o)
		})
	}
	hear := func(s *scenario, r Revocation, token, outcome string) {
		s.step(issued.Add(time.Minute), vectorStep{Message: &vectorMessage{Subject: Subject(r), Token: token}, Outcome: outcome})
	}
	unapproved := func(s *scenario, r Revocation, token string) {
		s.refuse(issued.Add(time.Minute), Subject(r), token, "unapproved")
	}
	order := func(change ...func(*Revocation)) Revocation {
		return sample(append([]func(*Revocation){func(r *Revocation) {
			r.Initiator, r.By, r.Detector, r.Detection = Admin, "ada", "", ""
		}}, change...)...)
	}
	stop := sample()
	release := order(func(r *Revocation) {
		r.ID, r.Action, r.Releases, r.IssuedAt = "end", Release, stop.ID, r.IssuedAt.Add(1)
	})
	bot, at := vectorCall{Tenant: "acme", Agent: "bot"}, issued.Add(time.Minute)
	two := Rules{TwoPerson: []Demand{TwoForRelease}}

	add("a release of one is refused, and of both it holds", two, func(s *scenario, o *office) {
		s.hear(at, stop, "applied")
		unapproved(s, release, o.approved(release))
		s.call(at, bot, "deny", stop.ID)
		hear(s, release, o.approved(release, by(o.bob, release)), "applied")
		s.call(at, bot, "allow")
	})
	add("a release of a detector is refused, though somebody agrees", two, func(s *scenario, o *office) {
		r := sample(func(r *Revocation) { r.ID, r.Action = "end", Release })
		unapproved(s, r, must(o.detector.token(r, TokenType, []string{by(o.bob, r)})))
	})
	add("what stops an agent takes one", two, func(s *scenario, o *office) {
		r := order()
		hear(s, r, o.approved(r), "applied")
		s.call(at, bot, "deny", r.ID)
	})
	good := func(o *office) string { return by(o.bob, release) }
	for _, c := range []struct {
		name      string
		approvals func(*office) []string
	}{
		{"of themselves, with another key", func(o *office) []string { return []string{by(o.ada2, release)} }},
		{"of a detector", func(o *office) []string {
			d := o.detector
			d.Name = "bob"
			return []string{by(d, release)}
		}},
		{"of a key that is not known", func(o *office) []string { return []string{by(o.cleo, release)} }},
		{"that names somebody else", func(o *office) []string {
			r := release
			r.By = "cleo"
			return []string{must(o.bob.token(r, ApprovalType, nil))}
		}},
		{"that is an order", func(o *office) []string {
			r := release
			r.By = "bob"
			return []string{must(o.bob.token(r, TokenType, nil))}
		}},
		{"with one bit of its signature changed", func(o *office) []string { return []string{flipped(good(o), 2, 5)} }},
		{"that is no token", func(*office) []string { return []string{"bob agrees"} }},
		{"beside one that is not good", func(o *office) []string { return []string{good(o), by(o.cleo, release)} }},
		{"five times", func(o *office) []string { return []string{good(o), good(o), good(o), good(o), good(o)} }},
		{"of another issuer", func(o *office) []string {
			foreign := o.bob
			foreign.Issuer = "somebody"
			return []string{by(foreign, release)}
		}},
	} {
		add("an approval "+c.name, two, func(s *scenario, o *office) {
			s.hear(at, stop, "applied")
			unapproved(s, release, o.approved(release, c.approvals(o)...))
			s.call(at, bot, "deny", stop.ID)
		})
	}
	for _, c := range []struct {
		name   string
		change func(*Revocation)
	}{
		{"id", func(r *Revocation) { r.ID = "other" }},
		{"end", func(r *Revocation) { r.Until = r.Until.Add(1) }},
		{"moment", func(r *Revocation) { r.IssuedAt = r.IssuedAt.Add(1) }},
		{"revocation to end", func(r *Revocation) { r.Releases = "other" }},
		{"reason", func(r *Revocation) { r.Reason = "another" }},
		{"shield", func(r *Revocation) { r.Shield = r.Until }},
		{"subject", func(r *Revocation) { r.Subject = "other" }},
		{"tenant", func(r *Revocation) { r.Tenant = "other" }},
		{"scope", func(r *Revocation) { r.Scope = Chain }},
		{"detector", func(r *Revocation) { r.Detector = "other" }},
		{"detection", func(r *Revocation) { r.Detection = "other" }},
	} {
		add("an approval of another "+c.name, two, func(s *scenario, o *office) {
			other := release
			c.change(&other)
			unapproved(s, release, o.approved(release, by(o.bob, other)))
		})
	}
	add("four approvals are good, as long as all are", two, func(s *scenario, o *office) {
		hear(s, release, o.approved(release, good(o), good(o), good(o), good(o)), "applied")
	})
	add("an approval is no order", two, func(s *scenario, o *office) {
		s.refuse(at, Subject(release), good(o), "type")
	})
	add("approvals that are no list of texts", two, func(s *scenario, o *office) {
		payload := string(must(decodeCanonical([]byte(strings.Split(o.approved(release), ".")[1]))))
		for _, wrong := range []string{`"bob"`, `[1]`, `{}`, `[["bob"]]`} {
			token := must(o.ada.jws([]byte(strings.Replace(payload, "{", `{"approvals":`+wrong+`,`, 1)), TokenType))
			s.refuse(at, Subject(release), token, "malformed")
		}
	})
	add("where nothing is demanded approvals do neither good nor harm", Rules{}, func(s *scenario, o *office) {
		s.hear(at, stop, "applied")
		hear(s, release, o.approved(release, "bob agrees", by(o.cleo, release)), "applied")
		s.call(at, bot, "allow")
	})
	v.addApproverKeys(add, release)
	v.addDemands(add, order)
	v.addWeaker(add, order)
}

// addApproverKeys says when an approver's key counts.
func (v *vectors) addApproverKeys(add func(string, Rules, func(*scenario, *office)), release Revocation) {
	at, two := issued.Add(time.Minute), Rules{TwoPerson: []Demand{TwoForRelease}}
	add("an approver's key that had ended when the order was issued", two, func(s *scenario, o *office) {
		k := o.verifier.Keys[o.bob.KID]
		k.NotAfter = issued.Add(-time.Minute)
		o.verifier.Keys[o.bob.KID] = k
		s.Keys = must(o.verifier.marshal())
		s.refuse(at, Subject(release), o.approved(release, by(o.bob, release)), "unapproved")
	})
	add("an approver's key that ended since: the order is genuine", two, func(s *scenario, o *office) {
		k := o.verifier.Keys[o.bob.KID]
		k.NotAfter = issued.Add(30 * time.Second)
		o.verifier.Keys[o.bob.KID] = k
		s.Keys = must(o.verifier.marshal())
		s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(release), Token: o.approved(release, by(o.bob, release))}, Outcome: "applied"})
	})
}

// addDemands says which orders each demand is about, and what the broken glass lets pass.
func (v *vectors) addDemands(add func(string, Rules, func(*scenario, *office)), order func(...func(*Revocation)) Revocation) {
	at := issued.Add(time.Minute)
	tenant := func(r *Revocation) { r.ID, r.Scope, r.Subject = "tenant", Tenant, r.Tenant }
	global := func(r *Revocation) { r.ID, r.Scope, r.Tenant, r.Subject = "global", Global, Everything, Everything }
	brief := func(d time.Duration) func(*Revocation) { return func(r *Revocation) { r.Until = r.IssuedAt.Add(d) } }
	for _, d := range []struct {
		demand Demand
		of     func(*Revocation)
	}{{TwoForTenant, tenant}, {TwoForGlobal, global}} {
		for _, action := range []Action{Throttle, Restrict, Revoke} {
			add(string(d.demand)+": "+string(action), Rules{TwoPerson: []Demand{d.demand}}, func(s *scenario, o *office) {
				r := order(d.of, func(r *Revocation) { r.Action = action })
				machine := sample(d.of, func(r *Revocation) { r.Action = action })
				s.refuse(at, Subject(r), mustForge(machine), "unapproved")
				s.refuse(at, Subject(r), o.approved(r), "unapproved")
				s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(r), Token: o.approved(r, by(o.bob, r))}, Outcome: "applied"})
				end := order(d.of, func(e *Revocation) { e.ID, e.Action, e.Releases, e.IssuedAt = "end", Release, r.ID, r.IssuedAt.Add(1) })
				s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(end), Token: o.approved(end)}, Outcome: "applied"})
			})
		}
	}
	add("break glass: one stops for 15 minutes, and no longer", Rules{TwoPerson: Demands, BreakGlass: true}, func(s *scenario, o *office) {
		for _, of := range []func(*Revocation){tenant, global} {
			long, short := order(of, brief(BreakGlassLimit+1)), order(of, brief(BreakGlassLimit))
			s.refuse(at, Subject(long), o.approved(long), "unapproved")
			s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(short), Token: o.approved(short)}, Outcome: "applied"})
		}
		s.call(at, vectorCall{Tenant: "other", Agent: "bot"}, "deny", "global")
	})
	add("break glass: never a release, and no detector", Rules{TwoPerson: Demands, BreakGlass: true}, func(s *scenario, o *office) {
		end := order(brief(time.Minute), func(r *Revocation) { r.Action, r.Until = Release, r.IssuedAt.Add(5*time.Minute) })
		s.refuse(at, Subject(end), o.approved(end), "unapproved")
		machine := sample(tenant, brief(5*time.Minute))
		s.refuse(at, Subject(machine), mustForge(machine), "unapproved")
	})
}

// addWeaker says that one operator cannot release under another name.
func (v *vectors) addWeaker(add func(string, Rules, func(*scenario, *office)), order func(...func(*Revocation)) Revocation) {
	at, bot := issued.Add(time.Minute), vectorCall{Tenant: "acme", Agent: "bot"}
	two := Rules{TwoPerson: []Demand{TwoForRelease}}
	at2 := func(id string) func(*Revocation) {
		return func(r *Revocation) { r.ID, r.IssuedAt = id, r.IssuedAt.Add(1) }
	}
	first := order(func(r *Revocation) { r.ID = "first"; r.ValidAfter = r.IssuedAt.Add(-time.Minute) })
	hear := func(s *scenario, r Revocation, token, outcome string) {
		s.step(at, vectorStep{Message: &vectorMessage{Subject: Subject(r), Token: token}, Outcome: outcome})
	}
	after := func(d time.Duration) func(*Revocation) {
		return func(r *Revocation) { r.ValidAfter = first.ValidAfter.Add(d) }
	}
	for _, c := range []struct {
		name  string
		order Revocation
		weak  bool
	}{
		{"a weaker action", order(at2("second"), after(0), func(r *Revocation) { r.Action = Restrict }), true},
		{"an earlier end", order(at2("second"), after(0), func(r *Revocation) { r.Until = r.Until.Add(-1) }), true},
		{"an earlier valid_after", order(at2("second"), after(-1)), true},
		{"a later valid_after", order(at2("second"), after(1)), false},
		{"none", order(at2("second")), false},
		{"a later end", order(at2("second"), after(0), func(r *Revocation) { r.Until = r.Until.Add(1) }), false},
	} {
		for _, turned := range []bool{false, true} {
			name := "weaker: " + c.name
			if turned {
				name += ", which comes first"
			}
			add(name, two, func(s *scenario, o *office) {
				messages := []Revocation{first, c.order}
				if turned {
					messages = []Revocation{c.order, first}
				}
				holds := c.order.ID
				if c.weak {
					holds = first.ID
				}
				hear(s, messages[0], o.approved(messages[0]), "applied")
				second := "superseded"
				if messages[1].ID == holds {
					second = "applied"
				}
				hear(s, messages[1], o.approved(messages[1]), second)
				s.call(at, bot, "deny", holds)
			})
		}
	}
	second := order(at2("second"), func(r *Revocation) { r.Action = Throttle })
	add("weaker: two may", two, func(s *scenario, o *office) {
		hear(s, first, o.approved(first), "applied")
		hear(s, second, o.approved(second, by(o.bob, second)), "applied")
		s.call(at, bot, "throttle", "second")
		hear(s, first, o.approved(first), "superseded")
	})
	add("weaker: a detector may not", two, func(s *scenario, o *office) {
		r := sample(at2("machine"), func(r *Revocation) { r.Action = Throttle })
		hear(s, first, o.approved(first), "applied")
		hear(s, r, mustForge(r), "superseded")
		s.call(at, bot, "deny", "first")
	})
	add("weaker: one may where a release takes one", Rules{TwoPerson: []Demand{TwoForTenant, TwoForGlobal}}, func(s *scenario, o *office) {
		hear(s, first, o.approved(first), "applied")
		hear(s, second, o.approved(second), "applied")
		s.call(at, bot, "throttle", "second")
	})
	add("weaker: a harder stop is never held up", two, func(s *scenario, o *office) {
		long := order(func(r *Revocation) { r.ID, r.Action = "long", Throttle })
		brief := order(at2("brief"), func(r *Revocation) { r.Until = r.IssuedAt.Add(10 * time.Minute) })
		hear(s, long, o.approved(long), "applied")
		hear(s, brief, o.approved(brief), "applied")
		s.call(at, bot, "deny", "brief")
	})
	add("weaker: one release in the place of another takes two, and holds", two, func(s *scenario, o *office) {
		one := order(func(r *Revocation) { r.ID, r.Action = "one", Release })
		next := order(at2("next"), func(r *Revocation) { r.Action, r.Until = Release, r.Until.Add(-time.Minute) })
		hear(s, one, o.approved(one, by(o.bob, one)), "applied")
		hear(s, next, o.approved(next, by(o.bob, next)), "applied")
	})
}

// addKeySets says which key sets are taken at all: one with what is not understood is less safe than none.
func (v *vectors) addKeySets() {
	key := json.RawMessage(must(json.Marshal(must(newJWK(testSigner.public())))))
	set := func(name, estop string, taken bool) {
		v.KeySets = append(v.KeySets, vectorKeySet{name, json.RawMessage(`{"keys":[` + string(key) + `]` + estop + `}`), taken})
	}
	set("no demand", ``, true)
	set("null", `,"estop":null`, true)
	set("an empty object", `,"estop":{}`, true)
	set("every demand", `,"estop":{"two_person":["release","tenant","global"],"break_glass":true}`, true)
	set("the glass alone", `,"estop":{"break_glass":true}`, true)
	set("a demand that is not known", `,"estop":{"two_person":["release","dissolve"]}`, false)
	set("an empty demand", `,"estop":{"two_person":[""]}`, false)
	set("a demand that is a number", `,"estop":{"two_person":[1]}`, false)
	set("demands that are a text", `,"estop":{"two_person":"release"}`, false)
	set("glass that is a text", `,"estop":{"break_glass":"yes"}`, false)
	set("a member that is not known", `,"estop":{"three_person":["release"]}`, false)
	set("a list", `,"estop":["release"]`, false)
}
