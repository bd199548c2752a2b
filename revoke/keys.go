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
	k, err := newJWK(s.public())
	if err != nil {
		return fmt.Errorf("cannot save key %q: %w", path, err)
	}
	k.D = encode(s.Key.Seed())
	b, err := json.MarshalIndent(k, "", "  ")
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
	var more jwkMore
	if err := json.Unmarshal(b, &more); err != nil {
		return Signer{}, fmt.Errorf("cannot load key %q: %w: %w", path, ErrKeyFile, err)
	}
	s, err := NewSigner(key)
	s.Role, s.Name = more.use()
	return s, err
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
