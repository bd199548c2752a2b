package notify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// The algorithms that a receiver may want. RS256 is the interoperability profile's.
var algorithms = []string{string(jose.RS256), string(jose.ES256), string(jose.EdDSA)}

const (
	rsaBits    = 3072    // of keys that are made here
	minRSA     = 2048    // the profile's least
	maxKeyFile = 1 << 16 // bytes
)

// Keys sign security event tokens for receivers outside. They are none of those that sign
// revocations: a receiver must not be able to take one for the other.
type Keys struct {
	signing map[string]jose.JSONWebKey // by algorithm
	public  jose.JSONWebKeySet
}

// OpenKeys reads the keys in a folder, and makes those that are wanted and missing. ALG.jwk
// signs; all other files that end in .jwk are old keys, whose public half is still served.
func OpenKeys(dir string, wanted ...string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the keys that sign events for others: %w", err)
	}
	for _, alg := range wanted {
		if err := makeKey(filepath.Join(dir, alg+".jwk"), alg); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jwk"))
	if err != nil {
		return nil, err
	}
	k := &Keys{signing: map[string]jose.JSONWebKey{}}
	for _, file := range files {
		key, err := loadKey(file)
		if err != nil {
			return nil, err
		}
		if strings.TrimSuffix(filepath.Base(file), ".jwk") == key.Algorithm {
			k.signing[key.Algorithm] = key
		}
		k.public.Keys = append(k.public.Keys, key.Public())
	}
	for _, alg := range wanted {
		if _, ok := k.signing[alg]; !ok {
			return nil, fmt.Errorf("%s is not a key for %s", filepath.Join(dir, alg+".jwk"), alg)
		}
	}
	return k, nil
}

// makeKey makes a key unless the file is there. Where several processes do at once, one of them wins.
func makeKey(path, alg string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := newKey(alg)
	if err != nil {
		return fmt.Errorf("cannot make a key for %s: %w", alg, err)
	}
	b, err := json.MarshalIndent(key, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot make a key for %s: %w", alg, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("cannot keep a key for %s: %w", alg, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot keep a key for %s: %w", alg, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot keep a key for %s: %w", alg, err)
	}
	return nil
}

func newKey(alg string) (jose.JSONWebKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case string(jose.RS256):
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case string(jose.ES256):
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	return withID(jose.JSONWebKey{Key: private})
}

// withID completes a private key: what it signs with, and its id, which is its thumbprint (RFC 7638).
func withID(key jose.JSONWebKey) (jose.JSONWebKey, error) {
	switch k := key.Key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSA {
			return key, fmt.Errorf("%d bits of RSA are less than %d", k.N.BitLen(), minRSA)
		}
		key.Algorithm = string(jose.RS256)
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return key, fmt.Errorf("the curve is %s, and ES256 takes P-256", k.Params().Name)
		}
		key.Algorithm = string(jose.ES256)
	case ed25519.PrivateKey:
		key.Algorithm = string(jose.EdDSA)
	default:
		return key, errors.New("it is not a private key of RSA, P-256 or Ed25519")
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	key.KeyID, key.Use = base64.RawURLEncoding.EncodeToString(sum), "sig"
	return key, err
}

func loadKey(path string) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	b, err := readSecretFile(path, maxKeyFile)
	if err != nil {
		return key, err
	}
	if err := json.Unmarshal(b, &key); err != nil {
		return key, fmt.Errorf("cannot read the key in %s: it is not a JSON Web Key", path)
	}
	if key, err = withID(key); err != nil {
		return key, fmt.Errorf("cannot use the key in %s: %w", path, err)
	}
	return key, nil
}

// readSecretFile reads a file that its owner alone may read.
func readSecretFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: others can read the key in it (chmod 600 %s)", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, err
}

// sign returns a payload as a compact JWS of a security event token.
func (k *Keys) sign(alg string, payload []byte) (string, error) {
	key, ok := k.signing[alg]
	if !ok {
		return "", fmt.Errorf("there is no key for %s", alg)
	}
	options := (&jose.SignerOptions{}).WithType("secevent+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// Public are the public halves, as receivers fetch them.
func (k *Keys) Public() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: slices.Clone(k.public.Keys)}
}
