package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// The names of files. All others are left alone.
const (
	Suffix       = ".cedar"
	EntitiesFile = "entities.json"
	SchemaFile   = "schema.cedarschema"
)

// Bounds of what is loaded.
const (
	maxFile     = 4 << 20 // bytes
	maxFiles    = 1000
	maxPolicies = 10_000
)

// Error is a mistake in a file.
type Error struct {
	File         string
	Line, Column int // 0: not known
	Text         string
}

// Error names the place and the mistake.
func (e Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// Errors are all the mistakes that were found.
type Errors []Error

// Error lists them, one on each line.
func (e Errors) Error() string {
	lines := make([]string, 0, len(e))
	for _, one := range e {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// ErrNone says that there is no policy. Nothing would be permitted, which is nobody's wish.
var ErrNone = errors.New("no policy: policies stand in files that end in " + Suffix)

// Load compiles the policies of a folder and of those in it, or of one file. The error is Errors where a file is wrong.
func Load(name string) (*Set, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read policies: %w", err)
	}
	if info.IsDir() {
		return LoadFS(os.DirFS(name), ".")
	}
	return LoadFS(os.DirFS(filepath.Dir(name)), filepath.Base(name))
}

// LoadFS is Load in a file system: of the file root, or of all files below the folder root.
func LoadFS(files fs.FS, root string) (*Set, error) {
	l := loader{files: files, set: &Set{}, ids: map[cedar.PolicyID]string{}}
	names, err := l.names(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read policies: %w", err)
	}
	for _, name := range names {
		l.file(name)
	}
	if l.schema != nil {
		l.validate()
	}
	switch {
	case len(l.errs) > 0:
		return nil, l.errs
	case len(l.set.policies) == 0:
		return nil, ErrNone
	case len(l.set.policies) > maxPolicies:
		return nil, fmt.Errorf("%d policies; %d can be loaded", len(l.set.policies), maxPolicies)
	}
	return l.set, nil
}

// Files returns the names of the files that Load would read, in order.
func Files(files fs.FS, root string) ([]string, error) { return (&loader{files: files}).names(root) }

type loader struct {
	files  fs.FS
	set    *Set
	ids    map[cedar.PolicyID]string // by id: where it stands
	schema *resolved.Schema
	errs   Errors
}

func (l *loader) names(root string) ([]string, error) {
	var names []string
	err := fs.WalkDir(l.files, root, func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir():
			if name != root && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
		case name == root, strings.HasSuffix(base, Suffix), name == EntitiesFile, name == SchemaFile:
			if name == root || !strings.HasPrefix(base, ".") { // an editor's
				names = append(names, name)
			}
		}
		if len(names) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

func (l *loader) bad(file string, line, column int, format string, args ...any) {
	l.errs = append(l.errs, Error{file, line, column, fmt.Sprintf(format, args...)})
}

func (l *loader) file(name string) {
	b, err := l.read(name)
	switch {
	case err != nil:
		l.bad(name, 0, 0, "%v", err)
	case name == EntitiesFile:
		l.entities(b)
	case name == SchemaFile:
		l.schemaFile(b)
	default:
		l.policies(name, b)
	}
}

func (l *loader) read(name string) ([]byte, error) {
	info, err := fs.Stat(l.files, name)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%d bytes; a file has %d at most", info.Size(), maxFile)
	}
	if err != nil {
		return nil, err
	}
	b, err := fs.ReadFile(l.files, name)
	if err == nil && !utf8.Valid(b) {
		err = errors.New("it is not UTF-8")
	}
	return b, err
}

// policies reads a file of policies. One without an @id is called by its file and number.
func (l *loader) policies(name string, b []byte) {
	l.set.files++
	list, err := cedar.NewPolicyListFromBytes(name, b)
	if err != nil {
		line, column, text := place(err)
		l.bad(name, line, column, "%s", text)
		return
	}
	for i, p := range list {
		n := named{policy: p, id: cedar.PolicyID(fmt.Sprintf("%s#%d", strings.TrimSuffix(name, Suffix), i+1))}
		notes := p.Annotations()
		n.reason = string(notes["reason"])
		if id, ok := notes["id"]; ok {
			n.id = cedar.PolicyID(id)
		}
		at := p.Position()
		if before, ok := l.ids[n.id]; ok || n.id == "" {
			l.bad(name, at.Line, at.Column, "the id %q is taken by the policy at %s", n.id, before)
			continue
		}
		l.ids[n.id] = fmt.Sprintf("%s:%d", name, at.Line)
		l.set.policies = append(l.set.policies, n)
	}
}

// placed is where cedar-go says that a mistake is.
var placed = regexp.MustCompile(`(?:parser error: )?parse error at [^:]*:(\d+):(\d+) `)

// place takes the place out of a parser's error.
func place(err error) (line, column int, text string) {
	text = err.Error()
	m := placed.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, text
	}
	line, _ = strconv.Atoi(m[1]) // digits
	column, _ = strconv.Atoi(m[2])
	return line, column, "at " + strings.Replace(text, m[0], "", 1)
}

func (l *loader) entities(b []byte) {
	if err := json.Unmarshal(b, &l.set.entities); err != nil {
		line, column := 0, 0
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line, column = position(b, int(syntax.Offset)-1)
		}
		l.bad(EntitiesFile, line, column, "%v", err)
	}
}

func (l *loader) schemaFile(b []byte) {
	var s schema.Schema
	s.SetFilename(SchemaFile)
	err := s.UnmarshalCedar(b)
	if err == nil {
		l.schema, err = s.Resolve()
	}
	if err != nil {
		line, column, text := place(err)
		l.bad(SchemaFile, line, column, "%s", text)
	}
}

// validate holds policies and entities against the schema.
func (l *loader) validate() {
	v := validate.New(l.schema)
	for _, p := range l.set.policies {
		if err := v.Policy(string(p.id), (*ast.Policy)(p.policy.AST())); err != nil {
			at := p.policy.Position()
			l.bad(at.Filename, at.Line, at.Column, "%v", err)
		}
	}
	if err := v.Entities(l.set.entities); err != nil {
		l.bad(EntitiesFile, 0, 0, "%v", err)
	}
}

// position returns the line and the column of a byte.
func position(b []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(b))
	before := string(b[:offset])
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}
