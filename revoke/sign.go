package revoke

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// What a token carries where nothing else is configured, its type, and its largest size.
const (
	DefaultIssuer   = "estop"
	DefaultAudience = "estop-guards"
	TokenType       = "secevent+jwt"
	MaxToken        = 16 << 10 // bytes
)

// Signer signs revocations as Security Event Tokens (RFC 8417) with EdDSA.
type Signer struct {
	Key      ed25519.PrivateKey
	KID      string // RFC 7638 thumbprint of the public key
	Issuer   string
	Audience string // empty: DefaultAudience
	Role     Role   // what guards believe of the key; empty: all
	Name     string // of the operator
}

func (s Signer) public() PublicKey {
	return PublicKey{Key: s.Key.Public().(ed25519.PublicKey), Role: s.Role, Name: s.Name}
}

// Sign returns r as a compact JWS. It refuses what Validate refuses (ErrInvalid) and what
// would be longer than MaxToken (ErrTooLarge). Times keep their nanoseconds, not their zone.
func (s Signer) Sign(r Revocation) (string, error) {
	if err := r.Validate(); err != nil {
		return "", fmt.Errorf("cannot sign revocation %q: %w", r.ID, err)
	}
	return s.sign(r)
}

func (s Signer) sign(r Revocation) (string, error) { return s.token(r, TokenType, nil) }

// token returns r as a token of a type, with approvals.
func (s Signer) token(r Revocation, typ jose.ContentType, approvals []string) (string, error) {
	c, err := newClaims(r, s.Issuer, audienceOr(s.Audience))
	if err != nil {
		return "", fmt.Errorf("cannot sign revocation %q: %w", r.ID, err)
	}
	c.Approvals = approvals
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("cannot sign revocation %q: %w", r.ID, err)
	}
	token, err := s.jws(payload, typ)
	if err != nil {
		return "", fmt.Errorf("cannot sign revocation %q: %w", r.ID, err)
	}
	if len(token) > MaxToken {
		return "", fmt.Errorf("cannot sign revocation %q: %w: %d bytes", r.ID, ErrTooLarge, len(token))
	}
	return token, nil
}

func audienceOr(audience string) string {
	if audience == "" {
		return DefaultAudience
	}
	return audience
}

func (s Signer) jws(payload []byte, typ jose.ContentType) (string, error) {
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: s.Key, KeyID: s.KID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// Record signs r and returns it with its token, ready for the topic and the Publisher.
func (s Signer) Record(r Revocation) (Record, error) {
	set, err := s.Sign(r)
	return Record{Revocation: r, SET: set}, err
}

// Verifier returns a verifier that trusts this signer alone.
func (s Signer) Verifier() Verifier {
	return Verifier{
		Keys:     map[string]PublicKey{s.KID: s.public()},
		Issuer:   s.Issuer,
		Audience: s.Audience,
	}
}
