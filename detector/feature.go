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
var featureWords = []string{"count", "sum", "rate", "distinct", "new"}

// summed are the measures that each windowed function adds up.
var summed = map[string][]string{
	"count": {"calls", "errors", "denied"},
	"sum":   {"bytes_in", "bytes_out"},
	"rate":  measureWords,
}

// fieldsOf are the fields that distinct and new tell apart. Every session is new, so new(session)
// would say nothing.
var fieldsOf = map[string][]string{
	"distinct": {"tenant", "agent", "identity", "session", "chain_root", "action", "resource"},
	"new":      {"tenant", "agent", "identity", "chain_root", "action", "resource"},
}

// feature checks a call such as count(calls, 10s) and returns its feature.
func (c *condition) feature(call *ast.CallNode) (Feature, bool) {
	callee, ok := call.Callee.(*ast.IdentifierNode)
	if !ok {
		c.fail(call, "", "only features can be called")
		return Feature{}, false
	}
	name := callee.Value
	if _, ok := oneOf(featureWords, name); !ok {
		c.fail(call, didYouMean(name, featureWords), "unknown feature %q", shorten(name))
		return Feature{}, false
	}
	arity, form := 2, name+"(calls, 10s)"
	switch name {
	case "new":
		arity, form = 1, "new(resource)"
	case "distinct":
		form = "distinct(resource, 1m)"
	case "sum":
		form = "sum(bytes_out, 1m)"
	}
	if len(call.Arguments) != arity {
		c.fail(call, "write "+form, "%s takes %d arguments, not %d", name, arity, len(call.Arguments))
		return Feature{}, false
	}
	f := Feature{}
	if summed[name] != nil {
		ok = c.measure(&f, name, call.Arguments[0])
	} else {
		ok = c.distinguished(&f, name, call.Arguments[0])
	}
	if arity == 2 {
		ok = c.window(&f, call.Arguments[1]) && ok
	}
	f.Name = f.text()
	return f, ok
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

// distinguished reads the first argument of distinct and new.
func (c *condition) distinguished(f *Feature, name string, arg ast.Node) bool {
	f.Kind = KindDistinct
	if name == "new" {
		f.Kind = KindNew
	}
	w, ok := c.word(arg, name, "a field")
	if !ok {
		return false
	}
	if !slices.Contains(fieldsOf[name], w) {
		c.fail(arg, didYouMean(w, fieldsOf[name]), "%s does not work on %q", name, shorten(w))
		return false
	}
	i, _ := oneOf(fieldWords, w)
	f.Field = Field(i)
	if f.Field == c.groupBy.Field() {
		c.fail(arg, "", "%s(%s) says nothing: the detector groups by %s, so it is always the same", name, w, w)
		return false
	}
	return true
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
func (f Feature) text() string {
	name, arg := "new", f.Field.String()
	switch f.Kind {
	case KindCount:
		name, arg = "count", f.Measure.String()
		if f.Measure == MeasureBytesIn || f.Measure == MeasureBytesOut {
			name = "sum"
		}
	case KindRate:
		name, arg = "rate", f.Measure.String()
	case KindDistinct:
		name = "distinct"
	}
	args := []string{arg}
	if f.Window > 0 {
		args = append(args, formatDuration(f.Window))
	}
	return fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
}
