package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAWriterGoesOnWhereTheLogEnds(t *testing.T) {
	r, b := newRigged(t, 40), newBook(3, 1000, 20, 1)
	half := &book{b.records[:len(b.records)/2]}
	w := r.writer()
	if err := feed(w, half, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = r.writer()
	if err := feed(w, b, func() {}); err != nil { // all of it: what the log has is passed over
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r.holds(b)
	if n := r.log().Size; n < 20 {
		t.Fatalf("only %d chunks: the test shows little", n)
	}
}

func TestALogHasOneWriter(t *testing.T) {
	r := newRigged(t, 40)
	w := r.writer()
	if _, err := OpenWriter(r.options); !errors.Is(err, ErrLocked) {
		t.Errorf("the second writer got %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.writer().Close(); err != nil {
		t.Error(err)
	}
}

var errCrash = errors.New("crash")

// TestACrashAtEveryWriteForgetsNoCheckpoint lets the writer crash at each step of each
// write in turn, and go on: the log must extend every checkpoint that anyone could read.
func TestACrashAtEveryWriteForgetsNoCheckpoint(t *testing.T) {
	b := newBook(2, 1500, 5, 2)
	r := newRigged(t, 4) // some hundred chunks, and so a full tile
	var seen []Checkpoint
	look := func() {
		l, err := OpenLog(folder(r.options.Dir), r.key)
		if err == nil {
			seen = append(seen, l.Checkpoint)
		}
	}
	crashes := 0
	const rounds, longest = 200, 67 // several checkpoints take so many steps
	for {
		store := openStore(r.options.Dir)
		steps := 0
		store.fault = func(step, path string) error {
			look() // whoever looks at this very moment
			if steps++; crashes < rounds && steps > crashes%longest {
				return errCrash
			}
			return nil
		}
		w, err := openWriter(r.options, store)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if err == nil {
			err = feed(w, b, look)
			w.lock.Close() // as the system does when the process dies
		}
		look()
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		crashes++
	}
	l := r.log()
	if l.Size <= tileWidth {
		t.Fatalf("%d chunks: no tile is full", l.Size)
	}
	for _, c := range seen {
		if err := l.Extends(c); err != nil {
			t.Fatalf("size %d of %d: %v", c.Size, l.Size, err)
		}
	}
	r.holds(b)
	t.Logf("%d crashes, %d looks at checkpoints, %d chunks", crashes, len(seen), l.Size)
}

func TestACheckpointThatWasSignedIsPublishedAfterAPowerFailure(t *testing.T) {
	r, b := newRigged(t, 40), newBook(2, 300, 5, 3)
	w := r.writer()
	var before []byte
	if err := feed(w, b, func() {
		if before == nil {
			before, _ = folder(r.options.Dir).Read(checkpointFile)
		}
	}); err != nil {
		t.Fatal(err)
	}
	last := r.log().Checkpoint
	w.lock.Close()
	// The rename of the checkpoint did not get to the disk; the others had all been synced.
	if err := os.WriteFile(filepath.Join(r.options.Dir, checkpointFile), before, 0o644); err != nil {
		t.Fatal(err)
	}
	w = r.writer()
	defer w.Close()
	if w.Size() != last.Size {
		t.Fatalf("the log has %d chunks; a reader has seen %d", w.Size(), last.Size)
	}
	if err := r.log().Extends(last); err != nil {
		t.Error(err)
	}
}

func TestAFileThatWasTamperedWithStopsTheWriter(t *testing.T) {
	for _, path := range []string{checkpointFile, leavesPath(3), "tile/0/000.p/%d", "tile/entries/000.p/%d"} {
		t.Run(path, func(t *testing.T) {
			r, b := newRigged(t, 40), newBook(1, 930, 5, 4)
			w := r.writer()
			if err := feed(w, b, func() {}); err != nil {
				t.Fatal(err)
			}
			w.lock.Close()
			if strings.Contains(path, "%") {
				path = fmt.Sprintf(path, w.Size())
			}
			name := filepath.Join(r.options.Dir, path)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)-1] ^= 1 // of a commitment: salts are a scan's
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(r.options.Dir, nextFile)); err != nil {
				t.Fatal(err)
			}
			if w, err := OpenWriter(r.options); err == nil {
				w.Close()
				t.Error("it goes on")
			}
		})
	}
}
