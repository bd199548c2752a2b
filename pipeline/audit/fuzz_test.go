package audit

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzBundle(f *testing.F) {
	for _, name := range vectorFiles {
		data, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	keys, err := LoadVerifiers(filepath.Join(vectors, "log.pub"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			return
		}
		_, _ = Verify(b, VerifyOptions{Log: keys[0]}) // it must not panic
	})
}

func FuzzFiles(f *testing.F) {
	r, b := newRigged(f, 40), newBook(2, 200, 5, 30)
	l := r.fed(b)
	c, text, err := l.Entry(0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, path := range []string{leavesPath(0), stateFile, checkpointFile, "tile/entries/000.p/1"} {
		if data, err := os.ReadFile(filepath.Join(r.options.Dir, path)); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseChunk(data); err == nil && string(c.Text()) != string(data) {
			t.Errorf("%q is read as %q", data, c.Text())
		}
		if file, err := parseLeaves(&c, data); err == nil {
			_ = file.advance(newTrails(), 0)
			_, _ = file.hashes()
		}
		_, _ = parseState(data)
		_, _ = ParseCheckpoint(data, r.key)
		_, _, _ = splitEntries(data, tileWidth)
		_, _ = parseVerifier(string(data))
		_, _ = parseSigner(string(data))
	})
}
