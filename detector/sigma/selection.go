package sigma

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fieldTest is an entry of a selection: field|modifier: value.
type fieldTest struct {
	key             *yaml.Node
	name            string
	comparison      string // in our words; empty is the whole value
	cased, all, not bool
	values          []string
	nodes           []*yaml.Node // by index of values
}

// at returns where value i stands.
func (t fieldTest) at(i int) *yaml.Node { return t.nodes[i] }

// as tests a field of calls in place of the one that the rule names.
func (t fieldTest) as(field, comparison string, value func(string) string) *match {
	key := field
	for _, word := range []struct {
		text string
		use  bool
	}{{comparison, comparison != ""}, {"cased", t.cased}, {"all", t.all && len(t.values) > 1}} {
		if word.use {
			key += "|" + word.text
		}
	}
	m := test(key)
	for _, v := range t.values {
		m.values = append(m.values, value(v))
	}
	if t.not {
		return negate(m)
	}
	return m
}

// same is the value as it is.
func same(v string) string { return v }

// refused are the modifiers that have no counterpart, and why.
var refused = map[string]string{
	"base64": encoded, "base64offset": encoded, "wide": encoded, "utf16": encoded, "utf16le": encoded, "utf16be": encoded,
	"windash":  "it is about command lines, which calls do not have",
	"expand":   "placeholders are not known here",
	"fieldref": "a match compares a field with values, not with another field",
	"minute":   dated, "hour": dated, "day": dated, "week": dated, "month": dated, "year": dated,
}

const (
	encoded = "values are compared as they are, not encoded"
	dated   = "a match does not compare dates"
)

// globs are the comparisons in which * and ? stand for other characters.
var globs = []string{"", "contains", "startswith", "endswith"}

// selection translates a selection of a rule; nil where it cannot, the reason is in r.
func (r *ruleReader) selection(n *yaml.Node) *match {
	switch n.Kind {
	case yaml.MappingNode:
		return r.entries(n)
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			r.fail(n, "", "the selection is an empty list")
			return nil
		}
		var kids []*match
		for _, item := range n.Content {
			if m := r.selection(item); m != nil {
				kids = append(kids, m)
			}
		}
		if len(kids) < len(n.Content) {
			return nil
		}
		return join(opOr, kids...)
	}
	r.keyword(n)
	return nil
}

func (r *ruleReader) keyword(n *yaml.Node) {
	r.fail(n, "name the field that the text is looked for in", "a keyword is looked for in the whole event, of which calls keep fields alone")
}

func (r *ruleReader) entries(n *yaml.Node) *match {
	if len(n.Content) == 0 {
		r.fail(n, "", "the selection is empty")
		return nil
	}
	var kids []*match
	for i := 0; i+1 < len(n.Content); i += 2 {
		if m := r.entry(n.Content[i], n.Content[i+1]); m != nil {
			kids = append(kids, m)
		}
	}
	if len(kids) < len(n.Content)/2 {
		return nil
	}
	for _, m := range r.mappings {
		if m.merge != nil {
			kids = m.merge(kids)
		}
	}
	return join(opAnd, kids...)
}

// entry translates one field. A value that is null or empty asks whether the field is there.
func (r *ruleReader) entry(key, value *yaml.Node) *match {
	name, modifiers, _ := strings.Cut(key.Value, "|")
	if name == "" {
		r.keyword(key)
		return nil
	}
	t := fieldTest{key: key, name: name}
	prefix, ok := r.modifiers(&t, len([]rune(name))+1, modifiers)
	if !ok {
		return nil
	}
	nodes := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		nodes = value.Content
	}
	if len(nodes) == 0 {
		r.fail(value, "", "%s is an empty list", name)
		return nil
	}
	absent := false
	for _, v := range nodes {
		switch text, ok := r.value(v, t, prefix); {
		case !ok:
			return nil
		case text == "":
			absent = true
		default:
			t.values, t.nodes = append(t.values, text), append(t.nodes, v)
		}
	}
	if t.comparison == "exists" {
		return r.exists(t, value)
	}
	return r.tests(t, absent, value)
}

// tests translates values, and the absence of a value, into one condition.
func (r *ruleReader) tests(t fieldTest, absent bool, value *yaml.Node) *match {
	if absent && (t.comparison != "" || t.all) {
		r.fail(value, "", "%s compares with an empty value, which says nothing", t.key.Value)
		return nil
	}
	var kids []*match
	not := t.not
	t.not = false
	if absent {
		m := r.field(fieldTest{key: t.key, name: t.name, comparison: "exists", values: []string{"true"}, nodes: []*yaml.Node{value}})
		if m == nil {
			return nil
		}
		kids = append(kids, missingField(m))
	}
	if len(t.values) > 0 {
		if t.comparison == "" && slices.Equal(t.values, []string{"*"}) { // anything, but something
			t.comparison, t.values, t.cased = "exists", []string{"true"}, false
		}
		m := r.field(t)
		if m == nil {
			return nil
		}
		kids = append(kids, m)
	}
	m := join(opOr, kids...)
	if not {
		return negate(m)
	}
	return m
}

// missingField turns field|exists: true around.
func missingField(m *match) *match {
	if m.op == opTest && strings.HasSuffix(m.key, "|exists") {
		return test(m.key, "false")
	}
	return negate(m)
}

func (r *ruleReader) exists(t fieldTest, value *yaml.Node) *match {
	if len(t.values) != 1 || t.values[0] != "true" && t.values[0] != "false" {
		r.fail(value, "", "%s must be true or false", t.key.Value)
		return nil
	}
	want := t.values[0] == "true"
	t.values = []string{"true"}
	not := t.not
	t.not = false
	m := r.field(t)
	if m == nil || want != not {
		return m
	}
	return missingField(m)
}

// modifiers reads what stands behind the field; prefix goes in front of regular expressions.
func (r *ruleReader) modifiers(t *fieldTest, offset int, text string) (prefix string, ok bool) {
	if text == "" {
		return "", true
	}
	flags := ""
	for word := range strings.SplitSeq(text, "|") {
		why := refused[word]
		switch {
		case why != "":
			r.failIn(t.key, offset, "", "the modifier %s has no counterpart: %s", word, why)
			return "", false
		case word == "all":
			t.all = true
		case word == "cased":
			t.cased = true
		case word == "neq":
			t.not = true
		case t.comparison == "re" && (word == "i" || word == "m" || word == "s"):
			flags += word
		case !slices.Contains(comparisonWords, word):
			r.failIn(t.key, offset, nearest(word, slices.Concat(comparisonWords, []string{"all", "cased", "neq"})), "unknown modifier %q", shorten(word))
			return "", false
		case t.comparison != "":
			r.failIn(t.key, offset, "use one of them", "modifiers %s and %s exclude each other", t.comparison, word)
			return "", false
		default:
			t.comparison = word
		}
		offset += len([]rune(word)) + 1
	}
	if !slices.Contains(globs, t.comparison) {
		t.cased = false // they regard case anyway
	}
	if flags != "" {
		prefix = "(?" + flags + ")"
	}
	return prefix, true
}

// comparisonWords are the modifiers that Sigma and our language share.
var comparisonWords = []string{"contains", "startswith", "endswith", "re", "cidr", "exists", "lt", "lte", "gt", "gte"}

// value reads one value; null and empty ones are the empty text.
func (r *ruleReader) value(n *yaml.Node, t fieldTest, prefix string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "", "%s must be a value or a list of values", t.key.Value)
		return "", false
	}
	if n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		return "", true
	}
	switch {
	case t.comparison == "re":
		if _, err := regexp.Compile(prefix + n.Value); err != nil {
			r.fail(n, "RE2 knows no look-around and no back-references", "not an RE2 expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			return "", false
		}
		return prefix + n.Value, true
	case slices.Contains(globs, t.comparison):
		return closed(n.Value), true
	}
	return n.Value, true
}

// closed doubles a backslash at the end, so that it does not take hold of what comes to stand behind it.
func closed(v string) string {
	if (len(v)-len(strings.TrimRight(v, `\`)))%2 == 1 {
		return v + `\`
	}
	return v
}

// field translates the test of a field by the mappings of the rule's log source.
func (r *ruleReader) field(t fieldTest) *match {
	for _, m := range r.mappings {
		if m.special != nil && t.comparison != "exists" {
			if got, known := m.special(r, t); known {
				return got
			}
		}
		if to, ok := m.fields[t.name]; ok {
			return r.renamed(t, to)
		}
	}
	r.unknown(t.key, t.name)
	return nil
}

// renamed tests the field that the rule's field is in calls.
func (r *ruleReader) renamed(t fieldTest, to target) *match {
	values := slices.Clone(t.values)
	for i, v := range values {
		if to.never != "" && strings.Contains(strings.ToLower(v), to.never) {
			r.fail(t.at(i), to.why, "no %s of a call holds %q", to.field, strings.Trim(to.never, ":/"))
			return nil
		}
		if to.values == nil || t.comparison == "exists" {
			continue
		}
		ours, ok := to.values[strings.ToLower(v)]
		if !ok || t.comparison != "" {
			r.fail(t.at(i), "add it to values: of the field mapping", "the value %q of %s has no counterpart", shorten(v), t.name)
			return nil
		}
		values[i] = ours
	}
	if to.note != "" {
		r.note(to.note)
	}
	t.values = values
	return t.as(to.field, t.comparison, same)
}

// unknown reports a field that no mapping knows.
func (r *ruleReader) unknown(n *yaml.Node, name string) {
	var known []string
	for _, m := range r.mappings {
		for _, missing := range m.missing {
			if name == missing.prefix || strings.HasPrefix(name, missing.prefix+".") {
				r.fail(n, missing.why, "calls do not keep %s", shorten(name))
				return
			}
		}
		for field := range m.fields {
			known = append(known, field)
		}
	}
	slices.Sort(known)
	hint := "name it in a file for --map"
	if best := near(name, known); best != "" {
		hint = "did you mean " + best + "? Else name it in a file for --map"
	}
	r.fail(n, hint, "no field of calls is known for %s", shorten(name))
}
