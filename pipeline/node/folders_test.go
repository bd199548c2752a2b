package node

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestFoldersAreAFileSystem(t *testing.T) {
	f := folders{
		"catalog": fstest.MapFS{"a.yaml": {Data: []byte("a")}, "deep/b.yaml": {Data: []byte("b")}},
		"own":     fstest.MapFS{"a.yaml": {Data: []byte("other")}},
	}
	if err := fstest.TestFS(f, "catalog/a.yaml", "catalog/deep/b.yaml", "own/a.yaml"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(f, "own/a.yaml"); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"a.yaml", "nobody/a.yaml", "own/b.yaml"} {
		if _, err := fs.Stat(f, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDetectorFilesAreTheOnesThatTheConfigurationNames(t *testing.T) {
	c := Default()
	c.Detectors.Catalog, c.Detectors.Dir = true, t.TempDir()
	both, err := fs.ReadDir(c.DetectorFiles(), ".")
	if err != nil || len(both) != 2 {
		t.Errorf("%v, %v", both, err)
	}
	c.Detectors.Catalog = false
	own, err := fs.ReadDir(c.DetectorFiles(), ".")
	if err != nil || len(own) != 1 || own[0].Name() != "own" {
		t.Errorf("%v, %v", own, err)
	}
}
