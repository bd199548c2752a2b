package guard

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func fileOf(t testing.TB, kepts ...kept) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newFileWriter(&b, time.Unix(0, 1_800_000_000_123_456_789))
	for _, k := range kepts {
		w.add(k)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sampleFile(t testing.TB) []byte {
	return fileOf(t, kept{until: 5, element: [32]byte{1}, subject: "estop.v1.revoke.acme.agent.a", token: []byte("a.b.c")},
		kept{until: 6, element: [32]byte{2}, subject: "estop.v1.revoke.acme.agent.b", token: []byte("d.e.f")})
}

func TestAFileIsReadBack(t *testing.T) {
	var got []kept
	known, err := readFile(bytes.NewReader(sampleFile(t)), func(k kept) { got = append(got, k) })
	if err != nil || known.UnixNano() != 1_800_000_000_123_456_789 || len(got) != 2 || string(got[1].token) != "d.e.f" || got[0].element != [32]byte{1} {
		t.Errorf("%+v, %v, %v", got, known, err)
	}
}

func TestAnythingChangedCutOrAddedIsFound(t *testing.T) {
	whole := sampleFile(t)
	read := func(b []byte) error {
		_, err := readFile(bytes.NewReader(b), func(kept) {})
		return err
	}
	for n := range whole {
		if read(whole[:n]) == nil {
			t.Fatalf("cut after %d bytes: no error", n)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 1
		if read(changed) == nil {
			t.Fatalf("byte %d changed: no error", n)
		}
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for name, b := range map[string]string{
		"a line less":    lines[0] + lines[2] + lines[3],
		"a line twice":   lines[0] + lines[1] + lines[1] + lines[2] + lines[3],
		"another order":  lines[0] + lines[2] + lines[1] + lines[3],
		"more behind":    string(whole) + lines[1],
		"an endless one": lines[0] + strings.Repeat("x", 1<<20),
		"empty":          "",
	} {
		if read([]byte(b)) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add(sampleFile(f))
	f.Add(fileOf(f))
	f.Add([]byte("estop-guard-state 1 0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got []kept
		known, err := readFile(bytes.NewReader(b), func(k kept) { got = append(got, k) })
		if err != nil {
			return
		}
		var again bytes.Buffer
		w := newFileWriter(&again, known)
		for _, k := range got {
			w.add(k)
		}
		if err := w.close(); err != nil || len(got) > maxInFile {
			t.Error(len(got), err)
		}
	})
}
