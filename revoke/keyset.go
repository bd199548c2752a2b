package revoke

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Role is what a key may sign. A key without one signs everything: keys were made so before
// there were roles.
type Role string

// The roles. A key of another one signs nothing.
const (
	DetectorRole Role = "detector" // what a detector decides, heartbeats and risks
	OperatorRole Role = "operator" // what the person of its name decides
)

// PublicKey is a key that guards trust, for what, and from when until when.
type PublicKey struct {
	Key       ed25519.PublicKey
	Role      Role      // empty: every one
	Name      string    // of an operator
	NotBefore time.Time // it signs nothing that was issued earlier; zero: no bound
	NotAfter  time.Time // it signs nothing that was issued later, and then counts for nothing; zero: no bound
}

var errName = errors.New("an operator's key needs a name of 1 to 256 bytes, and no other key has one")

// mayIssue checks that a key of this role decides such things.
func (k PublicKey) mayIssue(r Revocation) error {
	switch {
	case k.Role == "":
	case k.Role == DetectorRole && r.Initiator == Policy:
	case k.Role == OperatorRole && r.Initiator == Admin && r.By == k.Name:
	default:
		return fmt.Errorf("%w: %q of the %s key %q", ErrRole, r.Initiator+" "+r.By, k.Role, k.Name)
	}
	return k.covers(r.IssuedAt)
}

// mayTell checks that a key tells what only a detector knows: heartbeats and risks.
func (k PublicKey) mayTell(issued time.Time) error {
	if k.Role != "" && k.Role != DetectorRole {
		return fmt.Errorf("%w: what a detector tells, of the %s key %q", ErrRole, k.Role, k.Name)
	}
	return k.covers(issued)
}

// covers checks that the key was to be used at the moment at which something was issued.
func (k PublicKey) covers(issued time.Time) error {
	if issued.Before(k.NotBefore) || !k.NotAfter.IsZero() && issued.After(k.NotAfter) {
		return fmt.Errorf("%w: issued at %v", ErrKeyTime, issued)
	}
	return nil
}

// ended checks that the key counts for something still.
func (k PublicKey) ended(now time.Time) error {
	if !k.NotAfter.IsZero() && now.After(k.NotAfter) {
		return fmt.Errorf("%w: it ended at %v", ErrKeyTime, k.NotAfter)
	}
	return nil
}

// jwk is an Ed25519 key as it is written. Reading is go-jose's, and jwkMore what it leaves out.
type jwk struct {
	Use       string `json:"use"`
	Kty       string `json:"kty"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv"`
	Algorithm string `json:"alg"`
	X         string `json:"x"`
	D         string `json:"d,omitempty"`
	jwkMore
}

// jwkMore are the members of a JWK that are ours, and those of time.
type jwkMore struct {
	NotBefore int64   `json:"nbf,omitempty"` // seconds
	NotAfter  int64   `json:"exp,omitempty"`
	Estop     *keyUse `json:"estop,omitempty"`
}

type keyUse struct {
	Role Role   `json:"role"`
	Name string `json:"name,omitempty"`
}

func newJWK(k PublicKey) (jwk, error) {
	kid, err := Thumbprint(k.Key)
	j := jwk{Use: "sig", Kty: "OKP", KeyID: kid, Curve: "Ed25519", Algorithm: string(jose.EdDSA), X: encode(k.Key)}
	j.NotBefore, j.NotAfter = unix(k.NotBefore), unix(k.NotAfter)
	if k.Role != "" {
		j.Estop = &keyUse{k.Role, k.Name}
	}
	return j, err
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func (m jwkMore) use() (Role, string) {
	if m.Estop == nil {
		return "", ""
	}
	return m.Estop.Role, m.Estop.Name
}

// on returns the key with what is said of it.
func (m jwkMore) on(key ed25519.PublicKey) (PublicKey, error) {
	k := PublicKey{Key: key, NotBefore: seconds(m.NotBefore), NotAfter: seconds(m.NotAfter)}
	k.Role, k.Name = m.use()
	switch {
	case m.Estop != nil && k.Role == "":
		return k, errors.New("estop.role is missing")
	case (k.Role == OperatorRole) != (k.Name != "") && (k.Role == OperatorRole || k.Role == DetectorRole), len(k.Name) > maxName:
		return k, errName
	case m.NotBefore < 0 || m.NotAfter < 0 || !k.NotAfter.IsZero() && k.NotAfter.Before(k.NotBefore):
		return k, errors.New("exp comes before nbf")
	}
	return k, nil
}

func seconds(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// SaveVerifier writes the public keys to path as a JWK set. It replaces the file at once.
func SaveVerifier(path string, v Verifier) error {
	b, err := v.marshal()
	if err == nil {
		err = replaceFile(path, b)
	}
	if err != nil {
		return fmt.Errorf("cannot save keys %q: %w", path, err)
	}
	return nil
}

func (v Verifier) marshal() ([]byte, error) {
	set := struct {
		Keys  []jwk  `json:"keys"`
		Rules *Rules `json:"estop,omitempty"`
	}{}
	for _, kid := range slices.Sorted(maps.Keys(v.Keys)) {
		k, err := newJWK(v.Keys[kid])
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, k)
	}
	if len(v.Rules.TwoPerson) > 0 || v.Rules.BreakGlass {
		set.Rules = &v.Rules
	}
	b, err := json.MarshalIndent(set, "", "  ")
	return append(b, '\n'), err
}

func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// LoadVerifier reads a JWK set of public Ed25519 keys. Issuer is DefaultIssuer until the
// caller says otherwise.
func LoadVerifier(path string) (Verifier, error) {
	b, err := readKeyFile(path)
	if err != nil {
		return Verifier{}, err
	}
	v, err := ParseVerifier(b)
	if err != nil {
		return Verifier{}, fmt.Errorf("cannot load keys %q: %w", path, err)
	}
	return v, nil
}

// ParseVerifier reads a JWK set, for example what a jwks_uri serves. A set without a key,
// with another kind of key, with a key id that is not the thumbprint, or with a rule that is not
// known is refused.
func ParseVerifier(jwks []byte) (Verifier, error) {
	var set struct {
		Keys  []json.RawMessage `json:"keys"`
		Rules json.RawMessage   `json:"estop"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return Verifier{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if len(set.Keys) == 0 {
		return Verifier{}, fmt.Errorf("%w: no key", ErrKeyFile)
	}
	v := Verifier{Keys: make(map[string]PublicKey, len(set.Keys)), Issuer: DefaultIssuer}
	for i, raw := range set.Keys {
		kid, k, err := parseJWK(raw)
		if err != nil {
			return Verifier{}, fmt.Errorf("%w: key %d: %w", ErrKeyFile, i, err)
		}
		v.Keys[kid] = k
	}
	var err error
	if v.Rules, err = parseRules(set.Rules); err != nil {
		return Verifier{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return v, nil
}

func parseJWK(raw []byte) (string, PublicKey, error) {
	var j jose.JSONWebKey
	if err := json.Unmarshal(raw, &j); err != nil {
		return "", PublicKey{}, err
	}
	key, ok := j.Key.(ed25519.PublicKey)
	if !ok {
		return "", PublicKey{}, errors.New("it is not a public Ed25519 key")
	}
	kid, err := Thumbprint(key)
	if err != nil {
		return "", PublicKey{}, err
	}
	if j.KeyID != "" && j.KeyID != kid {
		return "", PublicKey{}, fmt.Errorf("key id %q is not the thumbprint %q", j.KeyID, kid)
	}
	var more jwkMore
	if err := json.Unmarshal(raw, &more); err != nil {
		return "", PublicKey{}, err
	}
	k, err := more.on(key)
	return kid, k, err
}

func parseRules(raw json.RawMessage) (Rules, error) {
	var r Rules
	if len(raw) == 0 || string(raw) == "null" {
		return r, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("estop: %w", err)
	}
	return r, r.Check()
}
