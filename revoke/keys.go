package revoke

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// ErrKeyFile is wrapped where a key file is not what it should be: not an Ed25519 key, a
// key id that is not the thumbprint, or readable by others.
var ErrKeyFile = errors.New("bad key file")

const maxKeyFile = 1 << 20 // bytes

// GenerateKey makes a new signer of DefaultIssuer.
func GenerateKey() (Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Signer{}, fmt.Errorf("cannot generate key: %w", err)
	}
	return NewSigner(key)
}

// NewSigner returns a signer of DefaultIssuer with key.
func NewSigner(key ed25519.PrivateKey) (Signer, error) {
	kid, err := Thumbprint(key.Public().(ed25519.PublicKey))
	return Signer{Key: key, KID: kid, Issuer: DefaultIssuer}, err
}

// Thumbprint returns the key id of a public key: RFC 7638, SHA-256, base64url.
func Thumbprint(key ed25519.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("cannot take thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// SaveSigner writes the private key to path as a JWK that only its owner can read. It
// never overwrites: the error then wraps fs.ErrExist.
func SaveSigner(path string, s Signer) error {
	b, err := json.MarshalIndent(jose.JSONWebKey{Key: s.Key, KeyID: s.KID, Algorithm: string(jose.EdDSA), Use: "sig"}, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save key %q: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("cannot save key: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot save key %q: %w", path, err)
	}
	return nil
}

// LoadSigner reads what SaveSigner wrote. It refuses a file that others can read.
func LoadSigner(path string) (Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Signer{}, fmt.Errorf("cannot load key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Signer{}, fmt.Errorf("cannot load key %q: %w: mode %v lets others read it", path, ErrKeyFile, info.Mode().Perm())
	}
	b, err := readKeyFile(path)
	if err != nil {
		return Signer{}, err
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(b, &jwk); err != nil {
		return Signer{}, fmt.Errorf("cannot load key %q: %w: %w", path, ErrKeyFile, err)
	}
	key, ok := jwk.Key.(ed25519.PrivateKey)
	if !ok {
		return Signer{}, fmt.Errorf("cannot load key %q: %w: not a private Ed25519 key", path, ErrKeyFile)
	}
	return NewSigner(key)
}

// SaveVerifier writes the public keys to path as a JWK set. It replaces the file at once.
func SaveVerifier(path string, v Verifier) error {
	var set jose.JSONWebKeySet
	for kid, key := range v.Keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	slices.SortFunc(set.Keys, func(a, b jose.JSONWebKey) int {
		if a.KeyID < b.KeyID {
			return -1
		}
		return 1
	})
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save keys %q: %w", path, err)
	}
	if err := replaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("cannot save keys %q: %w", path, err)
	}
	return nil
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
// with another kind of key, or with a key id that is not the thumbprint is refused.
func ParseVerifier(jwks []byte) (Verifier, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return Verifier{}, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if len(set.Keys) == 0 {
		return Verifier{}, fmt.Errorf("%w: no key", ErrKeyFile)
	}
	v := Verifier{Keys: make(map[string]ed25519.PublicKey, len(set.Keys)), Issuer: DefaultIssuer}
	for i, jwk := range set.Keys {
		key, ok := jwk.Key.(ed25519.PublicKey)
		if !ok {
			return Verifier{}, fmt.Errorf("%w: key %d is not a public Ed25519 key", ErrKeyFile, i)
		}
		kid, err := Thumbprint(key)
		if err != nil {
			return Verifier{}, err
		}
		if jwk.KeyID != "" && jwk.KeyID != kid {
			return Verifier{}, fmt.Errorf("%w: key id %q is not the thumbprint %q", ErrKeyFile, jwk.KeyID, kid)
		}
		v.Keys[kid] = key
	}
	return v, nil
}

func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot load key: %w", err)
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("cannot load key %q: %w: larger than %d bytes", path, ErrKeyFile, maxKeyFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot load key: %w", err)
	}
	return b, nil
}
