package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The types of keys, as C2SP numbers them.
const (
	algLog     = 1 // Ed25519 over the text of the note: signs a log
	algWitness = 4 // Ed25519 over a time and the text: cosigns one
)

// Role is what a key is for.
type Role string

// The roles.
const (
	LogRole     Role = "log"     // signs the checkpoints of a log
	WitnessRole Role = "witness" // cosigns what it found to be consistent
)

var errKey = errors.New("not a key of an audit log or a witness")

// GenerateKey makes a key. Its name is a log's origin or a witness's name: a text without
// spaces and plus signs, best a name of your own domain's.
func GenerateKey(role Role, name string) (private, public string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return "", "", fmt.Errorf("cannot make a key with the name %q: it is empty or has a space or a plus sign", name)
	}
	alg := byte(algLog)
	if role == WitnessRole {
		alg = algWitness
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("cannot make a key: %w", err)
	}
	id := keyID(name, alg, pub)
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(append([]byte{alg}, b...)) }
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, encode(key.Seed())), fmt.Sprintf("%s+%08x+%s", name, id, encode(pub)), nil
}

// keyID is the first four bytes of the hash of name and key.
func keyID(name string, alg byte, pub ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append(append([]byte(name), '\n', alg), pub...))
	return binary.BigEndian.Uint32(sum[:])
}

// keyText takes the text of a key apart.
func keyText(text string) (name string, id uint32, alg byte, key []byte, err error) {
	name, rest, _ := strings.Cut(text, "+")
	hexID, data, _ := strings.Cut(rest, "+")
	n, err1 := strconv.ParseUint(hexID, 16, 32)
	b, err2 := base64.StdEncoding.DecodeString(data)
	if name == "" || len(hexID) != 8 || err1 != nil || err2 != nil || len(b) != 1+ed25519.SeedSize || b[0] != algLog && b[0] != algWitness {
		return "", 0, 0, nil, errKey
	}
	return name, uint32(n), b[0], b[1:], nil
}

// verifier is a public key.
type verifier struct {
	name string
	id   uint32
	alg  byte
	key  ed25519.PublicKey
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return v.id }

// Verify checks a signature over the text of a note.
func (v *verifier) Verify(text, sig []byte) bool {
	if v.alg == algLog {
		return ed25519.Verify(v.key, text, sig)
	}
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return ed25519.Verify(v.key, cosigned(at, text), sig[8:])
}

// cosigned returns what a witness signs.
func cosigned(at uint64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), text...)
}

// ParseVerifier reads a public key: name+id+key.
func ParseVerifier(text string) (note.Verifier, error) { return parseVerifier(text) }

func parseVerifier(text string) (*verifier, error) {
	name, id, alg, key, err := keyText(strings.TrimSpace(text))
	if err != nil || keyID(name, alg, key) != id {
		return nil, fmt.Errorf("%w: %.80q; its form is name+id+key", errKey, text)
	}
	return &verifier{name, id, alg, key}, nil
}

// signer is a private key.
type signer struct {
	verifier
	private ed25519.PrivateKey
	clock   func() time.Time
}

// Sign signs the text of a note.
func (s *signer) Sign(text []byte) ([]byte, error) {
	if s.alg == algLog {
		return ed25519.Sign(s.private, text), nil
	}
	at := uint64(s.clock().Unix())
	return append(binary.BigEndian.AppendUint64(nil, at), ed25519.Sign(s.private, cosigned(at, text))...), nil
}

func parseSigner(text string) (*signer, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "PRIVATE+KEY+")
	name, id, alg, seed, err := keyText(rest)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: a private one begins with PRIVATE+KEY+", errKey)
	}
	private := ed25519.NewKeyFromSeed(seed)
	pub := private.Public().(ed25519.PublicKey)
	if keyID(name, alg, pub) != id {
		return nil, fmt.Errorf("%w: its id is not its key's", errKey)
	}
	return &signer{verifier{name, id, alg, pub}, private, time.Now}, nil
}

// loadSigner reads a private key of a role from a file.
func loadSigner(path string, role Role) (*signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key: %w", err)
	}
	s, err := parseSigner(string(b))
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %q: %w", path, err)
	}
	if (s.alg == algWitness) != (role == WitnessRole) {
		return nil, fmt.Errorf("cannot use the key %q: it is not that of a %s", path, role)
	}
	return s, nil
}

// PublicPath is where the public half of a key is, beside it.
func PublicPath(private string) string {
	return strings.TrimSuffix(private, filepath.Ext(private)) + ".pub"
}

// SaveKey makes a key in a file, and its public half beside it. It never writes over one.
func SaveKey(path string, role Role, name string) (public string, err error) {
	private, public, err := GenerateKey(role, name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder of the key: %w", err)
	}
	for _, file := range []struct {
		path, text string
		mode       fs.FileMode
	}{{path, private, 0o600}, {PublicPath(path), public, 0o644}} {
		f, err := os.OpenFile(file.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode)
		if err != nil {
			return "", fmt.Errorf("cannot make the key: %w", err)
		}
		_, err = f.WriteString(file.text + "\n")
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return "", fmt.Errorf("cannot write the key %q: %w", file.path, err)
		}
	}
	return public, nil
}

// LoadVerifiers reads public keys, one a line, from files.
func LoadVerifiers(paths ...string) ([]note.Verifier, error) {
	var all []note.Verifier
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read the public key: %w", err)
		}
		for _, line := range strings.Fields(string(b)) {
			v, err := ParseVerifier(line)
			if err != nil {
				return nil, fmt.Errorf("cannot read the public key in %q: %w", path, err)
			}
			all = append(all, v)
		}
	}
	return all, nil
}
