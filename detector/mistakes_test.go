package detector_test

import (
	"flag"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/estop-project/estop/detector"
)

var update = flag.Bool("update", false, "write what the tests get into their golden files")

// mistake is a kind of mistake: files, and the errors of them.
type mistake struct {
	name   string
	files  fstest.MapFS
	errors string
}

const mistakesFile = "testdata/mistakes.txtar"

// mistakes reads the archive: KIND/FILE are the files of a mistake, KIND/errors what is said of it.
func mistakes(t *testing.T) (comment []byte, all []*mistake) {
	t.Helper()
	archive, err := txtar.ParseFile(mistakesFile)
	if err != nil {
		t.Fatal(err)
	}
	var last *mistake
	for _, f := range archive.Files {
		kind, name := path.Dir(f.Name), path.Base(f.Name)
		if last == nil || last.name != kind {
			last = &mistake{name: kind, files: fstest.MapFS{}}
			all = append(all, last)
		}
		if name == "errors" {
			last.errors = string(f.Data)
		} else {
			last.files[name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return archive.Comment, all
}

// remedy is what an error says beside what is wrong: in parentheses, or as what must be.
var remedy = regexp.MustCompile(`\([^)]+.*\)$| must | needs | such as |more than \d+| RE2 | taken: | wants | beside |is wrong$`)

func TestEveryKindOfMistakeIsNamedWithItsPlaceAndItsRemedy(t *testing.T) {
	comment, all := mistakes(t)
	if len(all) < 100 {
		t.Fatalf("%d kinds of mistakes", len(all))
	}
	place := regexp.MustCompile(`^[a-z.]+:[1-9][0-9]*:[1-9][0-9]*: .+`)
	got := &txtar.Archive{Comment: comment}
	seen := map[string]bool{}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			if seen[m.name] {
				t.Fatal("the kind comes twice")
			}
			seen[m.name] = true
			_, errs := detector.Load(m.files)
			if len(errs) == 0 {
				t.Fatal("no error")
			}
			for _, e := range errs {
				if !place.MatchString(e.Error()) {
					t.Errorf("no place: %v", e)
				}
				if !remedy.MatchString(e.Error()) {
					t.Errorf("no remedy: %v", e)
				}
			}
			if diff := cmp.Diff(m.errors, errs.Error()+"\n"); diff != "" && !*update {
				t.Error(diff)
			}
			m.errors = errs.Error() + "\n"
		})
		for _, name := range slices.Sorted(maps.Keys(m.files)) {
			got.Files = append(got.Files, txtar.File{Name: m.name + "/" + name, Data: m.files[name].Data})
		}
		got.Files = append(got.Files, txtar.File{Name: m.name + "/errors", Data: []byte(m.errors)})
	}
	if *update {
		if err := os.WriteFile(mistakesFile, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What an archive of texts cannot hold.
func TestFilesThatAreNoTextOrTooLargeAreNamedToo(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not UTF-8":      {head + "tags: [é.\xff]", "f.yaml:4:10: the file is not UTF-8 (save it as UTF-8)"},
		"large":          {strings.Repeat("# padding\n", 1<<20/10+1), "f.yaml:1:1: the file has 1048577 bytes, more than 1048576 (split it into several files)"},
		"many documents": {strings.Repeat("---\n"+simple("a"), 1001), "the file has more than 1000 documents (split it into several files)"},
		"huge list":      {head + "match: {agent: [" + strings.Repeat("x,", 200_000) + "'']}", "4:400017: agent is empty (write a value, or leave it out)"},
		"control":        {head + "tags: \x01", "4:1: not YAML: control characters are not allowed (take the control character out)"},
	} {
		if _, errs := detector.Load(files("f.yaml", c.text)); len(errs) != 1 || !strings.HasSuffix(errs.Error(), c.want) {
			t.Errorf("%s: %.300v, want %s", name, errs, c.want)
		}
	}
}

// What is right beside a mistake stays in force; what stands in the same file does not.
func TestAMistakeRefusesItsFileAndNoOther(t *testing.T) {
	_, all := mistakes(t)
	want := map[string]int{"one id in two files": 1, "other file is right": 1, "second of two documents wrong": 0, "one id twice in a file": 0}
	for _, m := range all {
		n, listed := want[m.name]
		if set, _ := detector.Load(m.files); len(set.Plan.Detectors) != n {
			t.Errorf("%s: %d detectors, want %d", m.name, len(set.Plan.Detectors), n)
		}
		if listed {
			delete(want, m.name)
		}
	}
	if len(want) > 0 {
		t.Errorf("no such mistakes: %v", slices.Sorted(maps.Keys(want)))
	}
}
