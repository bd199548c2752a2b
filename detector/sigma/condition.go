package sigma

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The bounds of a condition.
const (
	maxCondition = 4096 // characters
	maxNesting   = 32   // of parentheses and not
)

// operator is what joins the parts of a condition.
type operator uint8

const (
	opTest  operator = iota // of a condition on calls: field|modifier: value
	opNamed                 // of an expression: the name of a selection
	opOneOf                 // 1 of selection*
	opAllOf                 // all of selection*
	opAnd
	opOr
	opNot
)

// expression is the condition of a rule: which selections must hold.
type expression struct {
	op     operator
	name   string // of a selection, or a pattern of names; empty is them
	offset int    // of the name, in characters
	kids   []*expression
}

// aggregation is what follows the | of a condition of Sigma 1: count(field) by group > n.
type aggregation struct {
	field, by  string
	comparison string // gt, gte, lt, lte, eq
	n          int64
	offset     int
}

// syntaxError says what is wrong with a condition, and at which character.
type syntaxError struct {
	offset    int
	msg, hint string
}

func (e *syntaxError) Error() string { return e.msg }

// token is a word or a sign of a condition.
type token struct {
	text   string
	offset int
}

// is compares without regard to case, as Sigma does for its own words.
func (t token) is(word string) bool { return strings.EqualFold(t.text, word) }

// tokens takes a condition apart.
func tokens(text string) []token {
	var all []token
	rs := []rune(text)
	for i := 0; i < len(rs); {
		from := i
		switch c := rs[i]; {
		case unicode.IsSpace(c):
			i++
			continue
		case strings.ContainsRune("()|,", c):
			i++
		case isComparison(c):
			for i < len(rs) && isComparison(rs[i]) {
				i++
			}
		default:
			for i < len(rs) && !unicode.IsSpace(rs[i]) && !strings.ContainsRune("()|,", rs[i]) && !isComparison(rs[i]) {
				i++
			}
		}
		all = append(all, token{string(rs[from:i]), from})
	}
	return all
}

func isComparison(c rune) bool { return strings.ContainsRune("<>=!", c) }

// parser reads a condition by recursive descent: or binds least, then and, not, x of.
type parser struct {
	tokens []token
	at     int
	depth  int
	length int // of the text
}

// parseCondition reads the condition of a rule; how is nil unless it counts, as in Sigma 1.
func parseCondition(text string) (what *expression, how *aggregation, err *syntaxError) {
	length := len([]rune(text))
	if length > maxCondition {
		return nil, nil, &syntaxError{0, fmt.Sprintf("the condition is longer than %d characters", maxCondition), ""}
	}
	p := &parser{tokens: tokens(text), length: length}
	if what, err = p.or(); err != nil {
		return nil, nil, err
	}
	if p.next().text == "|" {
		if how, err = p.aggregation(); err != nil {
			return nil, nil, err
		}
	}
	if t := p.next(); t.text != "" {
		return nil, nil, p.wrong(t, "and, or, or the end")
	}
	return what, how, nil
}

// next returns the next token without taking it; at the end it is empty.
func (p *parser) next() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{offset: p.length}
}

func (p *parser) take() token {
	t := p.next()
	p.at++
	return t
}

func (p *parser) wrong(t token, want string) *syntaxError {
	if t.text == "" {
		return &syntaxError{max(p.length-1, 0), "the condition ends too early", "wanted: " + want}
	}
	return &syntaxError{t.offset, fmt.Sprintf("%q cannot stand here", shorten(t.text)), "wanted: " + want}
}

func (p *parser) or() (*expression, *syntaxError)  { return p.chain(opOr, "or", p.and) }
func (p *parser) and() (*expression, *syntaxError) { return p.chain(opAnd, "and", p.not) }

// chain reads operands that a word joins.
func (p *parser) chain(op operator, word string, operand func() (*expression, *syntaxError)) (*expression, *syntaxError) {
	first, err := operand()
	if err != nil {
		return nil, err
	}
	e := &expression{op: op, kids: []*expression{first}}
	for p.next().is(word) {
		p.take()
		kid, err := operand()
		if err != nil {
			return nil, err
		}
		e.kids = append(e.kids, kid)
	}
	if len(e.kids) == 1 {
		return first, nil
	}
	return e, nil
}

func (p *parser) not() (*expression, *syntaxError) {
	t := p.next()
	if !t.is("not") {
		return p.operand()
	}
	p.take()
	if err := p.deeper(t); err != nil {
		return nil, err
	}
	defer p.shallower()
	kid, err := p.not()
	if err != nil {
		return nil, err
	}
	return &expression{op: opNot, kids: []*expression{kid}}, nil
}

func (p *parser) deeper(t token) *syntaxError {
	if p.depth++; p.depth > maxNesting {
		return &syntaxError{t.offset, fmt.Sprintf("the condition nests deeper than %d", maxNesting), ""}
	}
	return nil
}

func (p *parser) shallower() { p.depth-- }

// operand reads ( … ), 1 of x, all of x or a name.
func (p *parser) operand() (*expression, *syntaxError) {
	const want = "a selection, not, 1 of, all of or ("
	switch t := p.take(); {
	case t.text == "(":
		if err := p.deeper(t); err != nil {
			return nil, err
		}
		defer p.shallower()
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		if end := p.take(); end.text != ")" {
			return nil, p.wrong(end, "and, or, or )")
		}
		return e, nil
	case p.next().is("of") && (t.text == "1" || t.is("any")):
		return p.some(opOneOf)
	case p.next().is("of") && t.is("all"):
		return p.some(opAllOf)
	case p.next().is("of"):
		return nil, &syntaxError{t.offset, fmt.Sprintf("%q of is not part of Sigma", shorten(t.text)), "write 1 of or all of"}
	case !isName(t):
		return nil, p.wrong(t, want)
	default:
		return &expression{op: opNamed, name: t.text, offset: t.offset}, nil
	}
}

// some reads what stands behind 1 or all: of, and a pattern of names.
func (p *parser) some(op operator) (*expression, *syntaxError) {
	p.take() // of
	t := p.take()
	if !isName(t) {
		return nil, p.wrong(t, "them or a pattern such as selection*")
	}
	e := &expression{op: op, name: t.text, offset: t.offset}
	if t.is("them") {
		e.name = ""
	}
	return e, nil
}

// isName says whether a token can be the name of a selection.
func isName(t token) bool {
	if t.text == "" || strings.ContainsAny(t.text, "()|,<>=!") {
		return false
	}
	return !slices.ContainsFunc([]string{"and", "or", "not", "of"}, t.is)
}

// comparisons are the signs of Sigma 1 and their words in Sigma 2.
var comparisons = map[string]string{">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "eq", "==": "eq"}

// aggregation reads | count(field) by group > n.
func (p *parser) aggregation() (*aggregation, *syntaxError) {
	p.take() // |
	a := &aggregation{offset: p.next().offset}
	if t := p.take(); !t.is("count") {
		return nil, &syntaxError{t.offset, fmt.Sprintf("the aggregation %q of Sigma 1 has no counterpart", shorten(t.text)), "only count is known"}
	}
	if t := p.take(); t.text != "(" {
		return nil, p.wrong(t, "(")
	}
	if isName(p.next()) {
		a.field = p.take().text
	}
	if t := p.take(); t.text != ")" {
		return nil, p.wrong(t, ")")
	}
	if p.next().is("by") {
		p.take()
		t := p.take()
		if !isName(t) {
			return nil, p.wrong(t, "a field")
		}
		a.by = t.text
	}
	t := p.take()
	if a.comparison = comparisons[t.text]; a.comparison == "" {
		return nil, p.wrong(t, "> or >=")
	}
	t = p.take()
	n, err := strconv.ParseInt(t.text, 10, 64)
	if err != nil || n < 0 {
		return nil, p.wrong(t, "a whole number")
	}
	a.n = n
	return a, nil
}

// matchName says whether a name fits a pattern in which * stands for any characters.
func matchName(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

// shorten cuts a text that an error quotes.
func shorten(s string) string {
	const longest = 60
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}
