package revoke

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

func hexadecimal(b []byte) string { return hex.EncodeToString(b) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// mustForge signs r with the test's key, whether or not it may be signed.
func mustForge(r Revocation) string { return must(testSigner.sign(r)) }

// forgePayload signs the claims of sample after a change to them.
func forgePayload(change func(claims map[string]any)) string {
	r := sample()
	payload := must(json.Marshal(must(newClaims(r, DefaultIssuer, DefaultAudience))))
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber() // nanoseconds do not fit into a float
	var c map[string]any
	if err := d.Decode(&c); err != nil {
		panic(err)
	}
	change(c)
	return must(testSigner.jws(must(json.Marshal(c)), TokenType))
}

func forgeRaw(payload string) string { return must(testSigner.jws([]byte(payload), TokenType)) }

// in returns claims[path[0]][path[1]]….
func in(claims map[string]any, path ...string) map[string]any {
	for _, p := range path {
		claims = claims[p].(map[string]any)
	}
	return claims
}

func inEstop(claims map[string]any) map[string]any {
	return in(claims, "events", EventSessionRevoked, "estop")
}

// forgeHeader signs the payload of sample under another header.
func forgeHeader(header string) string {
	parts := strings.Split(mustForge(sample()), ".")
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1]
	signature := ed25519.Sign(testSigner.Key, []byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// flipped returns the token with one bit of one part changed, and that part still canonical.
func flipped(token string, part, at int) string {
	parts := strings.Split(token, ".")
	b := must(base64.RawURLEncoding.DecodeString(parts[part]))
	b[at] ^= 1
	parts[part] = base64.RawURLEncoding.EncodeToString(b)
	return strings.Join(parts, ".")
}

// unusedBits returns the token with the last character of the signature changed in the bits that
// do not count: another text of the same signature.
func unusedBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

func (v *vectors) addRefused() {
	token := mustForge(sample())
	parts := strings.Split(token, ".")
	stranger := fixedSigner("another seed of a key for tests!")
	impostor := stranger
	impostor.KID = testSigner.KID
	foreign, elsewhere := testSigner, testSigner
	foreign.Issuer, elsewhere.Audience = "somebody", "others"

	refused := func(name, token, reason string) {
		v.add("refused: "+name, func(s *scenario) {
			s.refuse(issued, Subject(sample()), token, reason)
			s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
		})
	}
	refused("nothing", "", "malformed")
	refused("two parts", parts[0]+"."+parts[1], "malformed")
	refused("four parts", token+"."+parts[2], "malformed")
	refused("an empty signature", parts[0]+"."+parts[1]+".", "malformed")
	refused("padding", token+"==", "malformed")
	refused("a line end behind it", token+"\n", "malformed")
	refused("a line end within it", parts[0]+"\r\n."+parts[1]+"."+parts[2], "malformed")
	refused("a space before it", " "+token, "malformed")
	refused("base64 of the other alphabet", parts[0]+"."+parts[1]+"+."+parts[2], "malformed")
	refused("unused bits of the signature that are not zero", unusedBits(token), "malformed")
	refused("over 16 KiB", parts[0]+"."+strings.Repeat("A", MaxToken)+"."+parts[2], "too_large")
	refused("one bit of the payload", flipped(token, 1, 20), "signature")
	refused("one bit of the signature's first half", flipped(token, 2, 5), "signature")
	refused("one bit of the signature's second half", flipped(token, 2, 40), "signature")
	refused("a signature that is cut", parts[0]+"."+parts[1]+"."+parts[2][:84], "signature")

	kid := testSigner.KID
	refused("the algorithm none", forgeHeader(`{"alg":"none","kid":"`+kid+`","typ":"secevent+jwt"}`), "algorithm")
	refused("the algorithm HS256", forgeHeader(`{"alg":"HS256","kid":"`+kid+`","typ":"secevent+jwt"}`), "algorithm")
	refused("no algorithm", forgeHeader(`{"kid":"`+kid+`","typ":"secevent+jwt"}`), "algorithm")
	refused("the type JWT", forgeHeader(`{"alg":"EdDSA","kid":"`+kid+`","typ":"JWT"}`), "type")
	refused("no type", forgeHeader(`{"alg":"EdDSA","kid":"`+kid+`"}`), "type")
	refused("a heartbeat in place of it", string(must(testSigner.SignBeat(sampleBeat()))), "type")
	refused("a critical extension", forgeHeader(`{"alg":"EdDSA","kid":"`+kid+`","typ":"secevent+jwt","crit":["b64"],"b64":false}`), "malformed")
	refused("a key in the header", forgeHeader(`{"alg":"EdDSA","kid":"`+kid+`","typ":"secevent+jwt","jwk":{}}`), "malformed")
	refused("a header that is no object", forgeHeader(`[]`), "malformed")
	refused("an unknown key", must(stranger.sign(sample())), "unknown_key")
	refused("no key id", forgeHeader(`{"alg":"EdDSA","typ":"secevent+jwt"}`), "unknown_key")
	refused("a known key id, another key", must(impostor.sign(sample())), "signature")
	refused("another issuer", must(foreign.sign(sample())), "issuer")
	refused("another audience", must(elsewhere.sign(sample())), "audience")

	v.addRefusedClaims(refused)
	v.add("refused: on another target's subject", func(s *scenario) {
		other := sample(func(r *Revocation) { r.Subject = "other" })
		s.refuse(issued, Subject(other), token, "subject")
		s.refuse(issued, Subject(sample())+".more", token, "subject")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "other"}, "allow")
	})
}

func (v *vectors) addRefusedClaims(refused func(name, token, reason string)) {
	changed := func(name, reason string, change func(map[string]any)) {
		refused(name, forgePayload(change), reason)
	}
	set := func(name, reason, key string, value any) {
		changed(name, reason, func(c map[string]any) { inEstop(c)[key] = value })
	}
	refused("a payload that is no object", forgeRaw(`[]`), "malformed")
	refused("a payload that is no JSON", forgeRaw(`{"iss":"estop"`), "malformed")
	refused("something behind the payload", forgeRaw(`{"iss":"estop"} {}`), "malformed")
	changed("a claim sub", "malformed", func(c map[string]any) { c["sub"] = "bot" })
	changed("a claim exp", "malformed", func(c map[string]any) { c["exp"] = 1 })
	changed("no jti", "malformed", func(c map[string]any) { delete(c, "jti") })
	changed("an iat that is not issued_at", "malformed", func(c map[string]any) { c["iat"] = issued.Unix() + 1 })
	changed("no event", "malformed", func(c map[string]any) { c["events"] = map[string]any{} })
	changed("two events", "malformed", func(c map[string]any) {
		in(c, "events")[EventResponse] = in(c, "events", EventSessionRevoked)
	})
	changed("an event of the other type", "malformed", func(c map[string]any) {
		c["events"] = map[string]any{EventResponse: in(c, "events", EventSessionRevoked)}
	})
	changed("an event without estop", "malformed", func(c map[string]any) {
		delete(in(c, "events", EventSessionRevoked), "estop")
	})
	changed("no reason", "malformed", func(c map[string]any) {
		delete(in(c, "events", EventSessionRevoked), "reason_admin")
	})
	changed("a third kind of initiator", "malformed", func(c map[string]any) {
		in(c, "events", EventSessionRevoked)["initiating_entity"] = "user"
	})

	changed("no sub_id", "underfilled", func(c map[string]any) { delete(c, "sub_id") })
	changed("a sub_id without tenant", "underfilled", func(c map[string]any) { delete(in(c, "sub_id"), "tenant") })
	changed("a sub_id without the scope's member", "underfilled", func(c map[string]any) { delete(in(c, "sub_id"), "application") })
	changed("a sub_id with a member more", "underfilled", func(c map[string]any) {
		in(c, "sub_id")["session"] = map[string]any{"format": "opaque", "id": "s"}
	})
	changed("a sub_id of another format", "underfilled", func(c map[string]any) { in(c, "sub_id")["format"] = "opaque" })
	changed("a member of another format", "underfilled", func(c map[string]any) { in(c, "sub_id", "application")["format"] = "email" })
	changed("a sub_id of another agent", "underfilled", func(c map[string]any) { in(c, "sub_id", "application")["id"] = "other" })
	changed("a sub_id of another tenant", "underfilled", func(c map[string]any) { in(c, "sub_id", "tenant")["id"] = "other" })

	set("no subject", "underfilled", "subject", "")
	set("no tenant", "underfilled", "tenant", "")
	set("no action", "malformed", "action", "")
	set("no until", "malformed", "until", 0)
	set("an until that is a text", "malformed", "until", "1795172400123456789")
	set("an until that is a fraction", "malformed", "until", json.Number("1795172400123456789.5"))
	set("an until with an exponent", "malformed", "until", json.Number("2e18"))
	set("an until over 64 bits", "malformed", "until", json.Number("9223372036854775808"))
	set("an until before issued_at", "malformed", "until", issued.UnixNano()-1)
	set("a negative valid_after", "malformed", "valid_after", -1)
	set("a shield of what is no release", "malformed", "shield", issued.UnixNano()+1)
	set("releases of what is no release", "malformed", "releases", "another")
	set("a text that is a number", "malformed", "detector", 1)
	set("a detector of 257 bytes", "malformed", "detector", strings.Repeat("x", 257))
	refused("over 30 days", mustForge(sample(func(r *Revocation) { r.Until = r.IssuedAt.Add(MaxDuration + 1) })), "malformed")
	refused("a reason of 2049 bytes", mustForge(sample(func(r *Revocation) { r.Reason = strings.Repeat("x", 2049) })), "malformed")

	another := func(name, reason string, change func(*Revocation)) {
		v.add("refused: "+name, func(s *scenario) {
			r := sample(change)
			s.refuse(issued, Subject(r), mustForge(r), reason)
		})
	}
	another("a subject of 1025 bytes", "malformed", func(r *Revocation) { r.Subject = strings.Repeat("x", MaxSubject+1) })
	another("a tenant of 257 bytes", "malformed", func(r *Revocation) { r.Tenant = strings.Repeat("x", MaxTenant+1) })
	another("a shield beyond until", "malformed", func(r *Revocation) {
		r.Action, r.Shield = Release, r.Until.Add(1)
	})
	v.add("refused: the scope tenant with another subject", func(s *scenario) {
		r := sample(func(r *Revocation) { r.Scope = Tenant })
		token := forgePayload(func(c map[string]any) {
			inEstop(c)["scope"] = "tenant"
			delete(in(c, "sub_id"), "application")
		})
		s.refuse(issued, Subject(r), token, "malformed")
		s.call(issued, vectorCall{Tenant: "acme", Agent: "bot"}, "allow")
	})
}

func (v *vectors) addTimes() {
	bot := vectorCall{Tenant: "acme", Agent: "bot"}
	r := sample()
	v.add("time: until the end and no longer", func(s *scenario) {
		s.hear(r.IssuedAt, r, "applied")
		s.call(r.Until.Add(-1), bot, "deny", r.ID)
		s.call(r.Until, bot, "allow")
		s.hear(r.Until.Add(-1), r, "duplicate")
		s.hear(r.Until, r, "refused").Reason = "expired"
	})
	v.add("time: an old one that has ended", func(s *scenario) {
		s.hear(r.Until.Add(24*time.Hour), r, "refused").Reason = "expired"
		s.call(r.Until.Add(24*time.Hour), bot, "allow")
	})
	v.add("time: two minutes from the future, and no more", func(s *scenario) {
		s.hear(r.IssuedAt.Add(-MaxSkew-1), r, "refused").Reason = "not_yet_valid"
		s.call(r.IssuedAt, bot, "allow")
		s.hear(r.IssuedAt.Add(-MaxSkew), r, "applied")
		s.call(r.IssuedAt.Add(-MaxSkew), bot, "deny", r.ID)
	})
	long := sample(func(r *Revocation) { r.Until = r.IssuedAt.Add(MaxDuration) })
	v.add("time: thirty days", func(s *scenario) {
		s.hear(long.IssuedAt.Add(MaxDuration-1), long, "applied")
		s.call(long.IssuedAt.Add(MaxDuration-1), bot, "deny", long.ID)
	})
}
