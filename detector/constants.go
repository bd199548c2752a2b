package detector

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of what a detector may name.
const (
	maxNames  = 100 // of constants, of lists and of conditions, each
	maxValues = 100_000
	// maxExpanded bounds the values that all names of one file stand for, each time that they are written.
	maxExpanded = 1_000_000
)

// nameForm is the form of a name that a detector gives to something of its own.
var nameForm = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,63}$`)

// constant is a value, or a list of values, that a detector gives a name.
type constant struct {
	key    *yaml.Node
	what   string // a constant or a list
	values []*yaml.Node
	list   bool
	used   bool
}

// entry is one entry of a mapping whose keys the analyst chooses.
type entry struct{ key, value *yaml.Node }

// entries reads a mapping whose keys the analyst chooses. what names one entry in errors.
func (r *reader) entries(n *yaml.Node, under, what string) []entry {
	switch {
	case n.Kind != yaml.MappingNode:
		r.fail(n, "write NAME: …", "%s must be a mapping, not %s", under, kindWord(n))
		return nil
	case len(n.Content) == 0:
		r.fail(n, "leave it out", "%s is empty", under)
		return nil
	case len(n.Content) > 2*maxNames:
		r.fail(n, "", "%s has more than %d entries", under, maxNames)
		return nil
	}
	var all []entry
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if first := seen[key.Value]; first != nil {
			r.fail(key, "", "%s is named %q twice", what, shorten(key.Value))
			continue
		}
		seen[key.Value] = key
		all = append(all, entry{key, value})
	}
	return all
}

// named reports whether a key has the form of a name.
func (r *reader) named(key *yaml.Node, what string) bool {
	if nameForm.MatchString(key.Value) {
		return true
	}
	r.fail(key, "small letters, digits and underscores, as in crown_jewels", "%s cannot be named %q", what, shorten(key.Value))
	return false
}

// names reads the constants and the lists of a detector.
func (r *reader) names(o object) {
	r.constants = nil
	if v := o.values["constants"]; v != nil {
		for _, e := range r.entries(v, "constants", "a constant") {
			r.define(e, "constant", r.inlineValues(e.value), e.value.Kind == yaml.SequenceNode)
		}
	}
	if v := o.values["lists"]; v != nil {
		for _, e := range r.entries(v, "lists", "a list") {
			r.define(e, "list", r.fileValues(e.value), true)
		}
	}
}

func (r *reader) define(e entry, what string, values []*yaml.Node, list bool) {
	if !r.named(e.key, "a "+what) {
		return
	}
	if other := r.constant(e.key.Value); other != nil {
		r.fail(e.key, "", "the %s %q is named like a %s", what, e.key.Value, other.what)
		return
	}
	r.constants = append(r.constants, &constant{key: e.key, what: what, values: values, list: list})
}

// inlineValues reads the value of a constant, or its values.
func (r *reader) inlineValues(n *yaml.Node) []*yaml.Node {
	for _, item := range r.items(n, "a constant") {
		if _, ok := r.text(item, "a constant"); ok && isReference(item) {
			r.fail(item, "write its value", "a constant cannot stand for another")
		}
	}
	return r.items(n, "a constant")
}

func (r *reader) constant(name string) *constant {
	for _, c := range r.constants {
		if c.key.Value == name {
			return c
		}
	}
	return nil
}

// isReference says whether a value stands for a constant or a list: $name and nothing else.
func isReference(n *yaml.Node) bool {
	name, ok := strings.CutPrefix(n.Value, "$")
	return ok && n.Kind == yaml.ScalarNode && nameForm.MatchString(name)
}

// refer returns what $name stands for, nil where that is nothing. It is written at a character of
// a scalar.
func (r *reader) refer(n *yaml.Node, offset int, name string) *constant {
	c := r.constant(strings.TrimPrefix(name, "$"))
	if c == nil {
		var known []string
		for _, c := range r.constants {
			known = append(known, "$"+c.key.Value)
		}
		hint := didYouMean(name, known)
		if known == nil {
			hint = "name it under constants: or lists:; for a value that begins with $, write $" + shorten(name)
		}
		r.failIn(n, offset, hint, "no constant and no list is %s", shorten(name))
		return nil
	}
	c.used = true
	return c
}

// manyValues says whether a value of a match is a list: written out, or by its name.
func (r *reader) manyValues(n *yaml.Node) bool {
	if !isReference(n) {
		return n.Kind == yaml.SequenceNode
	}
	c := r.constant(n.Value[1:])
	return c == nil || c.list // one that nobody knows is an error of its own
}

// values returns the values of a match, with what $name stands for in its place.
func (r *reader) values(n *yaml.Node, what string) []*yaml.Node {
	var all []*yaml.Node
	for _, item := range r.items(n, what) {
		if isReference(item) {
			if c := r.refer(item, 0, item.Value); c != nil {
				if r.expanded += len(c.values); r.expanded > maxExpanded {
					r.fail(item, "write them once, under conditions:", "written out, the lists of the file have more than %d values", maxExpanded)
					return nil
				}
				all = append(all, c.values...)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(item.Value, "$$"); ok && nameForm.MatchString(rest) {
			literal := *item
			literal.Value = "$" + rest
			item = &literal
		}
		all = append(all, item)
	}
	return all
}

// unused reports the constants and lists that nothing names.
func (r *reader) unused() {
	for _, c := range r.constants {
		if !c.used {
			r.fail(c.key, "take it out, or write $"+c.key.Value+" where it is meant", "nothing uses the %s %q", c.what, c.key.Value)
		}
	}
}

// quantityOf returns the text of the number that $name stands for in a condition.
func (c *condition) quantityOf(offset int, name string) (string, bool) {
	named := c.refer(c.node, offset, name)
	switch {
	case named == nil:
		c.failed = true
		return "", false
	case named.list:
		c.failed = true
		c.failIn(c.node, offset, "", "%s is a list; here a number is wanted", name)
		return "", false
	case len(named.values) != 1: // it is an error already
		c.failed = true
		return "", false
	}
	return strings.TrimSpace(named.values[0].Value), true
}

var referenceForm = regexp.MustCompile(`\$[a-z_][a-z0-9_]*`)

// spellOut puts the values of constants in the place of their names, so that a detection says
// which limit was broken.
func (r *reader) spellOut(text string) string {
	return referenceForm.ReplaceAllStringFunc(text, func(name string) string {
		if c := r.constant(name[1:]); c != nil && !c.list && len(c.values) == 1 {
			return c.values[0].Value
		}
		return name
	})
}
