// Package sigma turns Sigma rules (specification 2) into detectors. A rule is imported whole or not at all:
// a part left out would change what it fires on. What does not map is named with its place and the reason.
package sigma

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// File is a file of Sigma rules.
type File struct {
	Name string
	Data []byte
}

// Result is what came of some files.
type Result struct {
	Rules     int        `json:"rules"` // how many were read
	Detectors []Detector `json:"detectors"`
	Problems  []Problem  `json:"problems"` // in the order of the files; a rule may have several
}

// Detector is a rule that was imported.
type Detector struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	File  string   `json:"file"` // of the rule
	Line  int      `json:"line"`
	Notes []string `json:"notes,omitempty"` // where it is not quite what the rule said
	YAML  string   `json:"yaml"`
}

// Problem is why a rule was not imported.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Rule   string `json:"rule,omitempty"` // its title
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// String returns file:line:column: reason, with the hint in parentheses.
func (p Problem) String() string {
	e := detector.Error{File: p.File, Line: p.Line, Column: p.Column, Msg: p.Reason, Hint: p.Hint}
	return e.Error()
}

// Import translates the rules of all files together: a correlation may name rules of another file. The
// mappings stand beside the built-in ones, and before them.
func Import(files []File, mappings []*Mapping) *Result {
	result := &Result{Detectors: []Detector{}, Problems: []Problem{}}
	rules := read(files, mappings, result)
	correlate(rules)
	ids := map[string]bool{}
	for _, r := range rules {
		switch {
		case len(r.problems) > 0:
		case r.partOf != "":
			r.fail(r.root, "write generate: true there to have it alone as well", "it is a part of the correlation %q", r.partOf)
		case r.match == nil:
			r.fail(r.root, "", "the rule says nothing of calls")
		default:
			r.emit(result, ids)
		}
		result.Problems = append(result.Problems, r.problems...)
	}
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(result.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return result
}

// read reads the rules of all files.
func read(files []File, mappings []*Mapping, result *Result) []*ruleReader {
	var rules []*ruleReader
	for _, f := range files {
		y, errs := detector.ReadYAML(f.Name, f.Data)
		for _, e := range errs {
			result.Problems = append(result.Problems, Problem{File: e.File, Line: e.Line, Column: e.Column, Reason: e.Msg, Hint: e.Hint})
		}
		if len(errs) == 0 && len(y.Documents) == 0 {
			result.Problems = append(result.Problems, Problem{File: f.Name, Line: 1, Column: 1, Reason: "the file holds no rule"})
		}
		for _, root := range y.Documents {
			r := &ruleReader{file: f.Name, yaml: y, root: root}
			r.read(mappings)
			rules = append(rules, r)
		}
	}
	result.Rules = len(rules)
	return rules
}

// correlate translates the correlations among rules.
func correlate(rules []*ruleReader) {
	named := map[string]*ruleReader{}
	for _, r := range rules {
		for _, name := range []string{r.name, r.id} {
			if name != "" && named[name] == nil {
				named[name] = r
			}
		}
	}
	for _, r := range rules {
		if r.correlation != nil {
			r.correlate(func(name string) *ruleReader { return named[name] })
		}
	}
}

// emit writes a rule as a detector, and checks that it loads.
func (r *ruleReader) emit(result *Result, ids map[string]bool) {
	d := Detector{ID: r.detectorID(ids), Title: r.title, File: r.file, Line: r.root.Line}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(r.detector(d.ID)); err != nil {
		r.fail(r.root, "", "the detector cannot be written: %v", err)
		return
	}
	d.YAML, d.Notes = b.String(), r.notes
	if errs := detector.Check(r.file, b.Bytes()); len(errs) > 0 {
		r.fail(r.root, errs[0].Hint, "the detector would be wrong: %s", errs[0].Msg)
		return
	}
	ids[d.ID] = true
	result.Detectors = append(result.Detectors, d)
}

var severities = map[string]string{
	"informational": "low", "low": "low", "medium": "medium", "high": "high", "critical": "critical", "": "medium",
}

var tagForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)

// detector writes the rule in our language.
func (r *ruleReader) detector(id string) *yaml.Node {
	severity, ok := severities[strings.ToLower(r.scalar("level"))]
	if !ok {
		severity = "medium"
		r.note(fmt.Sprintf("the level %q is not known; severity is medium", shorten(r.scalar("level"))))
	}
	count := r.count
	if count == nil {
		count = once
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) { n.Content = append(n.Content, text(key), value) }
	add("id", text(id))
	add("title", text(r.title))
	add("description", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.LiteralStyle, Value: r.description()})
	add("severity", text(severity))
	if tags := r.tags(); len(tags) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, tag := range tags {
			list.Content = append(list.Content, text(tag))
		}
		add("tags", list)
	}
	if all := r.texts("references"); len(all) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, reference := range all {
			list.Content = append(list.Content, text(reference))
		}
		add("references", list)
	}
	add("mode", text("observe"))
	add("match", r.match.inner(opOr))
	add("group_by", text(count.by.String()))
	add("when", text(count.when))
	return n
}

func (r *ruleReader) tags() []string {
	var tags []string
	for _, tag := range r.texts("tags") {
		switch tag = strings.ToLower(tag); {
		case !tagForm.MatchString(tag):
			r.note(fmt.Sprintf("the tag %q is left out: it is not well formed", shorten(tag)))
		case !slices.Contains(tags, tag):
			tags = append(tags, tag)
		}
	}
	return tags
}

// description is the rule's own, with what is known to fire it wrongly, and where it comes from.
func (r *ruleReader) description() string {
	var parts []string
	if s := oneLine(r.scalar("description")); s != "" {
		parts = append(parts, s)
	}
	if all := r.texts("falsepositives"); len(all) > 0 {
		parts = append(parts, "Known false alarms: "+strings.Join(all, "; "))
	}
	origin := "Imported from a Sigma rule"
	for _, part := range []struct{ before, key string }{{" ", "id"}, {", by ", "author"}, {", license ", "license"}} {
		if s := oneLine(r.scalar(part.key)); s != "" {
			origin += part.before + s
		}
	}
	parts = append(parts, origin+".")
	for i := range parts {
		parts[i] = wrap(parts[i], 100)
	}
	return strings.Join(parts, "\n")
}

// wrap breaks a text into lines of at most width characters, where its words allow.
func wrap(s string, width int) string {
	var b strings.Builder
	line := 0
	for _, word := range strings.Fields(s) {
		n := len([]rune(word))
		switch {
		case line == 0:
		case line+1+n > width:
			b.WriteByte('\n')
			line = 0
		default:
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += n
	}
	return b.String()
}

// detectorID makes an id of the rule's name or title that no detector has yet.
func (r *ruleReader) detectorID(taken map[string]bool) string {
	const longest = 56 // so that prefix and number fit into 64
	var b strings.Builder
	for _, c := range strings.ToLower(cmp.Or(r.name, r.title)) {
		switch {
		case c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)):
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	slug := b.String()
	slug = strings.Trim(slug[:min(len(slug), longest-len("sigma-"))], "-")
	id := strings.TrimSuffix("sigma-"+cmp.Or(slug, "rule"), "-")
	for n := 2; taken[id]; n++ {
		id = fmt.Sprintf("sigma-%s-%d", cmp.Or(slug, "rule"), n)
	}
	return id
}
