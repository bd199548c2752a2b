package labelled

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLinesAreThoseOfThePackedFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ESTOP_DATA", dir)
	f, err := os.Create(filepath.Join(dir, "some.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte("one\n\nlast")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range Lines(t, "some.gz") {
		got = append(got, string(line))
	}
	if want := []string{"one", "", "last"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestATestWithoutItsDataIsSkipped(t *testing.T) {
	t.Setenv("ESTOP_DATA", t.TempDir())
	skipped := false
	t.Run("absent", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Open(t, "absent.gz")
		t.Error("went on without the file")
	})
	if !skipped {
		t.Error("the test was not skipped")
	}
}

func TestTheFolderIsBesideTheModule(t *testing.T) {
	t.Setenv("ESTOP_DATA", "")
	module, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Folder(t), filepath.Join(filepath.Dir(module), "shared", "data"); got != want {
		t.Errorf("the folder is %q, want %q", got, want)
	}
}
