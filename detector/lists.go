package detector

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The bounds of a file of values.
const (
	maxListSize  = 4 << 20
	maxListValue = 1024
	maxListFiles = 100 // of one detector file
	maxLineErrs  = 10  // that are reported for one list
)

// listFile is a file of values that a detector file names.
type listFile struct {
	name      string // as the detector file writes it
	file      string // where it lies
	data      []byte
	err, hint string // why it cannot be read
}

func (l listFile) equal(other listFile) bool {
	return l.name == other.name && l.err == other.err && bytes.Equal(l.data, other.data)
}

// lists reads the files of values that a detector file names.
func (t *text) readLists(files fs.FS) {
	for _, name := range listNames(t.data) {
		l := listFile{name: name}
		var err error
		for _, dir := range besides(t.name) {
			l.file = path.Join(dir, name)
			if l.data, err = readList(files, l.file); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if err != nil {
			l.data, l.err = nil, err.Error()
			if errors.Is(err, fs.ErrNotExist) {
				l.err, l.hint = "there is no such file beside the detector", didYouMean(name, listsBeside(files, path.Dir(t.name)))
			}
		}
		t.lists = append(t.lists, l)
	}
}

// listNames returns the files that stand under the key lists of the documents of a file.
func listNames(data []byte) []string {
	if !bytes.Contains(data, []byte("lists")) {
		return nil // most files need not be parsed for this
	}
	r := &reader{}
	var names []string
	for _, root := range r.documents(data) {
		for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value != "lists" {
				continue
			}
			for j, item := range root.Content[i+1].Content {
				if j%2 == 1 && listName(item.Value) && !slices.Contains(names, item.Value) && len(names) < maxListFiles {
					names = append(names, item.Value)
				}
			}
		}
	}
	return names
}

// listName says whether a name is that of a text file beside the detector or in a folder below.
func listName(name string) bool {
	return fs.ValidPath(name) && path.Ext(name) == ".txt" && !strings.ContainsAny(name, `\:`)
}

func readList(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	data, err := readAtMost(files, name, maxListSize+1)
	if err == nil && len(data) > maxListSize {
		err = fmt.Errorf("it has more than %d bytes", maxListSize)
	}
	return data, err
}

// listsBeside returns the names of the text files of a folder.
func listsBeside(files fs.FS, dir string) []string {
	entries, _ := fs.ReadDir(files, dir)
	var names []string
	for _, e := range entries {
		if listName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// listsRead returns the files of values that the document names.
func (r *reader) listsRead() []listFile {
	var all []listFile
	for _, l := range r.files {
		if slices.ContainsFunc(r.sources, func(s *listSource) bool { return s.file == l.file }) {
			all = append(all, l)
		}
	}
	return all
}

// listSource is where the values of a list file come from.
type listSource struct {
	file string
	node *yaml.Node // names the file
	errs int
}

// fileValues reads the values of a list file, one a line. What stands behind a # at the begin of a
// line or after a space is a comment.
func (r *reader) fileValues(n *yaml.Node) []*yaml.Node {
	name, ok := r.text(n, "a list")
	if !ok {
		return nil
	}
	if !listName(name) {
		r.fail(n, "write the name of a file beside the detector, as in crown-jewels.txt", "a list cannot be read from %q", shorten(name))
		return nil
	}
	var found *listFile
	for i := range r.files {
		if r.files[i].name == name {
			found = &r.files[i]
		}
	}
	switch {
	case found == nil:
		r.fail(n, "", "the file names more than %d lists", maxListFiles)
		return nil
	case found.err != "":
		r.fail(n, found.hint, "the list %s cannot be read: %s", name, found.err)
		return nil
	}
	source := &listSource{file: found.file, node: n}
	r.sources = append(r.sources, source)
	return r.lineValues(source, found.data)
}

func (r *reader) lineValues(source *listSource, data []byte) []*yaml.Node {
	var values []*yaml.Node
	rest := strings.TrimPrefix(string(data), "\ufeff")
	for line := 1; rest != ""; line++ {
		var text string
		text, rest, _ = strings.Cut(rest, "\n")
		text = withoutComment(text)
		value := strings.TrimSpace(text)
		if value == "" {
			continue
		}
		column := 1 + utf8.RuneCountInString(text[:strings.Index(text, value)])
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: line, Column: column}
		r.origins[n] = source
		if len(values) == maxValues {
			r.fail(n, "", "the list has more than %d values", maxValues)
			return values
		}
		switch {
		case !utf8.ValidString(value):
			r.fail(n, "", "the line is not UTF-8")
		case strings.ContainsFunc(value, unicode.IsControl):
			r.fail(n, "write one value a line", "the value %q holds a control character", shorten(value))
		case len(value) > maxListValue:
			r.fail(n, "", "the value is longer than %d bytes", maxListValue)
		}
		values = append(values, n)
	}
	if len(values) == 0 {
		r.fail(source.node, "empty never means all", "the list %s has no value", source.file)
	}
	return values
}

func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

// failLine reports an error in a line of a list file, of the first of them at least.
func (r *reader) failLine(source *listSource, n *yaml.Node, hint, format string, args ...any) {
	if source.errs++; source.errs <= maxLineErrs {
		r.report(&Error{File: source.file, Line: n.Line, Column: n.Column, Hint: hint, Msg: fmt.Sprintf(format, args...)})
	}
}

// brokenLists reports, where the detector names them, the lists that have wrong lines: it is the
// detector's file that is refused.
func (r *reader) brokenLists() {
	for _, s := range r.sources {
		switch {
		case s.errs == 1:
			r.fail(s.node, "", "a line of the list %s is wrong", s.file)
		case s.errs > 1:
			r.fail(s.node, "", "%d lines of the list %s are wrong", s.errs, s.file)
		}
	}
}
