package detector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The bounds of an expression over named conditions.
const (
	maxExpressionSize  = 4096
	maxExpressionDepth = 32 // of parentheses
	maxExpressionSteps = 10_000
)

// named is a condition that a detector gives a name.
type named struct {
	key  *yaml.Node
	tree *tree
	used bool
}

// expressionWords are the words of an expression, which name no condition.
var expressionWords = []string{"and", "or", "not", "of", "any", "all", "them"}

// matching reads match, and the named conditions of which it may be an expression.
func (r *reader) matching(o object, d *draft) {
	match, under := o.values["match"], o.values["conditions"]
	m := matcher{reader: r}
	switch {
	case under == nil && match == nil:
	case under == nil:
		d.match = m.match(match, "match")
	case match == nil:
		r.fail(o.keys["conditions"], "add match: NAME, as in match: exports and not office", "conditions mean nothing without a match that names them")
	case match.Kind != yaml.ScalarNode:
		r.fail(match, "write match: exports and not office", "with conditions, match must be an expression over their names, not %s", kindWord(match))
	default:
		before := len(r.errs)
		conditions := r.conditions(under)
		d.match = r.expression(match, conditions)
		if len(r.errs) > before {
			return
		}
		for _, c := range conditions {
			if !c.used {
				r.fail(c.key, "take it out, or name it in match:", "nothing uses the condition %q", c.key.Value)
			}
		}
	}
}

// conditions reads the named conditions of a detector.
func (r *reader) conditions(n *yaml.Node) []*named {
	var all []*named
	for _, e := range r.entries(n, "conditions", "a condition") {
		if slices.Contains(expressionWords, e.key.Value) {
			r.fail(e.key, "choose another name", "%q is a word of the expression", e.key.Value)
			continue
		}
		if r.named(e.key, "a condition") {
			all = append(all, &named{key: e.key, tree: matcher{reader: r}.match(e.value, "a condition")})
		}
	}
	return all
}

// expression is the text of a match under way: exports and not (office or 1 of trusted_*).
type expression struct {
	*reader
	node       *yaml.Node
	conditions []*named
	tokens     []token
	at         int
	depth      int
	steps      int
	failed     bool
}

// token is a word or a parenthesis of an expression, and at which character it stands.
type token struct {
	text   string
	offset int
}

var tokenForm = regexp.MustCompile(`[()]|[^()\s]+`)

// expression reads a match that is an expression over named conditions. It returns nil where that
// is wrong.
func (r *reader) expression(n *yaml.Node, conditions []*named) *tree {
	text, ok := r.text(n, "match")
	if !ok {
		return nil
	}
	if len(text) > maxExpressionSize {
		r.fail(n, "", "match is longer than %d bytes", maxExpressionSize)
		return nil
	}
	e := &expression{reader: r, node: n, conditions: conditions}
	for _, at := range tokenForm.FindAllStringIndex(text, -1) {
		e.tokens = append(e.tokens, token{text[at[0]:at[1]], utf8.RuneCountInString(text[:at[0]])})
	}
	t := e.or()
	if next, ok := e.peek(); ok && !e.failed {
		e.fail(next, "join conditions with and or or", "%q is not expected here", shorten(next.text))
	}
	if e.failed {
		return nil
	}
	if t.need() > maxFormulaDepth {
		r.fail(n, "use fewer parentheses", "match needs more than %d values at once", maxFormulaDepth)
		return nil
	}
	return t
}

func (e *expression) fail(t token, hint, format string, args ...any) {
	if !e.failed {
		e.failIn(e.node, t.offset, hint, format, args...)
	}
	e.failed = true
}

func (e *expression) peek() (token, bool) {
	if e.failed || e.at >= len(e.tokens) {
		return token{}, false
	}
	return e.tokens[e.at], true
}

// next takes the next token; at the end of the text that is an error.
func (e *expression) next() (token, bool) {
	t, ok := e.peek()
	if !ok {
		e.fail(token{offset: max(0, utf8.RuneCountInString(strings.TrimSpace(e.node.Value))-1)}, "name a condition", "the expression ends too early")
	}
	e.at++
	return t, ok
}

// word takes the next token if it is that word.
func (e *expression) word(w string) bool {
	t, ok := e.peek()
	if !ok || !strings.EqualFold(t.text, w) {
		return false
	}
	e.at++
	return true
}

func (e *expression) or() *tree {
	return e.chain(stepOr, "or", func() *tree { return e.chain(stepAnd, "and", e.not) })
}

// chain reads operands that one operator joins.
func (e *expression) chain(op step, word string, operand func() *tree) *tree {
	kids := []*tree{operand()}
	for e.word(word) {
		kids = append(kids, operand())
	}
	return join(op, kids)
}

func join(op step, kids []*tree) *tree {
	if len(kids) == 1 {
		return kids[0]
	}
	return &tree{op: op, kids: kids}
}

func (e *expression) not() *tree {
	negated := false
	for e.word("not") {
		negated = !negated
	}
	t := e.operand()
	if negated {
		return negate(t)
	}
	return t
}

// operand reads a name, some of several, or what stands in parentheses.
func (e *expression) operand() *tree {
	t, ok := e.next()
	switch {
	case !ok:
		return nil
	case t.text == "(":
		if e.depth++; e.depth > maxExpressionDepth {
			e.fail(t, "", "match nests deeper than %d", maxExpressionDepth)
			return nil
		}
		inner := e.or()
		e.depth--
		if !e.word(")") {
			e.fail(t, "", "this parenthesis is never closed")
		}
		return inner
	case t.text == ")", slices.Contains([]string{"and", "or", "of"}, strings.ToLower(t.text)):
		e.fail(t, "name a condition", "%q is not expected here", t.text)
		return nil
	}
	if e.word("of") {
		return e.some(t)
	}
	for _, c := range e.conditions {
		if c.key.Value == t.text {
			return e.use(t, c)
		}
	}
	e.unknown(t, "no condition is named %q")
	return nil
}

// some reads what stands behind "1 of" or "all of".
func (e *expression) some(quantifier token) *tree {
	op := stepOr
	switch strings.ToLower(quantifier.text) {
	case "1", "any":
	case "all":
		op = stepAnd
	default:
		e.fail(quantifier, "write 1 of or all of", "%q of conditions cannot be asked for", shorten(quantifier.text))
		return nil
	}
	t, ok := e.next()
	if !ok {
		return nil
	}
	holds := pattern("", t.text, "", true)
	if strings.EqualFold(t.text, "them") {
		holds = func(name string) bool { return name[0] != '_' } // as in Sigma
	}
	var kids []*tree
	for _, c := range e.conditions {
		if holds(c.key.Value) {
			kids = append(kids, e.use(t, c))
		}
	}
	if len(kids) == 0 {
		e.unknown(t, "no condition has a name like %q")
		return nil
	}
	return join(op, kids)
}

// use returns the tree of a condition that a token names.
func (e *expression) use(t token, c *named) *tree {
	c.used = true
	if e.steps += c.tree.steps(); e.steps > maxExpressionSteps {
		e.fail(t, "name each condition once", "written out, match has more than %d steps", maxExpressionSteps)
	}
	if c.tree == nil {
		e.failed = true // its own error is reported
	}
	return c.tree
}

func (e *expression) unknown(t token, format string) {
	var known []string
	for _, c := range e.conditions {
		known = append(known, c.key.Value)
	}
	e.fail(t, didYouMean(t.text, known), "%s", fmt.Sprintf(format, shorten(t.text)))
}

// steps returns how many steps the formula of the tree has.
func (t *tree) steps() int {
	if t == nil || t.op == stepAtom {
		return 1
	}
	n := len(t.kids) - 1
	if t.op == stepNot {
		n = 1
	}
	for _, kid := range t.kids {
		n += kid.steps()
	}
	return n
}

// need returns how many values the formula of the tree has at once on the stack of Eval.
func (t *tree) need() int {
	most := 1
	if t != nil {
		for i, kid := range t.kids {
			most = max(most, min(i, 1)+kid.need())
		}
	}
	return most
}
