package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Watch says which log is watched, and where what was seen of it is kept.
type Watch struct {
	Files Files
	Log   note.Verifier
	// State is the file of the last checkpoint that was found to be consistent.
	State string
	// Others are checkpoints of the same log that others got: from a witness, a mirror, a bundle.
	Others [][]byte
}

// Watched is what was seen.
type Watched struct {
	Origin string `json:"origin"`
	Before int64  `json:"size_before"` // 0: it was the first look
	Size   int64  `json:"size"`
	Root   string `json:"root"`
	Others int    `json:"others"` // checkpoints of others that agree

	checkpoint Checkpoint
}

// Look checks that the log extends what was seen of it before, and what others saw. It keeps
// what it saw only if it does.
func (w *Watch) Look() (Watched, error) {
	seen, err := w.look()
	if err != nil {
		return seen, err
	}
	return seen, saveFile(w.State, seen.checkpoint.Note)
}

func (w *Watch) look() (Watched, error) {
	l, err := OpenLog(w.Files, w.Log)
	if err != nil {
		return Watched{}, err
	}
	seen := Watched{Origin: l.Origin, Size: l.Size, Root: b64(l.Root), checkpoint: l.Checkpoint}
	old, err := w.before()
	if err != nil {
		return seen, err
	}
	seen.Before = old.Size
	if err := l.Extends(old); err != nil {
		return seen, err
	}
	for _, msg := range w.Others {
		other, err := ParseCheckpoint(msg, w.Log)
		if err != nil {
			return seen, err
		}
		if other.Size > l.Size {
			err = other.Open(w.Files).Extends(l.Checkpoint)
		} else {
			err = l.Extends(other)
		}
		if err != nil {
			return seen, fmt.Errorf("a checkpoint that others got: %w", err)
		}
		seen.Others++
	}
	return seen, nil
}

// before returns what was seen last; of size 0 where nothing was.
func (w *Watch) before() (Checkpoint, error) {
	msg, err := os.ReadFile(w.State)
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("cannot read what was seen of the log before: %w", err)
	}
	c, err := ParseCheckpoint(msg, w.Log)
	if err != nil {
		return c, fmt.Errorf("%q: %w", w.State, err)
	}
	return c, nil
}

// saveFile replaces a file so that a crash leaves the old one or the new one.
func saveFile(path string, data []byte) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	s := openStore(filepath.Clean(dir))
	if err := s.write(name, data); err != nil {
		return err
	}
	return s.sync()
}

// Witness watches a log and cosigns what it found to be consistent.
type Witness struct {
	Watch
	Key string // file of the witness's private key
	// Out is a further file of the cosigned checkpoint, for those who make bundles.
	Out   string
	Clock func() time.Time // default: time.Now
}

// Cosign looks at the log and cosigns its checkpoint. It remembers the checkpoint before it
// gives its signature away, so that it never cosigns two histories.
func (w *Witness) Cosign() (Watched, []byte, error) {
	key, err := loadSigner(w.Key, WitnessRole)
	if err != nil {
		return Watched{}, nil, err
	}
	if w.Clock != nil {
		key.clock = w.Clock
	}
	seen, err := w.look()
	if err != nil {
		return seen, nil, err
	}
	n, err := note.Open(seen.checkpoint.Note, note.VerifierList(w.Log))
	if err != nil {
		return seen, nil, err
	}
	n.UnverifiedSigs = nil // whoever else signed says so elsewhere
	msg, err := note.Sign(n, key)
	if err != nil {
		return seen, nil, fmt.Errorf("cannot cosign: %w", err)
	}
	if err := saveFile(w.State, msg); err != nil {
		return seen, nil, err
	}
	if w.Out != "" {
		if err := saveFile(w.Out, msg); err != nil {
			return seen, nil, err
		}
	}
	return seen, msg, nil
}

// witnessDir is where witnesses leave the checkpoints that they cosigned.
const witnessDir = "witness"

// WitnessPath returns where in the folder of a log a witness leaves what it cosigned.
func WitnessPath(dir, name string) string {
	return filepath.Join(dir, witnessDir, strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' {
			return '-'
		}
		return r
	}, name))
}

// OpenCosigned opens a log at the newest checkpoint that a witness has cosigned, with the
// cosignatures of all that cosigned the same; at the newest of all where none did.
func OpenCosigned(dir string, key note.Verifier) (*Log, error) {
	newest, err := OpenLog(folder(dir), key)
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, witnessDir, "*"))
	if err != nil {
		return nil, err
	}
	var best Checkpoint
	for _, name := range names {
		if strings.HasSuffix(name, ".new") {
			continue
		}
		msg, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read a cosigned checkpoint: %w", err)
		}
		c, err := ParseCheckpoint(msg, key)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		switch {
		case c.Size > best.Size && c.Size <= newest.Size:
			best = c
		case c.Size == best.Size && c.Root == best.Root:
			best.Note = joinNotes(best.Note, c.Note)
		}
	}
	if best.Size == 0 {
		return newest, nil
	}
	if err := newest.Extends(best); err != nil {
		return nil, err
	}
	return best.Open(folder(dir)), nil
}

// joinNotes adds the signatures of b that a lacks; both are of the same text.
func joinNotes(a, b []byte) []byte {
	has := strings.Split(string(a), "\n")
	joined := string(a)
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(line, "— ") && !slices.Contains(has, line) {
			joined += line + "\n"
		}
	}
	return []byte(joined)
}
