package detector

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of a folder of detector files.
const (
	maxFiles      = 10_000
	maxFolderSize = 64 << 20
)

// Set is what a folder of detector files says.
type Set struct {
	Plan    *Plan
	Sources []Source // by index of Plan.Detectors

	drafts []*draft // likewise
}

// Source is where a detector comes from, and the tests that stand beside it.
type Source struct {
	File  string
	Line  int
	Tests []Test
	// Supposed is what the file says that the detector would do in enforce, by step; nil where it does not say.
	Supposed []Supposed
}

// Load reads all .yaml and .yml files of a file system, except hidden ones. The Set holds the
// detectors of the files that are right, ordered by file and line; Errors names all that is
// wrong with the others. A file with any error gives no detector at all.
func Load(files fs.FS) (*Set, Errors) {
	texts, errs := readFiles(files)
	set, more := assemble(texts)
	errs = append(errs, more...)
	errs.sort()
	return set, errs
}

// LoadDir loads the detector files of a folder and the folders in it.
func LoadDir(dir string) (*Set, Errors) { return Load(os.DirFS(dir)) }

// text is one detector file, with the lists that it names.
type text struct {
	name  string
	data  []byte
	lists []listFile
}

func (t text) equal(other text) bool {
	return string(t.data) == string(other.data) && slices.EqualFunc(t.lists, other.lists, listFile.equal)
}

// size is how many bytes the file and its lists have.
func (t text) size() int {
	n := len(t.data)
	for _, l := range t.lists {
		n += len(l.data)
	}
	return n
}

// readFiles reads the detector files in the order of their names.
func readFiles(files fs.FS) ([]text, Errors) {
	var texts []text
	var errs Errors
	size := 0
	broken := func(name string, err error) {
		errs = append(errs, &Error{File: name, Msg: fmt.Sprintf("cannot be read: %v", err)})
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		hidden := name != "." && strings.HasPrefix(path.Base(name), ".")
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			broken(name, err)
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir() || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml":
		case len(texts) == maxFiles:
			broken(".", fmt.Errorf("there are more than %d files", maxFiles))
			return fs.SkipAll
		default:
			data, err := readFile(files, name)
			if err != nil {
				broken(name, err)
				break
			}
			t := text{name: name, data: data}
			t.readLists(files)
			if size += t.size(); size > maxFolderSize {
				broken(".", fmt.Errorf("the files together have more than %d bytes", maxFolderSize))
				return fs.SkipAll
			}
			texts = append(texts, t)
		}
		return nil
	})
	if err != nil {
		broken(".", err)
	}
	return texts, errs
}

// readFile reads a file, one byte over the limit at most.
func readFile(files fs.FS, name string) ([]byte, error) {
	return readAtMost(files, name, maxFileSize+1)
}

func readAtMost(files fs.FS, name string, bytes int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, bytes))
}

// assemble checks files and links those that are right. Of two detectors with one id the
// file that comes first in texts has it, and the later file is refused.
func assemble(texts []text) (*Set, Errors) {
	var all []*draft
	var errs Errors
	owners := map[string]*draft{} // by key
	for _, t := range texts {
		drafts, fileErrs := parse(t)
		if len(fileErrs) == 0 {
			fileErrs = claim(owners, drafts)
		}
		if len(fileErrs) > 0 {
			for _, e := range fileErrs {
				again := func(other *Error) bool { return *other == *e } // a line of a list that two files name
				if e.File == t.name || !slices.ContainsFunc(errs, again) {
					errs = append(errs, e)
				}
			}
			continue
		}
		all = append(all, drafts...)
	}
	slices.SortStableFunc(all, func(a, b *draft) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	for wrong := unresolved(all); len(wrong) > 0; wrong = unresolved(all) { // what goes may be what others name
		errs = append(errs, wrong...)
		all = slices.DeleteFunc(all, func(d *draft) bool { return wrong.in(d.file) })
	}
	return newSet(all), errs
}

func newSet(all []*draft) *Set {
	set := &Set{Plan: link(all), drafts: all}
	for _, d := range all {
		set.Sources = append(set.Sources, Source{File: d.file, Line: d.line, Tests: d.tests, Supposed: suppose(d.responses)})
	}
	return set
}

// parse reads the detectors of one file.
func parse(t text) ([]*draft, Errors) {
	r := &reader{file: t.name, files: t.lists, origins: map[*yaml.Node]*listSource{}}
	roots := r.documents(t.data)
	if len(roots) == 0 && len(r.errs) == 0 {
		r.failAt(1, 1, "begin one with id: NAME", "the file holds no detector")
	}
	var drafts []*draft
	for i, root := range roots {
		d := r.detector(root)
		d.root = root
		d.Canary = inCanary(t.name)
		for _, o := range d.overrides {
			o.Canary = d.Canary
		}
		d.text, d.lists = r.textOf(roots, i), r.listsRead()
		d.Version = r.version(d.text)
		drafts = append(drafts, d)
	}
	r.errs.sort()
	return drafts, r.errs
}

// textOf returns the text of one document, without what parts it from its neighbours.
func (r *reader) textOf(roots []*yaml.Node, i int) string {
	end := len(r.lines)
	if i+1 < len(roots) {
		end = roots[i+1].Line - 1
	}
	lines := r.lines[min(roots[i].Line-1, end):end]
	for len(lines) > 0 {
		last := strings.TrimSpace(lines[len(lines)-1])
		if last != "" && last != "---" && last != "..." && !strings.HasPrefix(last, "#") {
			break
		}
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines, "\n")
}

// version hashes the text of a document and the lists that it names.
func (r *reader) version(text string) string {
	h := sha256.New()
	h.Write([]byte(text))
	for _, c := range r.constants {
		if c.what == "list" {
			for _, v := range c.values {
				fmt.Fprintf(h, "\n%q", v.Value)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// claim gives the ids of a file's detectors to it, all or none.
func claim(owners map[string]*draft, drafts []*draft) Errors {
	var errs Errors
	own := map[string]*draft{}
	for _, d := range drafts {
		first := cmp.Or(owners[d.Key()], own[d.Key()])
		if first != nil {
			errs = append(errs, &Error{
				File: d.file, Line: d.idNode.Line, Column: d.idNode.Column,
				Msg: fmt.Sprintf("the id %q is taken: %s:%d:%d has it", d.ID, first.file, first.idNode.Line, first.idNode.Column),
			})
			continue
		}
		own[d.Key()] = d
	}
	if len(errs) == 0 {
		for key, d := range own {
			owners[key] = d
		}
	}
	return errs
}
