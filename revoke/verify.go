package revoke

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// MaxSkew is how far a token's issued_at may lie in the verifier's future.
const MaxSkew = 2 * time.Minute

// Why a token is refused. Every error of Verify wraps exactly one of them, or
// ErrUnknownKind. Only ErrUnknownKind comes with a revocation.
var (
	ErrTooLarge    = errors.New("token too large")
	ErrMalformed   = errors.New("malformed token")
	ErrType        = errors.New("wrong token type")
	ErrAlgorithm   = errors.New("wrong signature algorithm")
	ErrUnknownKey  = errors.New("unknown key")
	ErrSignature   = errors.New("bad signature")
	ErrIssuer      = errors.New("wrong issuer")
	ErrAudience    = errors.New("wrong audience")
	ErrUnderfilled = errors.New("under-filled or mismatched subject")
	ErrExpired     = errors.New("expired")
	ErrNotYetValid = errors.New("issued in the future")
	ErrRole        = errors.New("key may not sign this")
	ErrKeyTime     = errors.New("key not valid at this time")
	ErrUnapproved  = errors.New("not approved by a second operator")
)

// Verifier checks tokens. It is safe for concurrent use as long as Keys does not change.
type Verifier struct {
	Keys     map[string]PublicKey // by key id
	Rules    Rules
	Issuer   string // mandatory: an empty issuer matches none
	Audience string // empty: DefaultAudience
}

// Verify returns what token says if a trusted key signed it, it is for this audience, and
// it is in force at now. See the Err variables for why it would not be.
//
// A token that is genuine but whose scope or action is not known here gives both the
// revocation and an error that wraps ErrUnknownKind: the caller must not ignore it.
func (v Verifier) Verify(token []byte, now time.Time) (Revocation, error) {
	r, err := v.content(token)
	if err != nil {
		return Revocation{}, err
	}
	if err := v.Timely(token, r, now); err != nil {
		return Revocation{}, err
	}
	return r.checked()
}

// Timely returns nil if r, which is what token says, is in force at now, and so is the key that signed it.
func (v Verifier) Timely(token []byte, r Revocation, now time.Time) error {
	if err := r.Timely(now); err != nil {
		return err
	}
	p, err := parse(token)
	if err == nil {
		err = v.Keys[p.header.KeyID].ended(now)
	}
	if err != nil {
		return fmt.Errorf("cannot verify token %q: %w", r.ID, err)
	}
	return nil
}

// Timely returns nil if r is in force at now: not ended, and not issued in the future.
func (r Revocation) Timely(now time.Time) error {
	if r.IssuedAt.Sub(now) > MaxSkew {
		return fmt.Errorf("cannot verify token %q: %w: %v", r.ID, ErrNotYetValid, r.IssuedAt)
	}
	if !now.Before(r.Until) {
		return fmt.Errorf("cannot verify token %q: %w: %v", r.ID, ErrExpired, r.Until)
	}
	return nil
}

// Genuine is Verify without a look at the clock: it says what the token says whether or not
// that has ended.
func (v Verifier) Genuine(token []byte) (Revocation, error) {
	r, err := v.content(token)
	if err != nil {
		return Revocation{}, err
	}
	return r.checked()
}

func (v Verifier) content(token []byte) (Revocation, error) {
	r, err := v.decided(token)
	if err != nil {
		return Revocation{}, fmt.Errorf("cannot verify token: %w", err)
	}
	return r, nil
}

// decided returns what token says if whoever signed it may decide it.
func (v Verifier) decided(token []byte) (Revocation, error) {
	payload, key, err := v.open(token, TokenType)
	if err != nil {
		return Revocation{}, err
	}
	r, approvals, err := v.read(payload)
	if err != nil {
		return r, err
	}
	if err := key.mayIssue(r); err != nil {
		return r, err
	}
	// Where one operator is enough, approvals that are not good do no harm.
	r.ApprovedBy, err = v.second(r, key, approvals)
	if err != nil && v.Rules.Wants(r) {
		return r, fmt.Errorf("%w: token %q: %v", ErrUnapproved, r.ID, err)
	}
	return r, nil
}

// checked returns r, and an error unless it is valid; with one, r only where nothing but its
// scope or action is unknown.
func (r Revocation) checked() (Revocation, error) {
	if err := r.Validate(); errors.Is(err, ErrUnknownKind) {
		return r, fmt.Errorf("cannot verify token %q: %w", r.ID, err)
	} else if err != nil {
		return Revocation{}, fmt.Errorf("cannot verify token %q: %w: %w", r.ID, ErrMalformed, err)
	}
	return r, nil
}

// header is all that the protected header may say: anything else, crit above all, would
// change what the signature means.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// open checks form, type and signature, and returns the payload and the key.
func (v Verifier) open(token []byte, typ string) (payload []byte, key PublicKey, err error) {
	if len(token) > MaxToken {
		return nil, key, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(token))
	}
	p, err := parse(token)
	if err != nil {
		return nil, key, err
	}
	h := p.header
	if h.Type != typ {
		return nil, key, fmt.Errorf("%w: %q", ErrType, h.Type)
	}
	if h.Algorithm != string(jose.EdDSA) {
		return nil, key, fmt.Errorf("%w: %q", ErrAlgorithm, h.Algorithm)
	}
	key, ok := v.Keys[h.KeyID]
	if !ok || len(key.Key) != ed25519.PublicKeySize {
		return nil, key, fmt.Errorf("%w: %q", ErrUnknownKey, h.KeyID)
	}
	if p.own {
		if !ed25519.Verify(key.Key, p.signed, p.signature) {
			return nil, key, fmt.Errorf("%w: token signed by %q", ErrSignature, h.KeyID)
		}
		return p.payload, key, nil
	}
	jws, err := jose.ParseSignedCompact(string(token), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, key, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	payload, err = jws.Verify(key.Key)
	if err != nil {
		return nil, key, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return payload, key, nil
}

// parsed is a token in its parts, of which nothing is believed yet.
type parsed struct {
	header             header
	own                bool   // the header is written as ours is, to the byte: there is nothing else in it
	signed             []byte // the first two parts, as they came
	payload, signature []byte
}

// parse takes apart the three parts, all of which must be canonical base64url: otherwise several tokens would
// carry one signature.
func parse(token []byte) (parsed, error) {
	var p parsed
	parts := bytes.SplitN(token, []byte("."), 4)
	if len(parts) != 3 {
		return p, fmt.Errorf("%w: not three parts", ErrMalformed)
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := decodeCanonical(part)
		if err != nil {
			return p, fmt.Errorf("%w: part %d: %w", ErrMalformed, i+1, err)
		}
		decoded[i] = b
	}
	p.signed, p.payload, p.signature = token[:len(parts[0])+1+len(parts[1])], decoded[1], decoded[2]
	if p.header, p.own = ownHeader(decoded[0]); p.own {
		return p, nil
	}
	d := json.NewDecoder(bytes.NewReader(decoded[0]))
	d.DisallowUnknownFields()
	if err := d.Decode(&p.header); err != nil {
		return p, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return p, nil
}

// ownHeader reads a header that is written as our signer writes it, which most are, and needs no JSON for it.
func ownHeader(b []byte) (header, bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"alg":"EdDSA","kid":"`))
	if !ok {
		return header{}, false
	}
	kid, rest, _ := bytes.Cut(rest, []byte(`","typ":"`))
	typ, ok := bytes.CutSuffix(rest, []byte(`"}`))
	// What could be an escape in JSON, or end a string, is for the decoder.
	if !ok || !isPlain(string(kid)) || bytes.ContainsFunc(typ, notInType) {
		return header{}, false
	}
	return header{Algorithm: string(jose.EdDSA), KeyID: string(kid), Type: string(typ)}, true
}

func notInType(c rune) bool { return !(c >= 'a' && c <= 'z' || c == '+' || c == '-') }

func decodeCanonical(p []byte) ([]byte, error) {
	// The decoder skips line ends even where it is strict.
	if len(p) == 0 || bytes.ContainsAny(p, "\r\n") {
		return nil, errors.New("empty or broken base64url")
	}
	return base64.RawURLEncoding.Strict().AppendDecode(nil, p)
}

// read makes a revocation of a payload whose signature is good, and returns its approvals.
func (v Verifier) read(payload []byte) (Revocation, []string, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Revocation{}, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := v.addressed(c.Issuer, c.Audience); err != nil {
		return Revocation{}, nil, err
	}
	r, err := c.revocation()
	if err != nil {
		return Revocation{}, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !c.SubID.matches(r) {
		return Revocation{}, nil, fmt.Errorf("%w: token %q", ErrUnderfilled, c.ID)
	}
	return r, c.Approvals, nil
}

// addressed checks who says it and for whom.
func (v Verifier) addressed(issuer, audience string) error {
	if v.Issuer == "" || issuer != v.Issuer {
		return fmt.Errorf("%w: %q", ErrIssuer, issuer)
	}
	if audience != audienceOr(v.Audience) {
		return fmt.Errorf("%w: %q", ErrAudience, audience)
	}
	return nil
}
