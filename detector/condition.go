package detector

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"go.yaml.in/yaml/v3"
)

// The bounds of a condition.
const (
	maxConditionSize  = 4096
	maxConditionNodes = 500
	maxConditionDepth = 64 // of the syntax tree
	maxFeatures       = 64 // of one detector
)

// condition compiles one expression of a detector. The grammar is that of expr-lang; the types
// and the code are ours, since expr's own machine allocates for each value.
type condition struct {
	*reader
	node    *yaml.Node
	groupBy Entity
	// quantities are the numbers with units, by their place in the text. In what the parser
	// sees underscores of the same width stand for them, so that columns stay right.
	quantities map[int]string
	features   *features
	program    Program
	depth      int         // of the stack at this point of the program
	dimensions []dimension // of what is on the stack, as long as nothing failed
	failed     bool
}

// kind is the type of an expression.
type kind string

const (
	isNumber kind = "a number"
	isTruth  kind = "true or false"
	isBroken kind = ""
)

func (c *condition) fail(n ast.Node, hint, format string, args ...any) {
	c.failed = true
	c.failIn(c.node, n.Location().From, hint, format, args...)
}

// when compiles a condition into a program over the features, to which it adds.
func (r *reader) when(n *yaml.Node, groupBy Entity, features *features) (*Program, bool) {
	c, root := r.parse(n, "when", groupBy, features)
	if root == nil {
		return nil, false
	}
	got := c.compile(root, 0)
	if got == isNumber {
		c.fail(root, "compare it, as in … > 100", "when must be true or false, this is a number")
	}
	if !c.failed && len(c.program.Features()) == 0 {
		c.fail(root, "name one, as in count(calls, 1m) > 100", "when names no feature, so it would fire always or never")
	}
	return &c.program, !c.failed
}

// featureText reads the feature of a baseline.
func (r *reader) featureText(n *yaml.Node, groupBy Entity, features *features) (int, bool) {
	c, root := r.parse(n, "feature", groupBy, features)
	if root == nil {
		return 0, false
	}
	call, ok := root.(*ast.CallNode)
	if !ok {
		c.fail(root, "write count(calls, 10s), new(resource) or surprise(agent)", "a baseline needs one feature")
		return 0, false
	}
	i, ok := c.feature(call)
	if ok && isShareCall(call) {
		f := c.features.list[i]
		c.fail(call, "use it in when:, or write "+f.Name, "%s has no baseline", strings.Replace(f.Name, "count", "share", 1))
		return 0, false
	}
	return i, ok
}

// parse reads an expression; it returns nil where it cannot be read.
func (r *reader) parse(n *yaml.Node, what string, groupBy Entity, features *features) (*condition, ast.Node) {
	c := &condition{reader: r, node: n, groupBy: groupBy, features: features}
	text, ok := r.text(n, what)
	if !ok {
		return c, nil
	}
	if len(text) > maxConditionSize {
		r.fail(n, "split the detector into several", "%s is longer than %d bytes", what, maxConditionSize)
		return c, nil
	}
	text, ok = c.blankQuantities(text)
	if !ok {
		return c, nil
	}
	root, err := parser.ParseWithConfig(text, grammar())
	if err != nil {
		c.failGrammar(err)
		return c, nil
	}
	return c, root.Node
}

// grammar is expr's, except that count, sum and the other names are functions like any other.
func grammar() *conf.Config {
	names := conf.FunctionsTable{}
	for _, f := range builtin.Builtins {
		names[f.Name] = f
	}
	return &conf.Config{MaxNodes: maxConditionNodes, Functions: names, DisableIfOperator: true}
}

func (c *condition) failGrammar(err error) {
	var e *file.Error
	if !errors.As(err, &e) {
		c.reader.fail(c.node, "", "cannot be read: %v", err)
		return
	}
	msg, hint := strings.TrimPrefix(e.Message, "compilation failed: "), ""
	if msg == "unexpected token EOF" || msg == "unexpected end of expression" {
		msg = "the expression ends too early"
		hint = "inside { } a comma ends a value: write it in quotes"
	}
	if open := strings.Count(c.node.Value, "(") - strings.Count(c.node.Value, ")"); hint != "" && open > 0 {
		hint += "; else close the parenthesis"
	}
	if m := unexpected.FindStringSubmatch(msg); m != nil {
		msg, hint = fmt.Sprintf("%q cannot stand here", m[1]), conditionParts
		if m[1] == "=" {
			hint = "write == for equal"
		}
	}
	c.failIn(c.node, e.From, hint, "%s", msg)
}

// unexpected is what expr's parser says of a token in the wrong place.
var unexpected = regexp.MustCompile(`^unexpected token \w+\("(.*)"\)`)

// conditionParts is what a condition is made of.
const conditionParts = "known: numbers, features, + - * /, comparisons, and, or, not"

var quantity = regexp.MustCompile(`[0-9][0-9_]*(?:\.[0-9]+)?[A-Za-z][A-Za-z0-9]*`)

// blankQuantities takes the numbers with units out of the text.
func (c *condition) blankQuantities(text string) (string, bool) {
	c.quantities = map[int]string{}
	ok := true
	blank := []byte(text)
	for _, at := range quantity.FindAllStringIndex(text, -1) {
		word := text[at[0]:at[1]]
		before, _ := utf8.DecodeLastRuneInString(text[:at[0]])
		if isName(before) || isPlainNumber(word) {
			continue
		}
		offset := utf8.RuneCountInString(text[:at[0]])
		if _, err := parseDuration(word); err != nil {
			if _, err := parseSize(word); err != nil {
				_, unit, _ := splitQuantity(word)
				c.failIn(c.node, offset, unitHint(unit), "%q has no known unit", shorten(word))
				ok = false
			}
		}
		c.quantities[offset] = word
		copy(blank[at[0]:at[1]], strings.Repeat("_", len(word)))
	}
	return string(blank), ok
}

func isName(r rune) bool {
	return r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// isPlainNumber says whether a word is a number without unit that has letters: 1e6, 0xff.
func isPlainNumber(word string) bool {
	if _, err := strconv.ParseFloat(word, 64); err == nil {
		return true
	}
	_, err := strconv.ParseInt(word, 0, 64)
	return err == nil
}

// compile emits the code of a node and returns its type.
func (c *condition) compile(n ast.Node, depth int) kind {
	if depth > maxConditionDepth {
		c.fail(n, "write it flatter", "the condition nests deeper than %d", maxConditionDepth)
		return isBroken
	}
	switch n := n.(type) {
	case *ast.IntegerNode:
		c.push(n, instruction{op: opNumber, value: float64(n.Value)}, inAny)
		return isNumber
	case *ast.FloatNode:
		c.push(n, instruction{op: opNumber, value: n.Value}, inAny)
		return isNumber
	case *ast.IdentifierNode:
		return c.name(n)
	case *ast.CallNode:
		i, ok := c.feature(n)
		if !ok {
			return isBroken
		}
		f := c.features.list[i]
		if f.Measure == MeasureMinutes {
			c.fail(n, "write it under baseline:", "%s is for a baseline alone", f.Name)
		}
		c.push(n, instruction{op: opLoad, index: uint16(i)}, f.dimension())
		if isShareCall(n) {
			c.byCalls(n, f)
		}
		return isNumber
	case *ast.UnaryNode:
		return c.unary(n, depth)
	case *ast.BinaryNode:
		return c.binary(n, depth)
	}
	c.fail(n, conditionParts, "this is not part of a condition")
	return isBroken
}

// byCalls divides what was pushed last, the count f, by that of all calls.
func (c *condition) byCalls(n *ast.CallNode, f Feature) {
	f.Measure = MeasureCalls
	f.Name = f.text(functionOf(func(fn *function) bool { return fn.name == "count" }), "")
	if i, ok := c.add(n, f, ""); ok {
		c.push(n, instruction{op: opLoad, index: uint16(i)}, dimension{})
		c.dimensions = c.dimensions[:len(c.dimensions)-1]
		c.emit(instruction{op: opDiv})
		c.depth--
	}
}

// name compiles what stands for a number: a quantity with its unit.
func (c *condition) name(n *ast.IdentifierNode) kind {
	text, ok := c.quantity(n)
	if !ok && isConstant(n) {
		return isBroken // which is reported
	}
	if !ok {
		hint := didYouMean(n.Value, featureWords)
		if nearest(n.Value, featureWords) == "" {
			hint = "features are written as calls: rate(calls, 1s)"
		}
		c.fail(n, hint, "unknown name %q", shorten(n.Value))
		return isBroken
	}
	value, in, ok := readNumber(text)
	if !ok {
		c.fail(n, "", "%s is %q; here a number is wanted", n.Value, shorten(text))
		return isBroken
	}
	c.push(n, instruction{op: opNumber, value: value}, in)
	return isNumber
}

// readNumber reads a size in bytes, a duration in seconds, or the number of a constant without a unit.
func readNumber(text string) (value float64, in dimension, ok bool) {
	if plain, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(plain, 0) && !math.IsNaN(plain) {
		return plain, inAny, true
	}
	if size, err := parseSize(text); err == nil {
		return size, inBytes, true
	}
	d, err := parseDuration(text)
	return d.Seconds(), inSeconds, err == nil
}

// quantity returns the number with its unit that a node stands for, or that of the constant that it names.
func (c *condition) quantity(n ast.Node) (string, bool) {
	if isConstant(n) {
		return c.quantityOf(n.Location().From, n.(*ast.IdentifierNode).Value)
	}
	text, ok := c.quantities[n.Location().From]
	return text, ok
}

func isConstant(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && strings.HasPrefix(id.Value, "$")
}

func (c *condition) unary(n *ast.UnaryNode, depth int) kind {
	got := c.compile(n.Node, depth+1)
	want, op := isNumber, opNegate
	switch n.Operator {
	case "not", "!":
		want, op = isTruth, opNot
	case "+":
		c.want(n.Node, n.Operator, isNumber, got)
		return isNumber
	}
	c.want(n.Node, n.Operator, want, got)
	c.emit(instruction{op: op})
	return want
}

// operators are the binary operators: code, type of both operands, type of the result.
var operators = map[string]struct {
	op           opcode
	wants, gives kind
}{
	"+": {opAdd, isNumber, isNumber}, "-": {opSub, isNumber, isNumber},
	"*": {opMul, isNumber, isNumber}, "/": {opDiv, isNumber, isNumber},
	"<": {opLess, isNumber, isTruth}, "<=": {opLessEqual, isNumber, isTruth},
	">": {opGreater, isNumber, isTruth}, ">=": {opGreaterEqual, isNumber, isTruth},
	"==": {opEqual, isNumber, isTruth}, "!=": {opNotEqual, isNumber, isTruth},
	"and": {opAnd, isTruth, isTruth}, "&&": {opAnd, isTruth, isTruth},
	"or": {opOr, isTruth, isTruth}, "||": {opOr, isTruth, isTruth},
}

func (c *condition) binary(n *ast.BinaryNode, depth int) kind {
	o, ok := operators[n.Operator]
	if !ok {
		c.fail(n, "known: + - * / < <= > >= == != and or not", "operator %q is not part of a condition", n.Operator)
		return isBroken
	}
	left := c.compile(n.Left, depth+1)
	c.want(n.Left, n.Operator, o.wants, left)
	right := c.compile(n.Right, depth+1)
	c.want(n.Right, n.Operator, o.wants, right)
	c.combine(n, o.op)
	c.emit(instruction{op: o.op})
	c.depth--
	return o.gives
}

func (c *condition) want(n ast.Node, operator string, want, got kind) {
	if got != want && got != isBroken {
		c.fail(n, "", "%q wants %s here, this is %s", operator, want, got)
	}
}

func (c *condition) push(n ast.Node, in instruction, measured dimension) {
	c.emit(in)
	c.dimensions = append(c.dimensions, measured)
	c.depth++
	if c.depth == maxProgramDepth+1 {
		c.fail(n, "name fewer values in parentheses", "the condition needs more than %d values at once", maxProgramDepth)
	}
}

func (c *condition) emit(in instruction) { c.program.code = append(c.program.code, in) }
