package detector

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"
)

// The bounds of a feature's window.
const (
	minWindow = time.Second
	maxWindow = 7 * day
)

// features are the features of one detector, without repeats.
type features struct {
	list []Feature
	keys []string // by index of list: the context entry, where Field is FieldContext
}

func (fs *features) add(f Feature, key string) int {
	for i := range fs.list {
		if fs.list[i] == f { // the name holds the key
			return i
		}
	}
	fs.list = append(fs.list, f)
	fs.keys = append(fs.keys, key)
	return len(fs.list) - 1
}

// feature checks a call such as count(calls, 10s) and returns the index of its feature.
func (c *condition) feature(call *ast.CallNode) (int, bool) {
	callee, ok := call.Callee.(*ast.IdentifierNode)
	if !ok {
		c.fail(call, "", "only features can be called")
		return 0, false
	}
	fn := functionOf(func(f *function) bool { return f.name == callee.Value })
	if fn == nil {
		c.fail(call, didYouMean(callee.Value, featureWords), "unknown feature %q", shorten(callee.Value))
		return 0, false
	}
	if len(call.Arguments) != fn.arity() {
		c.fail(call, "write "+fn.example, "%s takes %d argument(s), not %d", fn.name, fn.arity(), len(call.Arguments))
		return 0, false
	}
	if fn.groupings != nil && !slices.Contains(fn.groupings, c.groupBy) {
		c.fail(call, "write group_by: tenant; the detection names the agent all the same", "%s is about the calls between all agents of a tenant and what they use", fn.name)
		return 0, false
	}
	f := Feature{Kind: fn.kind}
	args := call.Arguments
	var key string
	if fn.kind == KindQuantile {
		if !c.share(&f, args[0]) {
			return 0, false // the others may stand in its place
		}
		args = args[1:]
	}
	if fn.measures != nil {
		ok = c.measure(&f, fn, args[0])
	} else {
		key, ok = c.distinguished(&f, fn, args[0])
	}
	if len(args) == 2 {
		ok = c.window(&f, args[1]) && ok
	}
	if !ok {
		return 0, false
	}
	f.Name = f.text(fn, key)
	return c.add(call, f, key)
}

// add returns the index of a feature.
func (c *condition) add(n ast.Node, f Feature, key string) (int, bool) {
	i := c.features.add(f, key)
	if i == maxFeatures {
		c.fail(n, "", "the detector names more than %d features", maxFeatures)
		return 0, false
	}
	return i, true
}

// isShareCall says whether a call is of the function that divides what it counts by all calls.
func isShareCall(call *ast.CallNode) bool {
	callee, ok := call.Callee.(*ast.IdentifierNode)
	return ok && functionOf(func(f *function) bool { return f.share && f.name == callee.Value }) != nil
}

// share reads the first argument of a quantile.
func (c *condition) share(f *Feature, arg ast.Node) bool {
	const example = "write 0.95 for the value that 95 % of the calls do not exceed"
	switch n := arg.(type) {
	case *ast.FloatNode:
		f.Share = n.Value
	case *ast.IntegerNode:
		f.Share = float64(n.Value)
	default:
		text, ok := c.quantity(arg)
		if !ok && isConstant(arg) {
			return false // which is reported
		}
		f.Share, _ = strconv.ParseFloat(text, 64)
	}
	if !(f.Share > 0 && f.Share < 1) {
		c.fail(arg, example, "the first argument of quantile must be a number between 0 and 1")
		return false
	}
	return true
}

// measure reads the first argument of a function that takes a measure.
func (c *condition) measure(f *Feature, fn *function, arg ast.Node) bool {
	w, ok := c.word(arg, fn, "a measure")
	if !ok {
		return false
	}
	if !slices.Contains(fn.measures, w) {
		hint := didYouMean(w, fn.measures)
		if other := functionOf(func(f *function) bool { return slices.Contains(f.measures, w) }); other != nil {
			hint = fmt.Sprintf("write %s(%s, …)", other.name, w)
		}
		c.fail(arg, hint, "%s has no measure %q", fn.name, shorten(w))
		return false
	}
	i, _ := oneOf(measureWords, w)
	f.Measure = Measure(i)
	return true
}

// distinguished reads the first argument of a function that takes a field; key is that of a context entry.
func (c *condition) distinguished(f *Feature, fn *function, arg ast.Node) (key string, ok bool) {
	if key, ok := contextEntry(arg); ok && fn.context {
		f.Field = FieldContext
		return key, true
	} else if ok {
		c.fail(arg, didYouMean("", fn.fields), "%s does not work on context entries", fn.name)
		return "", false
	}
	w, ok := c.word(arg, fn, "a field")
	if !ok {
		return "", false
	}
	if !slices.Contains(fn.fields, w) {
		known := fn.fields
		if fn.context {
			known = slices.Concat(known, []string{"context.KEY"})
		}
		c.fail(arg, didYouMean(w, known), "%s does not work on %q", fn.name, shorten(w))
		return "", false
	}
	i, _ := oneOf(fieldWords, w)
	f.Field = Field(i)
	if c.groupBy.fixes(f.Field) {
		c.fail(arg, "name another field", "%s(%s) says nothing: the detector groups by %s, so it is always the same", fn.name, w, w)
		return "", false
	}
	return "", true
}

// contextEntry reads context.KEY or context["a key"].
func contextEntry(arg ast.Node) (key string, ok bool) {
	member, ok := arg.(*ast.MemberNode)
	if !ok || member.Optional {
		return "", false
	}
	property, ok := member.Property.(*ast.StringNode)
	if !ok || property.Value == "" {
		return "", false
	}
	if of, ok := member.Node.(*ast.IdentifierNode); ok {
		return property.Value, of.Value == "context"
	}
	key, ok = contextEntry(member.Node)
	return key + "." + property.Value, ok
}

func (c *condition) word(arg ast.Node, fn *function, what string) (string, bool) {
	id, ok := arg.(*ast.IdentifierNode)
	if !ok || c.quantities[arg.Location().From] != "" {
		place := "first"
		if fn.kind == KindQuantile {
			place = "second"
		}
		c.fail(arg, "", "the %s argument of %s must be %s", place, fn.name, what)
		return "", false
	}
	return id.Value, true
}

func (c *condition) window(f *Feature, arg ast.Node) bool {
	text, ok := c.quantity(arg)
	if !ok && isConstant(arg) {
		return false // which is reported
	}
	d, err := parseDuration(text)
	if err != nil {
		c.fail(arg, "write 10s, 5m or 1d", "the window must be a duration with its unit")
		return false
	}
	if d < minWindow || d > maxWindow || d%time.Second != 0 {
		c.fail(arg, "", "a window of %s: it must be whole seconds from %s to %s", text, formatDuration(minWindow), formatDuration(maxWindow))
		return false
	}
	f.Window = d
	return true
}

// text returns the feature as an analyst writes it, normalised.
func (f Feature) text(fn *function, key string) string {
	arg := f.argument(key)
	if fn.measures != nil {
		arg = f.Measure.String()
	}
	if f.Window > 0 {
		arg += ", " + formatDuration(f.Window)
	}
	name := fn.name
	switch {
	case fn.share:
		name = "count"
	case f.Kind == KindQuantile:
		arg = number64(f.Share) + ", " + arg
	}
	return fmt.Sprintf("%s(%s)", name, arg)
}

// argument returns the feature's field as an analyst writes it.
func (f Feature) argument(key string) string {
	if f.Field == FieldContext {
		return contextPrefix + key
	}
	return f.Field.String()
}
