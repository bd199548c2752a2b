package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// opened opens a file and returns what it held, each as "key=value".
func opened(t testing.TB, path, owner string) (*File, []string) {
	t.Helper()
	var held []string
	f, err := Open(path, owner, func(r Record, place int64) error {
		held = append(held, fmt.Sprintf("%s=%s", r.Key, r.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, held
}

func record(key, value string) Record { return Record{[]byte(key), []byte(value)} }

func TestAFileGivesBackWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "calls-0")
	f, held := opened(t, path, "topic")
	if len(held) != 0 {
		t.Fatalf("a new file holds %v", held)
	}
	long := bytes.Repeat([]byte("x"), 3<<20)
	places, err := f.Append(record("a", "1"), record("b", ""), Record{[]byte("long"), long}, record("a", "2"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"1", "", string(long), "2"} {
		if r, err := f.Read(places[i]); err != nil || string(r.Value) != want {
			t.Errorf("record %d: %d bytes, %v", i, len(r.Value), err)
		}
	}
	if _, err := f.Read(places[0] + 1); !errors.Is(err, ErrGarbled) {
		t.Errorf("where no record begins: %v", err)
	}
	f.Close()
	if _, held := opened(t, path, "topic"); len(held) != 4 || held[3] != "a=2" {
		t.Errorf("read back: %d records", len(held))
	}
}

func TestAFileOfAnotherTopicIsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls-0")
	f, _ := opened(t, path, "this")
	f.Append(record("a", "1"))
	f.Close()
	f, held := opened(t, path, "that")
	if len(held) != 0 {
		t.Errorf("taken from another topic: %v", held)
	}
	f.Close()
	if _, held := opened(t, path, "this"); len(held) != 0 {
		t.Errorf("the file kept %v", held)
	}
}

func TestAFileIsOneProcesss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls-0")
	opened(t, path, "topic")
	if _, err := Open(path, "topic", nil); !errors.Is(err, ErrInUse) {
		t.Errorf("the second gets %v", err)
	}
}

// However much of the end is missing, and whatever byte is wrong, what stands before is read and can be gone on with.
func TestATornFileIsReadUpToTheTear(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "calls-0")
	f, _ := opened(t, path, "topic")
	all := []string{"a=1", "b=22", "c=333"}
	ends := []int64{f.Size()}
	for _, s := range all {
		if _, err := f.Append(record(s[:1], s[2:])); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, f.Size())
	}
	f.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		before := 0
		for before < len(all) && ends[before+1] <= int64(n) {
			before++
		}
		wrong := bytes.Clone(whole)
		wrong[n] ^= 0x40
		for name, b := range map[string][]byte{"cut": whole[:n], "wrong": wrong} {
			path := filepath.Join(dir, fmt.Sprint(name, n))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			f, held := opened(t, path, "topic")
			if diff := cmp.Diff(all[:before], held); diff != "" && before+len(held) > 0 {
				t.Fatalf("%s at %d of %d:\n%s", name, n, len(whole), diff)
			}
			if _, err := f.Append(record("d", "4")); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if f, held := opened(t, path, "topic"); len(held) != before+1 || held[before] != "d=4" {
				t.Fatalf("%s at %d, gone on with: %v", name, n, held)
			} else {
				f.Close()
			}
		}
	}
}

func TestCompactionKeepsWhatCountsAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls-0")
	f, _ := opened(t, path, "topic")
	places := make([]int64, 100)
	for round := range 30 {
		var records []Record
		for i := range places {
			records = append(records, record(fmt.Sprint("agent-", i), fmt.Sprint("round ", round)))
		}
		var err error
		if places, err = f.Append(records...); err != nil {
			t.Fatal(err)
		}
	}
	places[7] = -1 // not to be kept
	places[3], places[90] = places[90], places[3]
	compact, moved, err := f.Compact(places)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := f.Read(places[5]); err != nil || string(r.Key) != "agent-5" {
		t.Errorf("the old file is still asked: %v", err)
	}
	f.Close()
	if compact.Size() > f.Size()/20 {
		t.Errorf("%d bytes of %d are left", compact.Size(), f.Size())
	}
	for i, place := range moved {
		key := fmt.Sprint("agent-", i)
		switch i {
		case 7:
			if place != -1 {
				t.Errorf("a record that is not kept is at %d", place)
			}
			continue
		case 3:
			key = "agent-90"
		case 90:
			key = "agent-3"
		}
		if r, err := compact.Read(place); err != nil || string(r.Key) != key || string(r.Value) != "round 29" {
			t.Errorf("%d: %q %q, %v, want %s", i, r.Key, r.Value, err, key)
		}
	}
	if _, err := Open(path, "topic", nil); !errors.Is(err, ErrInUse) {
		t.Errorf("the new file is not locked: %v", err)
	}
	if _, err := compact.Append(record("more", "1")); err != nil {
		t.Fatal(err)
	}
	compact.Close()
	if _, held := opened(t, path, "topic"); len(held) != 100 || held[99] != "more=1" {
		t.Errorf("%d records are read back", len(held))
	}
}

func TestAFullDiskLeavesTheFileAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls-0")
	f, _ := opened(t, path, "topic")
	places, err := f.Append(record("a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Append(record("b", "2"), Record{[]byte("c"), make([]byte, maxRecord)}); err == nil {
		t.Fatal("a record that no reader takes is written")
	}
	if r, err := f.Read(places[0]); err != nil || string(r.Value) != "1" {
		t.Errorf("what was there: %q, %v", r.Value, err)
	}
	f.Close()
	if _, held := opened(t, path, "topic"); len(held) != 1 {
		t.Errorf("read back: %v", held)
	}
}

// Whatever stands in the file, opening it neither panics nor takes much memory, and what is read is read again.
func FuzzOpen(f *testing.F) {
	head := appendRecord(nil, record(magic, "topic"))
	f.Add(head)
	f.Add(appendRecord(bytes.Clone(head), record("a", "1")))
	f.Add(append(bytes.Clone(head), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 0x00))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		file, held := opened(t, path, "topic")
		file.Close()
		if _, again := opened(t, path, "topic"); !cmp.Equal(held, again) {
			t.Errorf("first %q, then %q", held, again)
		}
	})
}
