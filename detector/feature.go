package detector

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// The bounds of a feature's window.
const (
	minWindow = time.Second
	maxWindow = 7 * day
)

// featureWords are the functions that make features.
var featureWords = []string{"count", "sum", "rate", "distinct", "new", "surprise"}

// summed are the measures that each windowed function adds up.
var summed = map[string][]string{
	"count": {"calls", "errors", "denied"},
	"sum":   {"bytes_in", "bytes_out"},
	"rate":  measureWords,
}

// fieldsOf are the fields of a call that distinct, new and surprise tell apart, beside context
// entries. Every session is new, so new(session) would say nothing.
var fieldsOf = map[string][]string{
	"distinct": {"tenant", "agent", "identity", "session", "chain_root", "action", "resource"},
	"new":      {"tenant", "agent", "identity", "chain_root", "action", "resource"},
	"surprise": {"tenant", "agent", "identity", "chain_root", "action", "resource"},
}

// examples are shown where a feature is written wrongly. Their commas tell the arguments.
var examples = map[string]string{
	"count": "count(calls, 10s)", "sum": "sum(bytes_out, 1m)", "rate": "rate(calls, 1s)",
	"distinct": "distinct(resource, 1m)", "new": "new(resource)", "surprise": "surprise(agent)",
}

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
	name := callee.Value
	example, ok := examples[name]
	if !ok {
		c.fail(call, didYouMean(name, featureWords), "unknown feature %q", shorten(name))
		return 0, false
	}
	arity := 1 + strings.Count(example, ",")
	if len(call.Arguments) != arity {
		c.fail(call, "write "+example, "%s takes %d argument(s), not %d", name, arity, len(call.Arguments))
		return 0, false
	}
	var f Feature
	var key string
	if summed[name] != nil {
		ok = c.measure(&f, name, call.Arguments[0])
	} else {
		key, ok = c.distinguished(&f, name, call.Arguments[0])
	}
	if arity == 2 {
		ok = c.window(&f, call.Arguments[1]) && ok
	}
	if !ok {
		return 0, false
	}
	f.Name = f.text(key)
	i := c.features.add(f, key)
	if i == maxFeatures {
		c.fail(call, "", "the detector names more than %d features", maxFeatures)
		return 0, false
	}
	return i, true
}

// measure reads the first argument of count, sum and rate.
func (c *condition) measure(f *Feature, name string, arg ast.Node) bool {
	f.Kind = KindCount
	if name == "rate" {
		f.Kind = KindRate
	}
	w, ok := c.word(arg, name, "a measure")
	if !ok {
		return false
	}
	if !slices.Contains(summed[name], w) {
		hint := didYouMean(w, summed[name])
		for _, other := range []string{"count", "sum"} {
			if slices.Contains(summed[other], w) {
				hint = fmt.Sprintf("write %s(%s, …)", other, w)
			}
		}
		c.fail(arg, hint, "%s has no measure %q", name, shorten(w))
		return false
	}
	i, _ := oneOf(measureWords, w)
	f.Measure = Measure(i)
	return true
}

// distinguished reads the first argument of distinct, new and surprise; key is that of a context entry.
func (c *condition) distinguished(f *Feature, name string, arg ast.Node) (key string, ok bool) {
	switch name {
	case "distinct":
		f.Kind = KindDistinct
	case "new":
		f.Kind = KindNew
	case "surprise":
		f.Kind = KindSurprise
	}
	if key, ok := contextEntry(arg); ok {
		f.Field = FieldContext
		return key, true
	}
	w, ok := c.word(arg, name, "a field")
	if !ok {
		return "", false
	}
	if !slices.Contains(fieldsOf[name], w) {
		c.fail(arg, didYouMean(w, append(slices.Clone(fieldsOf[name]), "context.KEY")), "%s does not work on %q", name, shorten(w))
		return "", false
	}
	i, _ := oneOf(fieldWords, w)
	f.Field = Field(i)
	if f.Field == c.groupBy.Field() {
		c.fail(arg, "", "%s(%s) says nothing: the detector groups by %s, so it is always the same", name, w, w)
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

func (c *condition) word(arg ast.Node, name, what string) (string, bool) {
	id, ok := arg.(*ast.IdentifierNode)
	if !ok || c.quantities[arg.Location().From] != "" {
		c.fail(arg, "", "the first argument of %s must be %s", name, what)
		return "", false
	}
	return id.Value, true
}

func (c *condition) window(f *Feature, arg ast.Node) bool {
	text := c.quantities[arg.Location().From]
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
func (f Feature) text(key string) string {
	arg := f.Field.String()
	if f.Field == FieldContext {
		arg = contextPrefix + key
	}
	switch f.Kind {
	case KindCount:
		name := "count"
		if f.Measure == MeasureBytesIn || f.Measure == MeasureBytesOut {
			name = "sum"
		}
		return fmt.Sprintf("%s(%s, %s)", name, f.Measure, formatDuration(f.Window))
	case KindRate:
		return fmt.Sprintf("rate(%s, %s)", f.Measure, formatDuration(f.Window))
	case KindDistinct:
		return fmt.Sprintf("distinct(%s, %s)", arg, formatDuration(f.Window))
	case KindSurprise:
		return fmt.Sprintf("surprise(%s)", arg)
	}
	return fmt.Sprintf("new(%s)", arg)
}
