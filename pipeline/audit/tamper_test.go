package audit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The book is a source too: it has its records as Kafka has them.

func (b *book) Name() string { return "book" }

func (b *book) Bounds(context.Context, Span) (first, end int64, ok bool, err error) {
	return 0, math.MaxInt64, true, nil
}

func (b *book) Demands(*StoredLeaf) bool { return true }

func (b *book) Beyond(context.Context, map[string]map[source]Span) ([]Finding, int64, error) {
	return nil, 0, nil
}

func (b *book) Rows(_ context.Context, s Span, each func(Row) error) error {
	var in intake
	for _, r := range b.records {
		if r.Topic != s.Topic || r.Partition != s.Partition || r.Offset < s.First || r.Offset > s.Last {
			continue
		}
		var failed error
		in.each(r, func(p part) {
			failed = each(Row{
				Offset: r.Offset, Part: p.no, Whole: true, Appended: appendedAt(r), Payload: p.payload,
				Subject: Subject{string(p.tenant), string(p.scope), string(p.name)},
			})
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// needed lists the files that the log's checkpoint, its chunks and their proofs are made of.
func needed(l *Log) []string {
	files := []string{checkpointFile, stateFile}
	for _, t := range tlog.NewTiles(tileHeight, 0, l.Size) {
		files = append(files, tilePath(t))
		if t.L == 0 {
			t.L = -1
			files = append(files, tilePath(t))
		}
	}
	for i := range l.Size {
		files = append(files, leavesPath(i))
	}
	return files
}

// TestNoByteOfTheLogCanBeChanged changes seeded bytes of all files of a log, salts too: a
// scan finds each, and nothing where nothing was changed.
func TestNoByteOfTheLogCanBeChanged(t *testing.T) {
	const rounds = 1000
	r, b := newRigged(t, 7), newBook(2, 300, 5, 14)
	l := r.fed(b)
	files := needed(l)
	scan := func() (findings int64, first string, err error) {
		l, err := OpenLog(folder(r.options.Dir), r.key)
		if err != nil {
			return 0, "", err
		}
		result, err := l.Scan(t.Context(), ScanOptions{Sources: []Source{b}, Each: func(f Finding) {
			if first == "" {
				first = f.String()
			}
		}})
		return result.Findings, first, err
	}
	random := rand.New(rand.NewPCG(15, 0))
	missed := 0
	for round := range rounds {
		if round%50 == 0 {
			if n, first, err := scan(); n != 0 || err != nil {
				t.Fatalf("nothing was changed, and the scan finds %d, %s, %v", n, first, err)
			}
		}
		name := filepath.Join(r.options.Dir, files[random.IntN(len(files))])
		was, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), was...)
		i := random.IntN(len(bad))
		switch random.IntN(4) {
		case 0, 1:
			bad[i] ^= 1 << random.IntN(8)
		case 2:
			bad = append(bad[:i], bad[i+1:]...)
		case 3:
			bad = append(bad[:i], append([]byte{byte(random.IntN(256))}, bad[i:]...)...)
		}
		if err := os.WriteFile(name, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if n, _, err := scan(); n == 0 && err == nil {
			missed++
			t.Errorf("%s, byte %d: not found", name, i)
		}
		if err := os.WriteFile(name, was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d tamperings of %d files, %d missed", rounds, len(files), missed)
}

// TestNoRecordCanBeChanged changes, deletes, adds and swaps seeded records of a source: the
// scan names those, and no other.
func TestNoRecordCanBeChanged(t *testing.T) {
	const rounds = 1000
	r, b := newRigged(t, 50), newBook(2, 3000, 20, 16)
	l := r.fed(b)
	random := rand.New(rand.NewPCG(17, 0))
	want := map[string]bool{}
	name := func(k Kind, topic string, partition int32, offset int64) {
		want[fmt.Sprint(k, topic, partition, offset)] = true
	}
	bad := &book{}
	for i, at := range random.Perm(len(b.records)) {
		rec := *b.records[at]
		if i >= rounds {
			bad.records = append(bad.records, &rec)
			continue
		}
		switch random.IntN(4) {
		case 0: // a byte of it
			rec.Value = append([]byte(nil), rec.Value...)
			rec.Value[8+random.IntN(2)] ^= 1 // in its id: still a record of this agent
			name(Altered, rec.Topic, rec.Partition, rec.Offset)
		case 1:
			rec.Timestamp = rec.Timestamp.Add(1e6)
			name(Altered, rec.Topic, rec.Partition, rec.Offset)
		case 2:
			name(Missing, rec.Topic, rec.Partition, rec.Offset)
			continue
		case 3:
			again := rec
			bad.records = append(bad.records, &again)
			name(Added, rec.Topic, rec.Partition, rec.Offset)
		}
		bad.records = append(bad.records, &rec)
	}
	got := map[string]bool{}
	if _, err := l.Scan(t.Context(), ScanOptions{Sources: []Source{bad}, Each: func(f Finding) {
		got[fmt.Sprint(f.Kind, f.Topic, f.Place.Partition, f.Place.Offset)] = true
	}}); err != nil {
		t.Fatal(err)
	}
	missed, wrong := 0, 0
	for w := range want {
		if !got[w] {
			missed++
		}
	}
	for g := range got {
		if !want[g] {
			wrong++
		}
	}
	t.Logf("%d tamperings, %d missed, %d false", len(want), missed, wrong)
	if missed > 0 || wrong > 0 || len(want) != rounds {
		t.Fail()
	}
}
