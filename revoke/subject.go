package revoke

import (
	"crypto/sha256"
	"encoding/base64"
)

// The NATS subjects of protocol version 1.
const (
	RevokePrefix = "estop.v1.revoke" // .<tenant token>.<scope token>.<subject token>
	AckPrefix    = "estop.v1.ack"    // .<guard token>

	// GlobalSubjects is the wildcard subject of what concerns all tenants. No tenant's name has the
	// token ~.
	GlobalSubjects = RevokePrefix + ".~.>"
	globalSubject  = RevokePrefix + ".~.global.~"
)

// Longest names that a token carries as they are and in base64url; above that it is a hash.
const (
	maxPlain  = 96
	maxBase64 = 96
)

// Subject returns the NATS subject of r. It names the whole target: tenant, scope and
// subject. So the last message of a NATS subject is what holds for that target.
func Subject(r Revocation) string {
	if r.Scope == Global {
		return globalSubject
	}
	return RevokePrefix + "." + Token(r.Tenant) + "." + Token(string(r.Scope)) + "." + Token(r.Subject)
}

// TenantSubjects returns the wildcard subject of all revocations of one tenant.
func TenantSubjects(tenant string) string { return RevokePrefix + "." + Token(tenant) + ".>" }

// AckSubject returns the NATS subject on which the named guard acknowledges.
func AckSubject(guard string) string { return AckPrefix + "." + Token(guard) }

// Token writes any name as one NATS subject token of at most 129 bytes, free of dots,
// wildcards, spaces and control characters. Different names have different tokens:
//
//   - letters, digits, '-' and '_' only, up to 96 bytes: the name itself;
//   - anything else up to 96 bytes: '=' and the name in base64url (the empty name is "=");
//   - longer: '~' and its SHA-256 in base64url.
func Token(name string) string {
	switch {
	case len(name) <= maxPlain && isPlain(name):
		return name
	case len(name) <= maxBase64:
		return "=" + base64.RawURLEncoding.EncodeToString([]byte(name))
	}
	sum := sha256.Sum256([]byte(name))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// TokenName reverses Token. It reports false for hashes and for what Token never writes.
func TokenName(token string) (string, bool) {
	name := token
	if len(token) > 0 && token[0] == '=' {
		b, err := base64.RawURLEncoding.Strict().DecodeString(token[1:])
		if err != nil {
			return "", false
		}
		name = string(b)
	}
	if Token(name) != token {
		return "", false
	}
	return name, true
}

func isPlain(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}
