package revoke

import (
	"strings"
	"time"
)

// addDigests says what a guard knows the stream to hold.
func (v *vectors) addDigests() {
	l, now := NewLedger(), issued.Add(time.Minute)
	note := func(s *scenario, r Revocation, sequence uint64) {
		l.Note(r, sequence)
		s.stored(now, r, sequence)
	}
	first := sample()
	second := sample(func(r *Revocation) { r.ID, r.Tenant, r.Scope, r.Subject = "second", "other", Session, "a.b" })
	short := sample(func(r *Revocation) { r.ID, r.Subject, r.Until = "short", "brief", now.Add(90*time.Second) })
	v.add("digest: of nothing, of one tenant, of all, and what ends", func(s *scenario) {
		s.digest(now, l, "")
		note(s, first, 1)
		s.digest(now, l, "")
		note(s, second, 2)
		note(s, short, 3)
		for _, tenant := range []string{"", "acme", "other", "third"} {
			s.digest(now, l, tenant)
		}
		s.digest(short.Until.Add(-time.Second), l, "acme")
		s.digest(short.Until.Add(time.Second), l, "acme")
		s.digest(short.Until, l, "") // within the second of its end it is still counted
		note(s, sample(func(r *Revocation) {
			r.ID, r.Action, r.Releases, r.IssuedAt = "end", Release, first.ID, r.IssuedAt.Add(1)
		}), 4)
		note(s, sample(func(r *Revocation) { r.ID, r.Scope = "new", "region" }), 5)
		s.digest(now, l, "acme")
		s.digest(now, l, "")
	})
	v.add("digest: it is of the last message of the stream, though another one holds", func(s *scenario) {
		l := NewLedger()
		late := sample(func(r *Revocation) { r.ID, r.IssuedAt = "late", r.IssuedAt.Add(1) })
		l.Note(late, 1)
		s.stored(now, late, 1)
		l.Note(first, 2)
		s.hear(now, first, "superseded").Message.Sequence = 2
		s.digest(now, l, "")
	})
	v.add("digest: it counts what this clock does not believe yet, or any more", func(s *scenario) {
		l := NewLedger()
		l.Note(first, 1)
		step := s.hear(issued.Add(-3*time.Minute), first, "refused")
		step.Reason, step.Message.Sequence = "not_yet_valid", 1
		s.digest(now, l, "")
	})
}

// addBeats says which heartbeats are believed, and how they compare with what a guard has.
func (v *vectors) addBeats() {
	held := sample(func(r *Revocation) { r.ID = ID("burst", "bot", "estop.calls", 3, 42, 0) })
	after := func(d time.Duration, change ...func(*Beat)) (time.Time, string) {
		b := sampleBeat()
		b.Number += uint64(d / time.Second)
		b.IssuedAt = b.IssuedAt.Add(d)
		for _, f := range change {
			f(&b)
		}
		return b.IssuedAt, string(must(testSigner.SignBeat(b)))
	}
	at, good := after(0)
	refused := func(name, token, reason string) {
		v.add("heartbeat refused: "+name, func(s *scenario) { s.beat(at, token, "refused").Reason = reason })
	}
	v.add("heartbeat: of what the guard has", func(s *scenario) {
		s.stored(at, held, 7)
		s.beat(at, good, "same")
	})
	v.add("heartbeat: of what the guard has, to a guard of one tenant", func(s *scenario) {
		s.Serves = []string{"acme"}
		s.stored(at, held, 7)
		s.beat(at, good, "same")
	})
	v.add("heartbeat: of what the guard lacks", func(s *scenario) { s.beat(at, good, "differs") })
	v.add("heartbeat: of what a guard of one tenant lacks", func(s *scenario) {
		s.Serves = []string{"acme"}
		s.beat(at, good, "differs")
	})
	v.add("heartbeat: of another tenant's", func(s *scenario) {
		s.Serves = []string{"other"}
		s.beat(at, good, "same")
	})
	v.add("heartbeat: of less than the guard has read", func(s *scenario) {
		s.stored(at, held, 7)
		s.stored(at, sample(func(r *Revocation) { r.ID, r.Subject = "more", "more" }), 10)
		s.beat(at, good, "ahead")
	})
	v.add("heartbeat: what has ended counts no more", func(s *scenario) {
		s.stored(at, held, 7)
		short := sample(func(r *Revocation) { r.ID, r.Subject, r.Until = "short", "short", at.Add(-time.Second) })
		step := s.hear(at, short, "refused")
		step.Reason, step.Message.Sequence = "expired", 8
		s.beat(at, good, "same")
	})
	v.add("heartbeat: heard again, or after a later one", func(s *scenario) {
		s.stored(at, held, 7)
		s.beat(at, good, "same")
		s.beat(at, good, "refused").Reason = "replayed"
		next, later := after(time.Second)
		s.beat(next, later, "same")
		s.beat(next, good, "refused").Reason = "replayed"
	})
	v.add("heartbeat: another run counts anew", func(s *scenario) {
		s.stored(at, held, 7)
		s.beat(at, good, "same")
		_, other := after(0, func(b *Beat) { b.Start, b.Number = "another run", 0 })
		s.beat(at, other, "same")
	})
	v.add("heartbeat: two minutes either way, and no more", func(s *scenario) {
		s.stored(at, held, 7)
		s.beat(at.Add(MaxSkew+1), good, "refused").Reason = "expired"
		s.beat(at.Add(-MaxSkew-1), good, "refused").Reason = "not_yet_valid"
		s.beat(at.Add(MaxSkew), good, "same")
		_, other := after(0, func(b *Beat) { b.Start = "another run" })
		s.beat(at.Add(-MaxSkew), other, "same")
	})
	refused("one bit of the signature", flipped(good, 2, 5), "signature")
	refused("unused bits that are not zero", unusedBits(good), "malformed")
	refused("a revocation in place of it", mustForge(held), "type")
	stranger := fixedSigner("another seed of a key for tests!")
	refused("an unknown key", must(stranger.SignBeat(sampleBeat())), "unknown_key")
	foreign, elsewhere := testSigner, testSigner
	foreign.Issuer, elsewhere.Audience = "somebody", "others"
	refused("another issuer", must(foreign.SignBeat(sampleBeat())), "issuer")
	refused("another audience", must(elsewhere.SignBeat(sampleBeat())), "audience")

	payload := string(must(decodeCanonical([]byte(strings.Split(good, ".")[1]))))
	edited := func(name, old, new string) {
		if !strings.Contains(payload, old) {
			panic("no " + old)
		}
		refused(name, must(testSigner.jws([]byte(strings.Replace(payload, old, new, 1)), BeatType)), "malformed")
	}
	edited("no publisher", `"publisher":"detect-1"`, `"publisher":""`)
	edited("no start", `"start":"0123456789abcdefghijklmnop"`, `"start":""`)
	edited("an interval of nothing", `"interval":1000000000`, `"interval":0`)
	edited("an interval over an hour", `"interval":1000000000`, `"interval":3600000000001`)
	edited("a negative number", `"beat":60`, `"beat":-1`)
	edited("a digest that is too short", `"digest":"gI-L`, `"digest":"`)
	edited("a tenant without digest", `"others":""`, `"others":"AAAA"`)
	edited("65 tenants", `"others":""`, `"others":"`+encode(make([]byte, 65*2*DigestSize))+`"`)
}
