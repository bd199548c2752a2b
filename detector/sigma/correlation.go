package sigma

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// counting is when the matching calls are enough.
type counting struct {
	by   detector.Entity
	when string
}

// once is how a plain rule counts.
var once = &counting{by: detector.ByAgent, when: "count(calls, 1m) >= 1"}

// signs are the comparisons of a correlation's condition.
var signs = map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "==", "neq": "!="}

// The bounds of a window.
const (
	minWindow = time.Second
	maxWindow = 7 * 24 * time.Hour
)

var timespanForm = regexp.MustCompile(`^([0-9]{1,7})([smhd])$`)

// window reads a timespan; the text is a window of our language too.
func (r *ruleReader) window(n *yaml.Node) (string, bool) {
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	m := timespanForm.FindStringSubmatch(n.Value)
	if m == nil || n.Kind != yaml.ScalarNode {
		r.fail(n, "write 90s, 5m, 1h or 1d", "the timespan cannot be %q", shorten(n.Value))
		return "", false
	}
	number, _ := strconv.Atoi(m[1])
	if d := time.Duration(number) * units[m[2]]; d < minWindow || d > maxWindow {
		r.fail(n, "", "a window of %s: it must be from 1s to 7d", n.Value)
		return "", false
	}
	return n.Value, true
}

// oldCount translates an aggregation of Sigma 1.
func (r *ruleReader) oldCount(n *yaml.Node, a *aggregation, timeframe *yaml.Node) *counting {
	before := len(r.problems)
	place := func(hint, format string, args ...any) { r.failIn(n, a.offset, hint, format, args...) }
	if timeframe == nil {
		place("add timeframe: 5m", "the condition counts, but there is no timeframe")
		return nil
	}
	window, _ := r.window(timeframe)
	by := detector.ByTenant
	if a.by != "" {
		by = r.groupBy([]string{a.by}, []*ruleReader{r}, place)
	} else {
		r.note("counts for each tenant, for the rule groups by nothing")
	}
	feature := r.feature(a.field, window, by, []*ruleReader{r}, place)
	if a.comparison == "lt" || a.comparison == "lte" {
		place(onlyLess, "the condition holds for few calls, and would fire on the first one")
	}
	if len(r.problems) > before {
		return nil
	}
	return &counting{by: by, when: fmt.Sprintf("%s %s %d", feature, signs[a.comparison], a.n)}
}

const onlyLess = "a detector is asked at each call, so it cannot wait for calls that do not come; write gt, gte or eq"

// failer reports a problem at a place that it knows.
type failer = func(hint, format string, args ...any)

// renamedTo returns the field of calls that a field is in all of some rules.
func renamedTo(name string, rules []*ruleReader, fail failer) (target, bool) {
	var found target
	for _, rule := range rules {
		to, ok := rule.target(name)
		if !ok {
			fail("name it in a file for --map", "no field of calls is known for %s", shorten(name))
			return target{}, false
		}
		if found.field != "" && found.field != to.field {
			fail("", "%s is %s in one rule and %s in another", shorten(name), found.field, to.field)
			return target{}, false
		}
		found = to
	}
	return found, found.field != ""
}

// target returns what a field is in calls.
func (r *ruleReader) target(name string) (target, bool) {
	for _, m := range r.mappings {
		if to, ok := m.fields[name]; ok {
			return to, true
		}
	}
	return target{}, false
}

// groupBy returns the entity that some fields name together. Every entity is one of its tenant, so
// the tenant beside another says nothing new.
func (r *ruleReader) groupBy(names []string, rules []*ruleReader, fail failer) detector.Entity {
	by, chosen := detector.ByTenant, ""
	for _, name := range names {
		to, ok := renamedTo(name, rules, fail)
		if !ok {
			return by
		}
		e, ok := entityOf(to.field)
		switch {
		case !ok:
			fail("group by a field that is an agent, identity, session, tenant or resource", "a detector does not group by %s, which %s is", to.field, shorten(name))
			return by
		case e == detector.ByTenant:
		case chosen != "" && e != by:
			fail("leave one out", "a detector groups by one entity, not by %s and %s", chosen, shorten(name))
			return by
		default:
			by, chosen = e, name
		}
		if to.note != "" {
			r.note(to.note)
		}
	}
	return by
}

// feature counts calls, or the values of a field.
func (r *ruleReader) feature(field, window string, by detector.Entity, rules []*ruleReader, fail failer) string {
	if field == "" {
		return fmt.Sprintf("count(calls, %s)", window)
	}
	to, ok := renamedTo(field, rules, fail)
	if !ok {
		return ""
	}
	if to.field == by.Field().String() {
		fail("", "%s is %s, by which the detector groups: there is always one", shorten(field), to.field)
		return ""
	}
	if to.note != "" {
		r.note(to.note)
	}
	name := to.field
	if key, ok := strings.CutPrefix(name, "context."); ok && !plainKey.MatchString(key) {
		name = fmt.Sprintf("context[%q]", key)
	}
	return fmt.Sprintf("distinct(%s, %s)", name, window)
}

// plainKey is a key that conditions take without quotes.
var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// correlate translates a correlation of rules that are already read. name finds them.
func (r *ruleReader) correlate(named func(string) *ruleReader) {
	if r.correlation.Kind != yaml.MappingNode {
		r.fail(r.correlation, "", "a correlation must be a mapping")
		return
	}
	c := entriesOf(r.correlation)
	rules := r.correlated(c["rules"], named, c["generate"] != nil && c["generate"].Value == "true")
	if c["aliases"] != nil {
		r.fail(c["aliases"], "", "aliases have no counterpart: a detector groups by one field of calls")
	}
	kind := c["type"]
	if kind == nil {
		r.fail(r.correlation, "add type: event_count", "the correlation has no type")
		return
	}
	if c["timespan"] == nil {
		r.fail(r.correlation, "add timespan: 5m", "the correlation has no timespan")
		return
	}
	window, _ := r.window(c["timespan"])
	by := r.grouping(c["group-by"], rules)
	var when string
	switch kind.Value {
	case "event_count":
		when = r.threshold(c["condition"], fmt.Sprintf("count(calls, %s)", window))
	case "value_count":
		when = r.valueCount(c["condition"], window, by, rules)
	case "temporal":
		when = r.temporal(kind, c["condition"], window, rules)
	default:
		r.fail(kind, nearest(kind.Value, []string{"event_count", "value_count", "temporal"}), "a correlation of type %s has no counterpart", shorten(kind.Value))
	}
	if len(r.problems) > 0 || len(rules) == 0 {
		return
	}
	var kids []*match
	for _, rule := range rules {
		kids = append(kids, rule.match)
	}
	r.match, r.count = join(opOr, kids...), &counting{by: by, when: when}
	if r.match.size() > maxMatch {
		r.match = nil
		r.fail(r.correlation, "", "the match has more than %d conditions", maxMatch)
	}
}

// correlated finds the rules of a correlation. Unless it wants them alone as well, they are only parts.
func (r *ruleReader) correlated(n *yaml.Node, named func(string) *ruleReader, alone bool) []*ruleReader {
	if n == nil {
		r.fail(r.correlation, "add rules: [NAME]", "the correlation names no rules")
		return nil
	}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	var rules []*ruleReader
	for _, ref := range nodes {
		rule := named(ref.Value)
		if rule != nil && !alone {
			rule.partOf = cmp.Or(rule.partOf, r.title)
		}
		switch {
		case rule == nil:
			r.fail(ref, "give its file too", "there is no rule with the id or name %q", shorten(ref.Value))
		case rule.correlation != nil:
			r.fail(ref, "", "a correlation of correlations has no counterpart")
		case rule.match == nil:
			r.fail(ref, "", "its rule %q does not map", rule.title)
		case rule.count != nil:
			r.fail(ref, "", "its rule %q counts by itself", rule.title)
		case slices.Contains(rules, rule):
			r.fail(ref, "", "the rule %q comes twice", rule.title)
		default:
			rules = append(rules, rule)
			for _, note := range rule.notes {
				r.note(note)
			}
		}
	}
	return rules
}

// grouping reads group-by; without it Sigma counts all together, and we for each tenant.
func (r *ruleReader) grouping(n *yaml.Node, rules []*ruleReader) detector.Entity {
	if n == nil {
		r.note("counts for each tenant, for the rule groups by nothing")
		return detector.ByTenant
	}
	var names []string
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, item := range nodes {
		names = append(names, item.Value)
	}
	if len(rules) == 0 {
		return detector.ByTenant
	}
	return r.groupBy(names, rules, func(hint, format string, args ...any) { r.fail(n, hint, format, args...) })
}

// threshold reads the condition of a correlation: gte: 10, or several that hold together.
func (r *ruleReader) threshold(n *yaml.Node, feature string) string {
	if n == nil || n.Kind != yaml.MappingNode {
		if n == nil {
			n = r.correlation
		}
		r.fail(n, "add condition: {gte: 10}", "the correlation has no threshold")
		return ""
	}
	var parts []string
	enough := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		sign := signs[key.Value]
		if key.Value == "field" {
			continue
		}
		number, err := strconv.ParseInt(value.Value, 10, 64)
		switch {
		case sign == "":
			r.fail(key, nearest(key.Value, []string{"gt", "gte", "lt", "lte", "eq", "neq"}), "a threshold has no key %q", shorten(key.Value))
			return ""
		case err != nil || number < 0:
			r.fail(value, "", "the threshold must be a whole number, not %q", shorten(value.Value))
			return ""
		}
		enough = enough || key.Value == "gt" || key.Value == "gte" || key.Value == "eq"
		parts = append(parts, fmt.Sprintf("%s %s %d", feature, sign, number))
	}
	if !enough {
		r.fail(n, onlyLess, "the condition holds for few calls, and would fire on the first one")
	}
	return strings.Join(parts, " and ")
}

func (r *ruleReader) valueCount(n *yaml.Node, window string, by detector.Entity, rules []*ruleReader) string {
	field := entriesOf(n)["field"]
	switch {
	case field == nil:
		at := n
		if at == nil {
			at = r.correlation
		}
		r.fail(at, "add field: to the condition", "value_count needs the field whose values it counts")
		return ""
	case field.Kind != yaml.ScalarNode:
		r.fail(field, "count one field", "the values of several fields together are not counted")
		return ""
	case len(rules) == 0:
		return ""
	}
	feature := r.feature(field.Value, window, by, rules, func(hint, format string, args ...any) { r.fail(field, hint, format, args...) })
	return r.threshold(n, feature)
}

// temporal wants each of some rules to match within the window. Where each is one action, that is as many
// different actions.
func (r *ruleReader) temporal(kind, condition *yaml.Node, window string, rules []*ruleReader) string {
	if condition != nil {
		r.fail(condition, "leave it out", "a temporal correlation with a condition has no counterpart")
		return ""
	}
	var actions []string
	for _, rule := range rules {
		action := rule.match.action()
		if action == "" || slices.Contains(actions, action) {
			r.fail(kind, "give each rule one eventSource and one eventName", "a temporal correlation maps only where each rule is one action of its own; %q is not", rule.title)
			return ""
		}
		actions = append(actions, action)
	}
	return fmt.Sprintf("distinct(action, %s) >= %d", window, len(rules))
}

// action returns the one action that a match asks for, empty if there may be others.
func (m *match) action() string {
	switch {
	case m.op == opTest && m.key == "action" && len(m.values) == 1 && !strings.ContainsAny(m.values[0], `*?\`):
		return strings.ToLower(m.values[0])
	case m.op == opAnd:
		for _, kid := range m.kids {
			if action := kid.action(); action != "" {
				return action
			}
		}
	}
	return ""
}
