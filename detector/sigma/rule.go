package sigma

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// maxMatch bounds the conditions of a match, after patterns such as 1 of selection* are written out.
const maxMatch = 5000

// logsource is which logs a rule is about.
type logsource struct{ product, service, category string }

var logsourceKeys = []string{"product", "service", "category"}

// String names the log source as a rule does.
func (s logsource) String() string {
	var parts []string
	for i, v := range []string{s.product, s.service, s.category} {
		if v != "" {
			parts = append(parts, logsourceKeys[i]+" "+v)
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// ruleReader reads one rule and collects what does not map.
type ruleReader struct {
	file     string
	yaml     *detector.YAML
	root     *yaml.Node
	keys     map[string]*yaml.Node // of the root
	mappings []*Mapping            // that fit the log source
	problems []Problem
	notes    []string

	title, id, name string
	correlation     *yaml.Node // nil for a plain rule
	match           *match     // of a plain rule; nil where it does not map
	count           *counting  // of an aggregation of Sigma 1
	partOf          string     // the correlation that uses it, and does not want it alone
}

func (r *ruleReader) failAt(line, column int, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{
		File: r.file, Line: line, Column: column, Rule: r.title, Reason: fmt.Sprintf(format, args...), Hint: hint,
	})
}

func (r *ruleReader) fail(n *yaml.Node, hint, format string, args ...any) {
	r.failAt(n.Line, n.Column, hint, format, args...)
}

// failIn reports a problem at a character of a scalar.
func (r *ruleReader) failIn(n *yaml.Node, offset int, hint, format string, args ...any) {
	line, column := r.yaml.Position(n, offset)
	r.failAt(line, column, hint, format, args...)
}

func (r *ruleReader) note(text string) {
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// near returns the nearest of the known words, empty if none is near.
func near(word string, known []string) string {
	best, _ := detector.Nearest(word, known)
	return best
}

// read reads what a rule says; how it is counted comes later, for that may need others.
func (r *ruleReader) read(mappings []*Mapping) {
	if r.root.Kind != yaml.MappingNode {
		r.fail(r.root, "", "a rule must be a mapping")
		return
	}
	r.keys = entriesOf(r.root)
	r.title, r.id, r.name = oneLine(r.scalar("title")), r.scalar("id"), r.scalar("name")
	switch {
	case r.title == "":
		r.fail(r.root, "add title:", "the rule has no title")
	case r.keys["action"] != nil:
		r.fail(r.keys["action"], "write the whole rule", "collections with action: are not part of Sigma 2")
	case r.keys["filter"] != nil:
		r.fail(r.keys["filter"], "write it under exceptions: of the detectors", "a Sigma filter is no rule")
	case r.scalar("status") == "unsupported":
		r.fail(r.keys["status"], "", "its author calls the rule unsupported")
	case r.keys["correlation"] != nil:
		r.correlation = r.keys["correlation"]
	default:
		r.detection(mappings)
	}
}

// entriesOf returns the values of a mapping by key.
func entriesOf(n *yaml.Node) map[string]*yaml.Node {
	entries := map[string]*yaml.Node{}
	if n == nil || n.Kind != yaml.MappingNode {
		return entries
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		entries[n.Content[i].Value] = n.Content[i+1]
	}
	return entries
}

// scalar returns the text of a key, empty where there is none.
func (r *ruleReader) scalar(key string) string {
	n := r.keys[key]
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// texts returns the texts of a key: one, or a list of them.
func (r *ruleReader) texts(key string) []string {
	n := r.keys[key]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		n = &yaml.Node{Content: []*yaml.Node{n}}
	}
	var texts []string
	for _, item := range n.Content {
		if s := oneLine(item.Value); item.Kind == yaml.ScalarNode && item.Tag != "!!null" && s != "" {
			texts = append(texts, s)
		}
	}
	return texts
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// detection translates the selections and the condition of a plain rule.
func (r *ruleReader) detection(mappings []*Mapping) {
	source := entriesOf(r.keys["logsource"])
	s := logsource{}
	for i, part := range []*string{&s.product, &s.service, &s.category} {
		if n := source[logsourceKeys[i]]; n != nil {
			*part = n.Value
		}
	}
	r.mappings = choose(mappings, s)
	if len(r.mappings) == 0 {
		at := r.keys["logsource"]
		if at == nil {
			at = r.root
		}
		r.fail(at, "write one for --map", "there is no field mapping for %s", s)
		return
	}
	d := r.keys["detection"]
	if d == nil || d.Kind != yaml.MappingNode {
		r.fail(r.root, "", "the rule has no detection")
		return
	}
	r.condition(d)
}

// condition joins the selections as the condition says.
func (r *ruleReader) condition(d *yaml.Node) {
	entries := entriesOf(d)
	at := entries["condition"]
	if at == nil {
		r.fail(d, "add condition: selection", "the detection has no condition")
		return
	}
	w := &writer{ruleReader: r, entries: entries, done: map[string]*match{}}
	for i := 0; i+1 < len(d.Content); i += 2 {
		if name := d.Content[i].Value; name != "condition" && name != "timeframe" {
			w.names = append(w.names, name)
		}
	}
	conditions := []*yaml.Node{at}
	if at.Kind == yaml.SequenceNode {
		conditions = at.Content
	}
	if len(conditions) == 0 {
		r.fail(at, "add condition: selection", "the condition is an empty list")
	}
	var kids []*match
	for _, n := range conditions {
		what, how, err := parseCondition(n.Value)
		switch {
		case n.Kind != yaml.ScalarNode:
			r.fail(n, "", "a condition must be text")
		case err != nil:
			r.failIn(n, err.offset, err.hint, "%s", err.msg)
		case how != nil && len(conditions) > 1:
			r.failIn(n, how.offset, "write one rule for each", "a condition that counts cannot stand in a list")
		default:
			if m := w.write(n, what); m != nil {
				kids = append(kids, m)
			}
			if how != nil {
				r.count = r.oldCount(n, how, entries["timeframe"])
			}
		}
	}
	if len(r.problems) > 0 {
		w.rest()
	}
	if len(r.problems) == 0 && len(kids) > 0 {
		r.match = join(opOr, kids...)
	}
	if at := entries["timeframe"]; at != nil && r.count == nil && len(r.problems) == 0 {
		r.note("timeframe is left out, for nothing is counted")
	}
}

// rest reads the selections that a wrong condition did not come to, so that all that is wrong is said at once.
func (w *writer) rest() {
	for _, name := range w.names {
		if _, ok := w.done[name]; !ok {
			w.selection(w.entries[name])
		}
	}
}

// writer writes expressions out.
type writer struct {
	*ruleReader
	entries map[string]*yaml.Node
	names   []string          // of selections, in the order of the rule
	done    map[string]*match // nil where a selection does not map
	total   int
}

// write translates an expression; nil where it cannot.
func (w *writer) write(n *yaml.Node, e *expression) *match {
	var kids []*match
	switch e.op {
	case opNamed:
		return w.named(n, e, e.name)
	case opOneOf, opAllOf:
		names := w.fitting(e.name)
		if len(names) == 0 {
			w.failIn(n, e.offset, "known: "+strings.Join(w.names, ", "), "no selection fits %q", shorten(e.name))
			return nil
		}
		whole := true
		for _, name := range names {
			m := w.named(n, e, name)
			whole = whole && m != nil
			kids = append(kids, m)
		}
		if !whole {
			return nil
		}
		return join(map[operator]operator{opOneOf: opOr, opAllOf: opAnd}[e.op], kids...)
	}
	whole := true
	for _, kid := range e.kids {
		m := w.write(n, kid)
		whole = whole && m != nil
		kids = append(kids, m)
	}
	switch {
	case !whole:
		return nil
	case e.op == opNot:
		return negate(kids[0])
	}
	return join(e.op, kids...)
}

// fitting returns the selections that a pattern names; an empty one names all but those with _ in front.
func (w *writer) fitting(pattern string) []string {
	var names []string
	for _, name := range w.names {
		if pattern == "" && !strings.HasPrefix(name, "_") || pattern != "" && matchName(pattern, name) {
			names = append(names, name)
		}
	}
	return names
}

// named translates a selection once, however often it is named.
func (w *writer) named(n *yaml.Node, e *expression, name string) *match {
	m, ok := w.done[name]
	if !ok {
		if !slices.Contains(w.names, name) {
			w.failIn(n, e.offset, nearest(name, w.names), "there is no selection %q", shorten(name))
			return nil
		}
		m = w.selection(w.entries[name])
		w.done[name] = m
	}
	if m == nil {
		return nil
	}
	if w.total += m.size(); w.total > maxMatch {
		if w.total -= m.size(); len(w.problems) == 0 {
			w.failIn(n, e.offset, "", "the match has more than %d conditions", maxMatch)
		}
		return nil
	}
	return m
}
