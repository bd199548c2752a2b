package detector_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

const wrong = "id: [\n"

// reload expects the ids in force and the files with errors.
func reload(t *testing.T, r *detector.Reloader, fs fs.FS, wantIDs, wantWrong []string) *detector.Set {
	t.Helper()
	set, errs, _ := r.Reload(fs)
	if diff := cmp.Diff(wantIDs, ids(set)); diff != "" {
		t.Error("in force:", diff)
	}
	var broken []string
	for _, e := range errs {
		broken = append(broken, e.File)
	}
	if diff := cmp.Diff(wantWrong, broken); diff != "" {
		t.Error("refused:", diff)
	}
	return set
}

func TestAWrongFileIsRefusedAndItsGoodVersionStays(t *testing.T) {
	var r detector.Reloader
	before := reload(t, &r, files("a.yaml", simple("a"), "b.yaml", simple("b")), []string{"a", "b"}, nil)
	after := reload(t, &r, files("a.yaml", wrong, "b.yaml", simple("b2"), "c.yaml", wrong), []string{"a", "b2"}, []string{"a.yaml", "c.yaml"})
	if before.Plan.Detectors[0].Version != after.Plan.Detectors[0].Version {
		t.Error("another version of a is in force")
	}
	// It stays however often the wrong file is seen, and when other files change.
	reload(t, &r, files("a.yaml", wrong, "b.yaml", simple("b3")), []string{"a", "b3"}, []string{"a.yaml"})
	reload(t, &r, files("a.yaml", simple("a2"), "b.yaml", simple("b3")), []string{"a2", "b3"}, nil)
}

func TestReloadTellsWhetherAnythingChanged(t *testing.T) {
	var r detector.Reloader
	for i, c := range []struct {
		fs   fstest.MapFS
		want bool
	}{
		{files(), true},
		{files(), false},
		{files("a.yaml", simple("a")), true},
		{files("a.yaml", simple("a")), false},
		{files("a.yaml", wrong), true},
		{files("a.yaml", wrong), false},
		{files("a.yaml", simple("a")), true},
		{files("b.yaml", simple("a")), true},
	} {
		if _, _, changed := r.Reload(c.fs); changed != c.want {
			t.Errorf("step %d: changed is %v", i, changed)
		}
	}
}

func TestADeletedFileTakesItsDetectorsAlong(t *testing.T) {
	var r detector.Reloader
	reload(t, &r, files("a.yaml", simple("a"), "b.yaml", simple("b")), []string{"a", "b"}, nil)
	reload(t, &r, files("b.yaml", simple("b")), []string{"b"}, nil)
}

func TestANewFileCannotTakeAnIDInForce(t *testing.T) {
	var r detector.Reloader
	reload(t, &r, files("b.yaml", simple("x")), []string{"x"}, nil)
	set := reload(t, &r, files("a.yaml", simple("x"), "b.yaml", simple("x")), []string{"x"}, []string{"a.yaml"})
	if set.Sources[0].File != "b.yaml" {
		t.Errorf("%s has the id now", set.Sources[0].File)
	}
	// Nor from a file whose new content is wrong: its version in force still has the id.
	reload(t, &r, files("a.yaml", simple("x"), "b.yaml", wrong), []string{"x"}, []string{"a.yaml", "b.yaml"})
	// It can once the other lets go of it.
	set = reload(t, &r, files("a.yaml", simple("x"), "b.yaml", simple("y")), []string{"x", "y"}, nil)
	if set.Sources[0].File != "a.yaml" {
		t.Errorf("%s has the id, want a.yaml", set.Sources[0].File)
	}
	// Two files may swap ids in one step.
	reload(t, &r, files("a.yaml", simple("y"), "b.yaml", simple("x")), []string{"y", "x"}, nil)
}

// failing cannot open one of its files.
type failing struct {
	fs.FS
	name string
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: iotest.ErrTimeout}
	}
	return f.FS.Open(name)
}

func TestWhatCannotBeReadStaysInForce(t *testing.T) {
	three := files("a.yaml", simple("a"), "b.yaml", simple("b"), "sub/c.yaml", simple("c"))
	all := []string{"a", "b", "c"}
	var r detector.Reloader
	reload(t, &r, three, all, nil)
	for _, name := range []string{"a.yaml", "sub/c.yaml", "sub", "."} {
		reload(t, &r, failing{three, name}, all, []string{name})
	}
	reload(t, &r, three, all, nil)
}

func TestAFolderThatOutgrowsItsBoundKeepsWhatIsInForce(t *testing.T) {
	var r detector.Reloader
	reload(t, &r, files("z.yaml", simple("z")), []string{"z"}, nil)
	many := files("z.yaml", simple("z"))
	for i := range 10_000 {
		many[fmt.Sprintf("%05d.txt.yaml", i)] = &fstest.MapFile{Data: []byte("# nothing\n")}
	}
	set, errs, _ := r.Reload(many)
	if diff := cmp.Diff([]string{"z"}, ids(set)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(errs.Error(), "more than 10000 files") {
		t.Errorf("errors %.200s", errs)
	}
}

func TestWatchFollowsAFolderLikeAConfigMap(t *testing.T) {
	dir := t.TempDir()
	// Kubernetes mounts links to a link to a hidden folder, and replaces the middle one.
	publish := func(version, text string) {
		t.Helper()
		hidden := filepath.Join(dir, "..v"+version)
		link := filepath.Join(dir, "..data")
		for _, err := range []error{
			os.Mkdir(hidden, 0o755), os.WriteFile(filepath.Join(hidden, "a.yaml"), []byte(text), 0o644),
			os.Symlink(hidden, link+"_tmp"), os.Rename(link+"_tmp", link),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	publish("1", simple("one"))
	if err := os.Symlink(filepath.Join("..data", "a.yaml"), filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	type report struct {
		IDs    []string
		Errors int
	}
	reports := make(chan report, 1)
	ticks := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		new(detector.Reloader).Watch(ctx, os.DirFS(dir), ticks, func(s *detector.Set, errs detector.Errors) {
			reports <- report{ids(s), len(errs)}
		})
	}()
	expect := func(want report) {
		t.Helper()
		if diff := cmp.Diff(want, <-reports); diff != "" {
			t.Error(diff)
		}
	}
	expect(report{[]string{"one"}, 0})
	ticks <- time.Time{} // nothing changed: no report
	ticks <- time.Time{}
	publish("2", wrong)
	ticks <- time.Time{}
	expect(report{[]string{"one"}, 1})
	publish("3", simple("three"))
	ticks <- time.Time{}
	expect(report{[]string{"three"}, 0})
	cancel()
	<-ended
}
