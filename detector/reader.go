package detector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The bounds of what a file may hold.
const (
	maxFileSize  = 1 << 20
	maxDocuments = 1000
	maxDepth     = 32  // of YAML nesting
	maxErrors    = 100 // reported for one file
)

// reader reads the YAML of one file and collects what is wrong with it.
type reader struct {
	file  string
	lines []string // of the source, for columns inside scalars
	errs  Errors

	files     []listFile                 // that the file names
	constants []*constant                // of the detector under way
	sources   []*listSource              // of its values that come from lists,
	origins   map[*yaml.Node]*listSource // by value
	expanded  int                        // values that names in the file stood for
}

func (r *reader) failAt(line, column int, hint, format string, args ...any) {
	r.report(&Error{File: r.file, Line: line, Column: column, Hint: hint, Msg: fmt.Sprintf(format, args...)})
}

func (r *reader) report(e *Error) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, e)
	}
}

// fail reports an error at a node, which may be a line of a list.
func (r *reader) fail(n *yaml.Node, hint, format string, args ...any) {
	if source := r.origins[n]; source != nil {
		r.failLine(source, n, hint, format, args...)
		return
	}
	r.failAt(n.Line, n.Column, hint, format, args...)
}

// failIn reports an error at a character inside a scalar.
func (r *reader) failIn(n *yaml.Node, offset int, hint, format string, args ...any) {
	line, column := r.position(n, offset)
	r.failAt(line, column, hint, format, args...)
}

// position returns where the offset-th character of a scalar's value stands in the file.
// Folding and indentation change only white space, so it counts the other characters.
func (r *reader) position(n *yaml.Node, offset int) (line, column int) {
	solid := 0
	for i, c := range []rune(n.Value) {
		if i == offset {
			break
		}
		if !unicode.IsSpace(c) {
			solid++
		}
	}
	line, column = n.Line, n.Column
	first := true
	for line <= len(r.lines) {
		text := []rune(r.lines[line-1])
		for i := column - 1; i < len(text); i++ {
			if first && strings.ContainsRune(`|>"'`, text[i]) {
				first = false
				if text[i] == '|' || text[i] == '>' {
					break // the value begins on the next line
				}
				continue
			}
			first = false
			if unicode.IsSpace(text[i]) {
				continue
			}
			if solid == 0 {
				return line, i + 1
			}
			solid--
		}
		line, column = line+1, 1
	}
	return n.Line, n.Column
}

// documents parses the file into the root nodes of its documents.
func (r *reader) documents(data []byte) []*yaml.Node {
	if len(data) > maxFileSize {
		r.failAt(1, 1, "split it into several files", "the file has %d bytes, more than %d", len(data), maxFileSize)
		return nil
	}
	if !utf8.Valid(data) {
		line, column := firstInvalid(data)
		r.failAt(line, column, "save it as UTF-8", "the file is not UTF-8")
		return nil
	}
	r.lines = lineBreak.Split(string(data), -1)
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			r.failYAML(err)
			return nil
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue
		}
		if len(roots) == maxDocuments {
			r.fail(doc.Content[0], "split it into several files", "the file has more than %d documents", maxDocuments)
			return nil
		}
		if !r.bounded(doc.Content[0], 0) {
			return nil
		}
		roots = append(roots, doc.Content[0])
	}
}

// firstInvalid returns where the first byte stands that is not UTF-8.
func firstInvalid(data []byte) (line, column int) {
	right := 0
	for right < len(data) {
		c, size := utf8.DecodeRune(data[right:])
		if c == utf8.RuneError && size <= 1 {
			break
		}
		right += size
	}
	lines := lineBreak.Split(string(data[:right]), -1)
	return len(lines), utf8.RuneCountInString(lines[len(lines)-1]) + 1
}

// lineBreak is what YAML counts as the end of a line.
var lineBreak = regexp.MustCompile(`\r\n|[\n\r\x{85}\x{2028}\x{2029}]`)

var (
	yamlAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
	yamlLine   = regexp.MustCompile(`line (\d+): `)
	// The YAML parser counts lines from 0 in these errors, and from 1 in those of its scanner.
	yamlFromZero = regexp.MustCompile(`^did not find expected (node content|key|'-'|',|<)`)
)

// failYAML reports an error of the YAML parser, which names a line at most.
func (r *reader) failYAML(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.Replace(msg, m[0], "", 1)
		if yamlFromZero.MatchString(msg) {
			line++
		}
	}
	line = r.lineWithout(msg, line)
	column := 1
	if line <= len(r.lines) && line > 0 {
		text := r.lines[line-1]
		column += utf8.RuneCountInString(text) - utf8.RuneCountInString(strings.TrimLeft(text, " "))
	}
	hint := yamlHint(msg)
	if line <= len(r.lines) && line > 0 && strings.HasPrefix(strings.TrimLeft(r.lines[line-1], " "), "\t") {
		hint = "indent with spaces, not with tabs"
	}
	r.failAt(line, column, hint, "not YAML: %s", msg)
}

// lineWithout finds the line of those errors that have none.
func (r *reader) lineWithout(msg string, line int) int {
	at := -1
	if m := yamlAnchor.FindStringSubmatch(msg); m != nil {
		at = slices.IndexFunc(r.lines, func(l string) bool { return strings.Contains(l, "*"+m[1]) })
	} else if strings.HasPrefix(msg, "control characters") {
		at = slices.IndexFunc(r.lines, func(l string) bool {
			return strings.ContainsFunc(l, func(c rune) bool { return c != '\t' && unicode.IsControl(c) })
		})
	}
	if at < 0 {
		return line
	}
	return at + 1
}

// yamlHints say how to mend what the YAML parser complains about, by a part of what it says.
var yamlHints = []struct{ part, hint string }{
	{"expected ',' or ']'", "close the bracket [, and quote texts with a comma or a bracket"},
	{"expected ',' or '}'", "close the brace {, and quote texts with a comma or a brace"},
	{"mapping values are not allowed", "indent like the line above, and quote texts with a colon"},
	{"cannot start any token", "quote texts that begin with a sign"},
	{"unexpected end of stream", "close the quote"},
	{"unknown anchor", "quote texts that begin with *"},
	{"expected alphabetic or numeric character", "quote texts that begin with * or &"},
	{"could not find expected ':'", "write key: value, with a space behind the colon"},
	{"did not find expected", "indent like the lines of the same mapping or list"},
	{"control characters are not allowed", "take the control character out"},
}

func yamlHint(msg string) string {
	for _, h := range yamlHints {
		if strings.Contains(msg, h.part) {
			return h.hint
		}
	}
	return ""
}

// bounded refuses nesting that is too deep, and anchors with their aliases: a few bytes of
// those can stand for millions of nodes.
func (r *reader) bounded(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxDepth:
		r.fail(n, "write it flatter", "nested deeper than %d", maxDepth)
		return false
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.fail(n, "write the value out", "anchors and aliases are not allowed")
		return false
	}
	for _, child := range n.Content {
		if !r.bounded(child, depth+1) {
			return false
		}
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// object is a YAML mapping whose keys are checked.
type object struct {
	node   *yaml.Node
	keys   map[string]*yaml.Node
	values map[string]*yaml.Node
}

// object reads a mapping; every key must be known and come once. what names the mapping in
// errors, as in "a response".
func (r *reader) object(n *yaml.Node, what string, known []string) (object, bool) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "keys: "+strings.Join(known, ", "), "%s must be a mapping, not %s", what, kindWord(n))
		return object{}, false
	}
	o := object{node: n, keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if first, ok := o.keys[key.Value]; ok {
			r.fail(key, fmt.Sprintf("first on line %d", first.Line), "key %q comes twice", key.Value)
			continue
		}
		if _, ok := oneOf(known, key.Value); !ok {
			hint := didYouMean(key.Value, known)
			if hint == "" {
				hint = "keys: " + strings.Join(known, ", ")
			}
			r.fail(key, hint, "%s has no key %q", what, key.Value)
			continue
		}
		o.keys[key.Value], o.values[key.Value] = key, value
	}
	return o, true
}

// need returns the value of a key that must be there.
func (r *reader) need(o object, what, key string) *yaml.Node {
	v := o.values[key]
	if v == nil {
		r.fail(o.node, fmt.Sprintf("add %s: …", key), "%s needs the key %q", what, key)
	}
	return v
}

func kindWord(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	}
	return fmt.Sprintf("%q", shorten(n.Value))
}

func shorten(s string) string {
	const longest = 60
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

// text reads a scalar that is not empty.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "", "%s must be text, not %s", what, kindWord(n))
		return "", false
	}
	if isNull(n) || strings.TrimSpace(n.Value) == "" {
		r.fail(n, "write a value, or leave it out", "%s is empty", what)
		return "", false
	}
	return n.Value, true
}

// choice reads one of some words and returns its index.
func (r *reader) choice(n *yaml.Node, what string, words []string) (int, bool) {
	text, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	i, ok := oneOf(words, text)
	if !ok {
		r.fail(n, didYouMean(text, words), "%s cannot be %q", what, shorten(text))
	}
	return i, ok
}

// duration reads a duration within bounds.
func (r *reader) duration(n *yaml.Node, what string, low, high time.Duration) (time.Duration, bool) {
	text, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	if strings.HasPrefix(text, "-") {
		r.fail(n, "write it without the minus", "%s cannot be negative", what)
		return 0, false
	}
	d, err := parseDuration(text)
	if err != nil {
		r.fail(n, "", "%s: %v", what, err)
		return 0, false
	}
	if d < low || d > high {
		r.fail(n, "", "%s is %s, it must be from %s to %s", what, text, formatDuration(low), formatDuration(high))
		return 0, false
	}
	return d, true
}

// integer reads a whole number within bounds.
func (r *reader) integer(n *yaml.Node, what string, low, high int64) (int64, bool) {
	text, ok := r.text(n, what)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.fail(n, "", "%s must be a whole number, not %q", what, shorten(text))
		return 0, false
	}
	if i < low || i > high {
		r.fail(n, "", "%s is %d, it must be from %d to %d", what, i, low, high)
		return 0, false
	}
	return i, true
}

// boolean reads true or false.
func (r *reader) boolean(n *yaml.Node, what string) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		r.fail(n, "", "%s must be true or false, not %s", what, kindWord(n))
		return false, false
	}
	return n.Value == "true", true
}

// items returns the entries of a list that is not empty; a single value counts as a list of one.
func (r *reader) items(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	if len(n.Content) == 0 {
		r.fail(n, "write a value, or leave it out", "%s is an empty list", what)
	}
	return n.Content
}
