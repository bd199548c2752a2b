package audit

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a signed state of a log.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   Hash
	// Witnesses are the known ones that cosigned it.
	Witnesses []Cosignature
	Note      []byte // as it was signed
}

// Cosignature is a witness's word that the checkpoint is consistent with all that it saw of
// this log before.
type Cosignature struct {
	Name string    `json:"witness"`
	At   time.Time `json:"at"`
}

// checkpointText is what is signed.
func checkpointText(origin string, size int64, root Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
}

// maxNote bounds a signed checkpoint, in bytes.
const maxNote = 1 << 16

// ErrCheckpoint says that a checkpoint is not what a trusted key signed.
var ErrCheckpoint = errors.New("the checkpoint is refused")

// ParseCheckpoint checks a checkpoint. The log's key must have signed it, and the note names
// that key as its origin; witnesses that are not known are passed over, and a known one
// whose signature is wrong refuses the whole.
func ParseCheckpoint(msg []byte, log note.Verifier, witnesses ...note.Verifier) (Checkpoint, error) {
	if len(msg) > maxNote {
		return Checkpoint{}, fmt.Errorf("%w: it is longer than %d bytes", ErrCheckpoint, maxNote)
	}
	n, err := note.Open(msg, note.VerifierList(append([]note.Verifier{log}, witnesses...)...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: no signature of %q that holds: %w", ErrCheckpoint, log.Name(), err)
	}
	c := Checkpoint{Note: msg}
	signed := false
	for _, s := range append(slices.Clone(n.Sigs), n.UnverifiedSigs...) {
		if base64.StdEncoding.EncodeToString(signatureAll(s)) != s.Base64 {
			return Checkpoint{}, fmt.Errorf("%w: a signature is not written as it must be", ErrCheckpoint)
		}
	}
	for _, s := range n.Sigs {
		if s.Name == log.Name() && s.Hash == log.KeyHash() {
			signed = true
			continue
		}
		c.Witnesses = append(c.Witnesses, Cosignature{s.Name, signedAt(s)})
	}
	if !signed {
		return Checkpoint{}, fmt.Errorf("%w: %q did not sign it", ErrCheckpoint, log.Name())
	}
	return c, c.parse(n.Text)
}

// signedAt returns the time of a cosignature; zero for other signatures.
func signedAt(s note.Signature) time.Time {
	v := signatureAll(s)
	if len(v) < 4+8 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(v[4:])), 0).UTC()
}

func (c *Checkpoint) parse(text string) error {
	lines := strings.Split(text, "\n")
	var p parser
	if len(lines) == 4 {
		c.Origin, c.Size = lines[0], p.number(lines[1], 1<<62)
		p.hash(&c.Root, lines[2])
	}
	if p.failed || text != checkpointText(c.Origin, c.Size, c.Root) {
		return fmt.Errorf("%w: its text is no checkpoint", ErrCheckpoint)
	}
	return nil
}

func (c Checkpoint) tree() tlog.Tree { return tlog.Tree{N: c.Size, Hash: c.Root} }

// sign returns the signed checkpoint.
func (s *signer) checkpoint(size int64, root Hash) ([]byte, error) {
	msg, err := note.Sign(&note.Note{Text: checkpointText(s.name, size, root)}, s)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the checkpoint: %w", err)
	}
	return msg, nil
}

// signatureAll returns what a signature holds, the key's id in front.
func signatureAll(s note.Signature) []byte {
	b, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || len(b) < 4 {
		return nil
	}
	return b
}
