package detector

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree is a match condition before its atoms have numbers.
type tree struct {
	op   step // stepAtom, stepAnd, stepOr, stepNot
	atom atom
	kids []*tree
	// vague marks an atom that only asks whether a field is there.
	vague bool
}

// The keys of a match that are not fields.
var matchWords = []string{"all", "any", "not"}

// modifierWords are the modifiers of a field.
var modifierWords = namesOf(modifierMeanings)

// matcher reads match conditions. An exact one compares with case throughout.
type matcher struct {
	*reader
	exact bool
}

// match reads a condition: a mapping (all of its entries hold) or a list of conditions (one
// of them does).
func (m matcher) match(n *yaml.Node, what string) *tree {
	switch n.Kind {
	case yaml.SequenceNode:
		return m.list(n, what, stepOr)
	case yaml.MappingNode:
		return m.mapping(n, what)
	}
	m.fail(n, "write field: value", "%s must be a mapping or a list of mappings, not %s", what, kindWord(n))
	return nil
}

// instead says what to write in place of an empty condition, which never means every call.
func (m matcher) instead(what string) string {
	if what == "match" {
		return "leave it out to match every call"
	}
	return "name what the calls must have"
}

func (m matcher) list(n *yaml.Node, what string, op step) *tree {
	if n.Kind != yaml.SequenceNode {
		m.fail(n, "", "%s must be a list of conditions, not %s", what, kindWord(n))
		return nil
	}
	if len(n.Content) == 0 {
		m.fail(n, m.instead(what), "%s is an empty list", what)
		return nil
	}
	t := &tree{op: op}
	for _, item := range n.Content {
		t.kids = append(t.kids, m.match(item, what))
	}
	return t
}

func (m matcher) mapping(n *yaml.Node, what string) *tree {
	if len(n.Content) == 0 {
		m.fail(n, m.instead(what), "%s is empty", what)
		return nil
	}
	t := &tree{op: stepAnd}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			m.fail(key, "use any: or all: for both", "key %q comes twice", key.Value)
			continue
		}
		seen[key.Value] = true
		t.kids = append(t.kids, m.entry(key, value))
	}
	return t
}

func (m matcher) entry(key, value *yaml.Node) *tree {
	switch key.Value {
	case "all":
		return m.list(value, "all", stepAnd)
	case "any":
		return m.list(value, "any", stepOr)
	case "not":
		return negate(m.match(value, "not"))
	}
	return m.test(key, value)
}

func negate(t *tree) *tree { return &tree{op: stepNot, kids: []*tree{t}} }

// test reads field|modifier: value.
func (m matcher) test(key, value *yaml.Node) *tree {
	name, rest, _ := strings.Cut(key.Value, "|")
	field, contextKey, ok := m.field(key, name)
	mods, modsOK := m.modifiers(key, len([]rune(name))+1, rest)
	if !ok || !modsOK {
		return nil
	}
	t := &tree{op: stepAtom, atom: atom{field: field, key: contextKey}}
	if mods.comparison == "exists" {
		t.vague, t.atom.presence = true, true
		want, ok := m.boolean(value, key.Value)
		if !ok {
			return nil
		}
		t.atom.name, t.atom.label, t.atom.holds = name+"|exists", name+"|exists", exists
		mods.not = mods.not != !want
	} else if !m.compile(&t.atom, key, value, name, mods) {
		return nil
	}
	if mods.not {
		return negate(t)
	}
	return t
}

func (m matcher) field(key *yaml.Node, name string) (Field, string, bool) {
	field, contextKey, ok := fieldNamed(name, matchFields)
	switch hint, forFeatures := featureFields[name]; {
	case ok:
	case name == contextPrefix:
		m.fail(key, "write context.KEY", "the context entry has no name")
	case forFeatures:
		m.fail(key, hint, "%s is for features, not for a match", name)
	default:
		known := slices.Concat(matchFields, []string{"context.KEY"}, matchWords)
		m.fail(key, didYouMean(name, known), "a call has no field %q", shorten(name))
	}
	return field, contextKey, ok
}

// modifiers are what stands behind the | of a field.
type modifiers struct {
	comparison      string
	cased, all, not bool
}

func (m matcher) modifiers(key *yaml.Node, offset int, text string) (modifiers, bool) {
	mods := modifiers{cased: m.exact}
	if text == "" {
		if strings.HasSuffix(key.Value, "|") {
			m.fail(key, "write one of "+strings.Join(modifierWords, ", ")+", or leave | out", "a modifier is missing after |")
			return mods, false
		}
		return mods, true
	}
	for word := range strings.SplitSeq(text, "|") {
		switch _, known := oneOf(modifierWords, word); {
		case !known:
			m.failIn(key, offset, didYouMean(word, modifierWords), "unknown modifier %q", shorten(word))
			return mods, false
		case word == "cased":
			mods.cased = true
		case word == "all":
			mods.all = true
		case word == "not":
			mods.not = true
		case mods.comparison != "":
			m.failIn(key, offset, "use one of them", "modifiers %s and %s exclude each other", mods.comparison, word)
			return mods, false
		default:
			mods.comparison = word
		}
		offset += len([]rune(word)) + 1
	}
	if mods.cased && !m.exact && !foldable(mods.comparison) {
		m.fail(key, "leave cased out", "%s does not ignore case anyway", mods.comparison)
		return mods, false
	}
	return mods, true
}

// compile makes the atom's predicate of one value or a list of them.
func (m matcher) compile(a *atom, key, value *yaml.Node, name string, mods modifiers) bool {
	if !m.manyValues(value) && (mods.all || mods.comparison == "in") {
		m.fail(value, "write [a, b]", "%s needs a list", key.Value)
		return false
	}
	cased := mods.cased || !foldable(mods.comparison)
	var tests []predicate
	literals := map[string]bool{}
	var texts, written []string
	for _, item := range m.values(value, key.Value) {
		text, ok := m.value(item, key.Value, *a, mods)
		if !ok {
			continue
		}
		texts = append(texts, fold(text, cased))
		written = append(written, text)
		if !mods.all && literal(mods.comparison, text) {
			literals[fold(text, cased)] = true
			continue
		}
		holds, err := comparisons[mods.comparison](text, cased)
		if err != nil {
			m.fail(item, expressionHint(err), "%s: %v", key.Value, err)
			continue
		}
		tests = append(tests, holds)
	}
	if len(tests)+len(literals) == 0 {
		return false
	}
	if len(tests) > maxPatterns {
		m.fail(value, "whole values may be more", "%s has %d patterns, more than %d", key.Value, len(tests), maxPatterns)
		return false
	}
	a.name = canonical(fmt.Sprintf("%s|%s|%t|%t", name, mods.comparison, cased, mods.all), texts)
	a.label = mods.label(name, cased, written)
	a.holds = combine(tests, mods.all, cased)
	if len(literals) > 0 {
		a.holds = either(literals, a.holds, cased)
	}
	if m.exact && excludesNothing(mods.comparison, a.holds) {
		m.fail(value, "name what the calls have in common", "%s excludes nothing", key.Value)
		return false
	}
	return true
}

// label writes a test for people, without the negation, which is a step of its own.
func (mods modifiers) label(name string, cased bool, values []string) string {
	for _, m := range []struct {
		word string
		set  bool
	}{{mods.comparison, mods.comparison != ""}, {"cased", cased && foldable(mods.comparison)}, {"all", mods.all}} {
		if m.set {
			name += "|" + m.word
		}
	}
	if len(values) == 1 {
		return name + ": " + values[0]
	}
	const shown = 8
	more := ""
	if n := len(values) - shown; n > 0 {
		values, more = values[:shown], fmt.Sprintf(", … %d more", n)
	}
	return name + ": [" + strings.Join(values, ", ") + more + "]"
}

// value reads one value of a match. An empty one is refused: it would match nothing or, worse,
// everything.
func (m matcher) value(n *yaml.Node, what string, a atom, mods modifiers) (string, bool) {
	text, ok := m.text(n, what)
	if !ok {
		return "", false
	}
	if a.field == FieldOutcome && (mods.comparison == "" || mods.comparison == "in") {
		if _, ok := oneOf(outcomeWords, strings.ToLower(text)); !ok {
			m.fail(n, didYouMean(text, outcomeWords), "an outcome is never %q", shorten(text))
			return "", false
		}
	}
	return text, true
}

// Values that have nothing in common.
var (
	probes        = []string{strings.Repeat("a", 32), strings.Repeat("Z", 32), strings.Repeat("0", 32), strings.Repeat("-", 32), strings.Repeat("é", 32)}
	addressProbes = []string{"0.0.0.1", "10.9.8.7", "128.0.0.1", "255.255.255.254"}
)

// excludesNothing says whether a predicate is so wide that it holds for values which have nothing
// in common. It is a probe, not a proof.
func excludesNothing(comparison string, holds predicate) bool {
	values := probes
	if comparison == "cidr" {
		values = addressProbes
	}
	return !slices.ContainsFunc(values, func(v string) bool { return !holds(v) })
}

// maxPatterns bounds what is tried, one after another, on each distinct value of a field. Whole values
// are looked up at once.
const maxPatterns = 2000

// literal says whether a comparison with text asks for that value alone.
func literal(comparison, text string) bool {
	return comparison == "in" || comparison == "" && !strings.ContainsAny(text, `*?\`)
}

func either(literals map[string]bool, holds predicate, cased bool) predicate {
	return func(v string) bool { return literals[fold(v, cased)] || holds(v) }
}

// canonical returns the name of an atom: the same for the same test.
func canonical(test string, texts []string) string {
	slices.Sort(texts)
	name := fmt.Sprintf("%s|%q", test, texts)
	if len(name) > 256 {
		name = fmt.Sprintf("%s|%x", test, sha256.Sum256([]byte(name)))
	}
	return name
}

func combine(tests []predicate, all, cased bool) predicate {
	return func(v string) bool {
		v = fold(v, cased)
		for _, holds := range tests {
			if holds(v) != all {
				return !all
			}
		}
		return all
	}
}
