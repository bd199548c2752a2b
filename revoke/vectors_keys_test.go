package revoke

import "time"

func (v *vectors) addGlobal() {
	r := sample(func(r *Revocation) { r.Scope, r.Tenant, r.Subject = Global, Everything, Everything })
	v.add("global: it stops every call of every tenant", func(s *scenario) {
		s.Serves = []string{"acme"}
		s.hear(issued, r, "applied")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "deny", r.ID)
		s.call(r.Until, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
	})
	v.add("global: a release ends it, and a throttle of all is one", func(s *scenario) {
		s.hear(issued, r, "applied")
		s.hear(issued, sample(func(e *Revocation) {
			*e = r
			e.ID, e.Action, e.IssuedAt = "slow", Throttle, r.IssuedAt.Add(1)
		}), "applied")
		s.call(issued, vectorCall{Tenant: "other", Agent: "bot"}, "throttle", "slow")
		s.hear(issued, sample(func(e *Revocation) {
			*e = r
			e.ID, e.Action, e.Releases, e.IssuedAt = "end", Release, "slow", r.IssuedAt.Add(2)
		}), "applied")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
	})
	v.add("global: a tenant of that name is no more than a tenant", func(s *scenario) {
		tenant := sample(func(r *Revocation) { r.Tenant = Everything })
		s.hear(issued, tenant, "applied")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
		s.call(issued, vectorCall{Tenant: Everything, Agent: "bot"}, "deny", tenant.ID)
	})
	v.add("global: of another subject it is malformed", func(s *scenario) {
		wrong := sample(func(e *Revocation) { *e = r; e.Subject = "bot" })
		s.refuse(issued, Subject(wrong), mustForge(wrong), "malformed")
	})
}

// addRoles says what keys of a role and of a time may sign.
func (v *vectors) addRoles() {
	with := func(s *scenario, change func(*PublicKey)) {
		verifier := testSigner.Verifier()
		k := verifier.Keys[testSigner.KID]
		change(&k)
		verifier.Keys[testSigner.KID] = k
		s.Keys = must(verifier.marshal())
	}
	person := sample(func(r *Revocation) { r.Initiator, r.By, r.Detector, r.Detection = Admin, "ada", "", "" })
	refuse := func(s *scenario, r Revocation, reason string) { s.refuse(issued, Subject(r), mustForge(r), reason) }
	at, beat := beatTime, string(must(testSigner.SignBeat(sampleBeat())))
	v.add("role: a detector's key signs what a detector decides, and heartbeats", func(s *scenario) {
		with(s, func(k *PublicKey) { k.Role = DetectorRole })
		s.beat(at, beat, "differs")
		refuse(s, person, "role")
		s.hear(issued, sample(), "applied")
	})
	v.add("role: an operator's key signs what the person of its name decides", func(s *scenario) {
		with(s, func(k *PublicKey) { k.Role, k.Name = OperatorRole, "ada" })
		s.beat(at, beat, "refused").Reason = "role"
		refuse(s, sample(), "role")
		refuse(s, sample(func(r *Revocation) { r.Initiator, r.By = Admin, "bob" }), "role")
		refuse(s, sample(func(r *Revocation) { r.Initiator = Admin }), "role")
		s.hear(issued, person, "applied")
	})
	v.add("role: one that is not known signs nothing", func(s *scenario) {
		with(s, func(k *PublicKey) { k.Role = "auditor" })
		s.beat(at, beat, "refused").Reason = "role"
		refuse(s, sample(), "role")
		refuse(s, person, "role")
	})
	v.add("key time: what was issued before it or after it is refused", func(s *scenario) {
		with(s, func(k *PublicKey) { k.NotBefore, k.NotAfter = issued.Add(time.Second), issued.Add(10*time.Second) })
		refuse(s, sample(), "key_time")
		refuse(s, sample(func(r *Revocation) { r.IssuedAt = issued.Add(11 * time.Second) }), "key_time")
		s.hear(issued, sample(func(r *Revocation) { r.IssuedAt = issued.Add(5 * time.Second) }), "applied")
	})
	v.add("key time: a key that has ended counts for nothing", func(s *scenario) {
		with(s, func(k *PublicKey) { k.NotAfter = issued.Add(10 * time.Second) })
		s.hear(issued.Add(12*time.Second), sample(), "refused").Reason = "key_time"
		s.hear(issued.Add(2*time.Second), sample(), "applied")
	})
}
