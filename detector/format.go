package detector

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Formatted is a detector file before and after it was put into its canonical form.
type Formatted struct {
	File          string
	Before, After []byte
}

// Changed says whether the file was not in its canonical form.
func (f Formatted) Changed() bool { return string(f.Before) != string(f.After) }

// FormatFiles formats all detector files of a file system, in the order of their names. Errors
// names those that cannot be formatted; they are not among the others.
func FormatFiles(files fs.FS) ([]Formatted, Errors) {
	texts, errs := readFiles(files)
	var done []Formatted
	for _, t := range texts {
		after, wrong := Format(t.name, t.data)
		if len(wrong) > 0 {
			errs = append(errs, wrong...)
			continue
		}
		done = append(done, Formatted{t.name, t.data, after})
	}
	errs.sort()
	return done, errs
}

// Format returns a detector file in its canonical form: keys in the order of the manual, two
// spaces of indentation, short lists and the calls of tests on one line, quotes only where they
// are needed. Comments, block texts and single blank lines stay. What the file says stays the same;
// it need not be a right detector, but must be YAML. Formatting again changes nothing.
func Format(name string, data []byte) ([]byte, Errors) {
	source := strings.TrimPrefix(string(data), "\uFEFF")
	r := &reader{file: name}
	f := &formatter{reader: r}
	docs := f.outline([]byte(source))
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	text := f.print(docs)
	if why := f.loses(text, docs); why != "" {
		r.failAt(0, 0, "please report it", "cannot be formatted: %s", why)
		return nil, r.errs
	}
	return []byte(text), nil
}

// keyOrders are the orders of the keys of mappings, by the keys that lead to them. Where there is
// none the author's order stays.
var keyOrders = map[string][]string{
	"":             detectorKeys,
	"baseline":     baselineKeys,
	"warmup":       warmupKeys,
	"schedule":     scheduleKeys,
	"correlation":  correlationKeys,
	"response":     responseKeys,
	"escalate":     escalateKeys,
	"exceptions":   exceptionKeys,
	"tests":        testKeys,
	"tests.calls":  testCallsKeys,
	"tests.expect": expectKeys,
	oneTenant:      overrideKeys,
}

// oneTenant is the path to what one tenant has instead. What is below has the paths of the detector itself.
const oneTenant = "tenants.*"

// formatter holds what one file needs to be formatted.
type formatter struct {
	*reader
	chars  [][]rune              // of the lines
	inside map[place]bool        // characters that stand in a quoted or a block text
	blocks map[*yaml.Node]*block // where block texts stand
	ends   map[*yaml.Node]place  // of collections in brackets: the closing one
	plain  map[plainText]bool    // whether a text can stand without quotes
}

// place is a place in the file, from 1.
type place struct{ line, column int }

func (p place) before(q place) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

// part is a document, an entry of a mapping or an item of a list, with the comments that
// belong to it.
type part struct {
	key   *yaml.Node // nil for a document and an item
	value *yaml.Node
	path  string // the keys that lead to the value, with dots between them
	at    place
	// column is where it stands in the source: for an item that of its hyphen.
	column int
	up     *part
	kids   []*part

	head  []comment // on lines of their own in front of it
	trail *comment  // behind it, on its line
	foot  []comment // on lines of their own behind it
	blank bool      // a blank line stands directly in front of it
	open  bool      // an entry below it has comments, so it cannot stand on one line
}

// outline parses the file into its documents, with the comments where they belong.
func (f *formatter) outline(data []byte) []*part {
	roots := f.documents(data)
	if len(f.errs) > 0 {
		return nil
	}
	for _, line := range f.lines {
		f.chars = append(f.chars, []rune(line))
	}
	f.inside, f.blocks = map[place]bool{}, map[*yaml.Node]*block{}
	f.ends, f.plain = map[*yaml.Node]place{}, map[plainText]bool{}
	var docs []*part
	for _, root := range roots {
		if root.Kind != yaml.MappingNode {
			f.fail(root, "", "a detector must be a mapping, not %s", kindWord(root))
			return nil
		}
		doc := &part{value: root, at: place{root.Line, root.Column}}
		f.grow(doc)
		docs = append(docs, doc)
	}
	if len(f.errs) > 0 {
		return nil
	}
	for _, doc := range docs {
		f.mark(doc.value, -1)
	}
	for _, doc := range docs {
		f.close(doc.value)
	}
	f.attach(docs)
	return docs
}

// grow makes the parts of a collection.
func (f *formatter) grow(p *part) {
	n := p.value
	if n.Style&yaml.TaggedStyle != 0 {
		f.fail(n, "leave it out", "the tag %s cannot be formatted", n.Tag)
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0 || strings.Contains(key.Value, "\n") {
				f.fail(key, "", "a key must be a text of one line")
				continue
			}
			path := strings.TrimPrefix(p.path+"."+key.Value, ".")
			switch p.path {
			case "tenants":
				path = oneTenant
			case oneTenant:
				path = key.Value
			}
			kid := &part{key: key, value: n.Content[i+1], path: path, at: place{key.Line, key.Column}, column: key.Column, up: p}
			f.grow(kid)
			p.kids = append(p.kids, kid)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			kid := &part{value: item, path: p.path, at: place{item.Line, item.Column}, column: n.Column, up: p}
			if n.Style&yaml.FlowStyle != 0 {
				kid.column = item.Column
			} else {
				kid.at = f.hyphen(item, n.Column)
			}
			f.grow(kid)
			p.kids = append(p.kids, kid)
		}
	}
}

// hyphen returns where the hyphen of an item is: in front of it, on its line or above.
func (f *formatter) hyphen(item *yaml.Node, column int) place {
	for line := item.Line; line > 0; line-- {
		p := place{line, column}
		if f.char(p) == '-' && strings.Trim(string(f.chars[line-1][:column-1]), "- ") == "" {
			return p
		}
	}
	return place{item.Line, item.Column}
}

// sorted returns the entries of a mapping in the order of the manual.
func (p *part) sorted() []*part {
	order, ok := keyOrders[p.path]
	if !ok || p.value.Kind != yaml.MappingNode {
		return p.kids
	}
	rank := func(kid *part) int {
		if i := slices.Index(order, kid.key.Value); i >= 0 {
			return i
		}
		return len(order)
	}
	kids := slices.Clone(p.kids)
	slices.SortStableFunc(kids, func(a, b *part) int { return rank(a) - rank(b) })
	return kids
}

// loses says what is not in the text that was in the file; it is empty if all is.
func (f *formatter) loses(text string, docs []*part) string {
	g := &formatter{reader: &reader{file: f.file}}
	again := g.outline([]byte(text))
	switch {
	case len(g.errs) > 0:
		return "the result is not YAML: " + g.errs[0].Msg
	case len(again) != len(docs):
		return "the number of detectors would be another"
	case !slices.Equal(f.remarks(), g.remarks()):
		return "a comment would be lost"
	}
	for i, doc := range docs {
		if line := doc.differs(again[i]); line > 0 {
			return "what line " + strconv.Itoa(line) + " says would be another"
		}
	}
	return ""
}

// differs returns the line of the first part that says something else than its counterpart, 0 if
// none does.
func (p *part) differs(q *part) int {
	a, b := p.value, q.value
	same := a.Kind == b.Kind && a.Tag == b.Tag && len(p.kids) == len(q.kids) &&
		(p.key == nil) == (q.key == nil) && (p.key == nil || p.key.Value == q.key.Value) &&
		(a.Kind != yaml.ScalarNode || isNull(a) || a.Value == b.Value)
	if !same {
		return max(p.at.line, 1)
	}
	mine, its := p.sorted(), q.sorted()
	for i := range mine {
		if line := mine[i].differs(its[i]); line > 0 {
			return line
		}
	}
	return 0
}
