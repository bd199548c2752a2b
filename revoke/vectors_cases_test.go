package revoke

import (
	"slices"
	"strings"
	"time"
)

func (v *vectors) addNames() {
	for _, name := range []string{
		"acme", "a", "A-Z_09", "a.b", "*", ">", "=", "=YQ", "~", "$JS", "two words", "", "é", "日本", "\x00", "line\nend",
		strings.Repeat("a", 96), strings.Repeat("a", 97), strings.Repeat(".", 96), strings.Repeat(".", 97), strings.Repeat("é", 48), strings.Repeat("é", 49),
		"spiffe://example.org/ns/prod/sa/billing",
	} {
		v.Names = append(v.Names, vectorName{name, Token(name)})
	}
	for _, name := range []string{"acme", "other", "日本", strings.Repeat("a", 256)} {
		key := TenantKeyOf(name)
		v.Tenants = append(v.Tenants, vectorTenant{name, hexadecimal(key[:])})
	}
}

// addTargets says which calls each kind of revocation stops.
func (v *vectors) addTargets() {
	all := []vectorCall{
		{Tenant: "acme", Agent: "x"},
		{Tenant: "acme", Agent: "other", Identity: "x"},
		{Tenant: "acme", Agent: "other", Session: "x"},
		{Tenant: "acme", Agent: "other", Chain: []string{"x", "middle", "other"}},
		{Tenant: "acme", Agent: "other", Chain: []string{"root", "x", "other"}},
		{Tenant: "acme", Agent: "other", Identity: "i", Session: "s", Chain: []string{"root", "other"}},
		{Tenant: "other", Agent: "x", Identity: "x", Session: "x", Chain: []string{"x"}},
	}
	for _, t := range []struct {
		scope   Scope
		stopped []int
	}{
		{Agent, []int{0, 3, 4}}, {Chain, []int{0, 3, 4}}, {Identity, []int{1}}, {Session, []int{2}}, {Tenant, []int{0, 1, 2, 3, 4, 5}},
		{"region", []int{0, 1, 2, 3, 4}}, // one that nobody knows
	} {
		scope, stopped := t.scope, t.stopped
		v.add("scope: "+string(scope), func(s *scenario) {
			r := sample(func(r *Revocation) { r.Scope, r.Subject = scope, "x" })
			if scope == Tenant {
				r.Subject = r.Tenant
			}
			s.hear(issued, r, "applied")
			for i, c := range all {
				if slices.Contains(stopped, i) {
					s.call(issued, c, "deny", r.ID)
				} else {
					s.call(issued, c, "allow")
				}
			}
		})
	}
	for _, name := range []string{"a.b", "*", "é", "日本 x", strings.Repeat("n", 97), strings.Repeat("n", MaxSubject)} {
		v.add("name: "+Token(name), func(s *scenario) {
			r := sample(func(r *Revocation) { r.Subject = name })
			s.hear(issued, r, "applied")
			s.call(issued, vectorCall{Tenant: "acme", Agent: name}, "deny", r.ID)
			s.call(issued, vectorCall{Tenant: "acme", Agent: Token(name) + "m"}, "allow")
		})
	}
	for _, a := range []struct {
		action  Action
		verdict string
	}{{Throttle, "throttle"}, {Restrict, "restrict"}, {Revoke, "deny"}, {Release, "allow"}, {"dissolve", "deny"}} {
		action, verdict := a.action, a.verdict
		v.add("action: "+string(action), func(s *scenario) {
			r := sample(func(r *Revocation) { r.Action = action })
			s.hear(issued, r, "applied")
			by := []string{r.ID}
			if verdict == "allow" {
				by = nil
			}
			s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, verdict, by...)
			s.call(issued, vectorCall{Tenant: "acme", Agent: "other"}, "allow")
		})
	}
	v.addCalls()
}

func (v *vectors) addCalls() {
	v.add("call: one without tenant or agent is denied", func(s *scenario) {
		s.call(issued, vectorCall{Agent: "bot"}, "deny")
		s.call(issued, vectorCall{Tenant: "acme"}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
	})
	v.add("call: a name that no revocation can carry is denied", func(s *scenario) {
		long := strings.Repeat("n", MaxSubject+1)
		s.call(issued, vectorCall{Tenant: strings.Repeat("t", MaxTenant+1), Agent: "bot"}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: long}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: strings.Repeat("é", 513)}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", Identity: long}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", Session: long}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", Chain: []string{"a", long}}, "deny")
		s.call(issued, vectorCall{Tenant: "acme", Agent: long[1:], Chain: []string{long[1:]}}, "allow")
	})
	v.add("call: of a tenant that is not served is denied", func(s *scenario) {
		s.Serves = []string{"acme", "second"}
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
		s.call(issued, vectorCall{Tenant: "second", Agent: "bot"}, "allow")
		s.call(issued, vectorCall{Tenant: "third", Agent: "bot"}, "deny")
	})
	v.add("valid_after: a credential issued later passes", func(s *scenario) {
		at := issued.Add(-time.Minute)
		r := sample(func(r *Revocation) { r.ValidAfter = at })
		s.hear(issued, r, "applied")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "deny", r.ID)
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", CredentialIssuedAt: at.UnixNano() - 1}, "deny", r.ID)
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", CredentialIssuedAt: at.UnixNano()}, "deny", r.ID)
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", CredentialIssuedAt: at.UnixNano() + 1}, "allow")
	})
	v.add("valid_after: without it no credential passes", func(s *scenario) {
		r := sample()
		s.hear(issued, r, "applied")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot", CredentialIssuedAt: r.Until.UnixNano()}, "deny", r.ID)
	})
}

// addConflicts says which of several messages holds.
func (v *vectors) addConflicts() {
	bot := vectorCall{Tenant: "acme", Agent: "bot", Identity: "i", Session: "s"}
	now := issued.Add(time.Minute)
	with := func(id string, after time.Duration, a Action, change ...func(*Revocation)) Revocation {
		return sample(append([]func(*Revocation){func(r *Revocation) {
			r.ID, r.Action, r.IssuedAt, r.Until = id, a, issued.Add(after), issued.Add(after+time.Hour)
		}}, change...)...)
	}
	of := func(scope Scope, subject string) func(*Revocation) {
		return func(r *Revocation) { r.Scope, r.Subject = scope, subject }
	}
	releases := func(id string) func(*Revocation) { return func(r *Revocation) { r.Releases = id } }
	early, late := with("early", 0, Revoke), with("late", 1, Throttle)

	v.add("order: the later one holds, though it is weaker", func(s *scenario) {
		s.hear(now, early, "applied")
		s.hear(now, late, "applied")
		s.call(now, bot, "throttle", "late")
	})
	v.add("order: and also if it comes first", func(s *scenario) {
		s.hear(now, late, "applied")
		s.hear(now, early, "superseded")
		s.call(now, bot, "throttle", "late")
	})
	v.add("order: a replay changes nothing", func(s *scenario) {
		s.hear(now, early, "applied")
		s.hear(now, early, "duplicate")
		s.hear(now, late, "applied")
		s.hear(now, early, "superseded")
		s.hear(now, late, "duplicate")
		s.call(now, bot, "throttle", "late")
	})
	weak, strong := with("z", 0, Restrict), with("a", 0, Revoke)
	v.add("order: of one moment the stronger holds", func(s *scenario) {
		s.hear(now, weak, "applied")
		s.hear(now, strong, "applied")
		s.call(now, bot, "deny", "a")
	})
	v.add("order: of one moment the weaker does not", func(s *scenario) {
		s.hear(now, strong, "applied")
		s.hear(now, weak, "superseded")
		s.call(now, bot, "deny", "a")
	})
	v.add("order: of one moment and strength the greater id holds", func(s *scenario) {
		s.hear(now, with("a", 0, Revoke), "applied")
		s.hear(now, with("b", 0, Revoke), "applied")
		s.hear(now, with("B", 0, Revoke), "superseded")
		s.call(now, bot, "deny", "b")
	})
	v.add("order: an unknown action is as strong as revoke", func(s *scenario) {
		s.hear(now, with("a", 0, "dissolve"), "applied")
		s.hear(now, with("b", 0, Restrict), "superseded")
		s.hear(now, with("b", 0, Revoke), "applied")
		s.call(now, bot, "deny", "b")
	})
	v.add("order: after its end an older one may come", func(s *scenario) {
		short := with("late", time.Second, Throttle, func(r *Revocation) { r.Until = r.IssuedAt.Add(time.Second) })
		s.hear(issued.Add(time.Second), short, "applied")
		s.hear(now, early, "applied")
		s.call(now, bot, "deny", "early")
	})

	release := with("end", 1, Release, releases("early"))
	v.add("release: it ends what it names", func(s *scenario) {
		s.hear(now, early, "applied")
		s.call(now, bot, "deny", "early")
		s.hear(now, release, "applied")
		s.call(now, bot, "allow")
		s.hear(now, early, "superseded")
		s.call(now, bot, "allow")
	})
	v.add("release: also if it comes first", func(s *scenario) {
		s.hear(now, release, "applied")
		s.hear(now, early, "superseded")
		s.call(now, bot, "allow")
	})
	v.add("release: against what it names it holds whatever the times", func(s *scenario) {
		again := with("early", time.Minute, Revoke)
		s.hear(now, again, "applied")
		s.hear(now, release, "applied")
		s.hear(now, again, "superseded")
		s.call(now, bot, "allow")
	})
	v.add("release: an older one does not end what it does not name", func(s *scenario) {
		other := with("other", time.Second, Revoke)
		s.hear(now, other, "applied")
		s.hear(now, release, "superseded")
		s.call(now, bot, "deny", "other")
	})
	v.add("release: a later revocation holds", func(s *scenario) {
		s.hear(now, early, "applied")
		s.hear(now, release, "applied")
		s.hear(now, with("again", 2, Revoke), "applied")
		s.call(now, bot, "deny", "again")
	})
	v.add("release: a shield is for publishers, guards let a later one hold", func(s *scenario) {
		s.hear(now, with("end", 1, Release, releases("early"), func(r *Revocation) { r.Shield = r.Until }), "applied")
		s.hear(now, with("again", 2, Revoke), "applied")
		s.call(now, bot, "deny", "again")
	})
	v.add("release: it is kept until its own end", func(s *scenario) {
		s.hear(now, release, "applied")
		s.hear(release.Until.Add(-1), with("early", 0, Revoke, func(r *Revocation) { r.Until = r.IssuedAt.Add(2 * time.Hour) }), "superseded")
		s.hear(release.Until, with("early", 0, Revoke, func(r *Revocation) { r.Until = r.IssuedAt.Add(2 * time.Hour) }), "applied")
		s.call(release.Until, bot, "deny", "early")
	})
	v.add("release: of one scope ends none of another", func(s *scenario) {
		s.hear(now, early, "applied")
		s.hear(now, with("sess", 0, Revoke, of(Session, "s")), "applied")
		s.hear(now, release, "applied")
		s.call(now, bot, "deny", "sess")
	})

	v.add("strongest: of several scopes it wins, whatever the order", func(s *scenario) {
		s.hear(now, with("t", 0, Throttle, func(r *Revocation) { r.Scope, r.Subject = Tenant, "acme" }), "applied")
		s.call(now, bot, "throttle", "t")
		s.hear(now, with("i", 0, Restrict, of(Identity, "i")), "applied")
		s.call(now, bot, "restrict", "i")
		s.hear(now, with("s", 0, Revoke, of(Session, "s")), "applied")
		s.call(now, bot, "deny", "s")
		s.hear(now, with("e", 1, Release, of(Session, "s"), releases("s")), "applied")
		s.call(now, bot, "restrict", "i")
	})
	v.add("unknown: two unknown scopes of one name, the stronger stays", func(s *scenario) {
		s.hear(now, with("r", 0, Revoke, of("region", "s")), "applied")
		s.hear(now, with("z", 1, Throttle, of("zone", "s")), "superseded")
		s.call(now, bot, "deny", "r")
	})
	v.add("unknown: a release of an unknown scope ends that one alone", func(s *scenario) {
		s.hear(now, with("r", 0, Revoke, of("region", "s")), "applied")
		s.hear(now, with("e", 1, Release, of("zone", "s"), releases("z")), "superseded")
		s.call(now, bot, "deny", "r")
		s.hear(now, with("f", 1, Release, of("region", "s"), releases("r")), "applied")
		s.call(now, bot, "allow")
	})
}
