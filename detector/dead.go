package detector

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// matches warns of conditions that can be left out, or that let no call through.
func (l *linter) matches() {
	if n := l.values["match"]; n != nil {
		l.condition(n, nil)
	}
	if n := l.values["conditions"]; n != nil {
		for i := 1; i < len(n.Content); i += 2 {
			l.condition(n.Content[i], nil)
		}
	}
}

// condition looks at a condition, beside the terms that hold wherever it is asked.
func (l *linter) condition(n *yaml.Node, around []term) {
	switch n.Kind {
	case yaml.SequenceNode:
		l.alternatives(n, around)
	case yaml.MappingNode:
		c := clauses(n)
		for i, b := range c.terms {
			l.list(b)
			for _, a := range slices.Concat(around, c.terms[:i]) {
				if !l.pair(a, b) {
					break
				}
			}
		}
		all := slices.Concat(around, c.terms)
		for _, inner := range c.others {
			if inner.Value == "not" {
				l.condition(valueBehind(n, inner), nil)
				continue
			}
			l.condition(valueBehind(n, inner), all)
		}
	}
}

// valueBehind returns the value of a key node, which may stand in a mapping below.
func valueBehind(n, key *yaml.Node) *yaml.Node {
	for i, kid := range n.Content {
		if kid == key {
			return n.Content[i+1]
		}
		if found := valueBehind(kid, key); found != nil {
			return found
		}
	}
	return nil
}

// alternatives looks at conditions of which one must hold.
func (l *linter) alternatives(n *yaml.Node, around []term) {
	var all []conjunction
	for _, item := range n.Content {
		l.condition(item, around)
		if item.Kind == yaml.MappingNode {
			all = append(all, clauses(item))
		}
	}
	for i, b := range all {
		for j, a := range all {
			if i != j && b.within(a) && (j < i || !a.within(b)) {
				l.warn(b.node, "dead-condition", "take it out", "this alternative adds nothing: the one on line %d lets the same calls through", a.node.Line)
				break
			}
		}
	}
}

// pair warns where one of two conditions that must both hold makes the other one idle or
// impossible, and says whether to look on.
func (l *linter) pair(a, b term) bool {
	switch {
	case a.excludes(b):
		l.warn(b.key, "dead-condition", "take one of them out, or put both under any:", "no call meets both %s and %s", a, b)
		return false
	case a.within(b):
		l.warn(b.key, "dead-condition", "take it out", "%s adds nothing: it holds wherever %s does", b, a)
		return false
	case b.within(a):
		l.warn(a.key, "dead-condition", "take it out", "%s adds nothing: it holds wherever %s does", a, b)
		return false
	}
	return true
}

// mostPatterns bounds the comparisons of long lists.
const mostPatterns = 200

// list warns of values that stand twice in a list, or that another one covers.
func (l *linter) list(b term) {
	if b.opaque {
		return
	}
	if b.field == "outcome" && b.comparison != "exists" && !slices.ContainsFunc(outcomeWords, func(w string) bool { return !b.takes(w) }) {
		l.warn(b.key, "dead-condition", "take it out", "every call has one of these outcomes")
	}
	first := map[string]*yaml.Node{}
	var wide []int
	for i, v := range b.values {
		if v.glob == nil || v.glob.wild() {
			wide = append(wide, i)
		}
	}
	wide = wide[:min(len(wide), mostPatterns)]
	for i, v := range b.values {
		if was := first[v.text]; was != nil {
			l.warn(v.node, "duplicate-value", "take it out", "%q stands in the list already, on line %d", shorten(v.node.Value), was.Line)
			continue
		}
		first[v.text] = v.node
		for _, j := range wide {
			w := b.values[j]
			narrow, broad := v, w
			if b.all { // every one must hold, so the broader one is idle
				narrow, broad = w, v
			}
			if i != j && v.text != w.text && narrow.within(broad) && (j < i || !broad.within(narrow)) {
				l.warn(v.node, "duplicate-value", "take it out", "%q adds nothing beside %q", shorten(v.node.Value), shorten(w.node.Value))
				break
			}
		}
	}
}

// conjunction is what a mapping asks: that all its terms hold, and the others.
type conjunction struct {
	node   *yaml.Node
	terms  []term
	others []*yaml.Node // keys of conditions that are no terms
}

// clauses takes a mapping apart. What stands under all: is as if it stood beside.
func clauses(n *yaml.Node) conjunction {
	c := conjunction{node: n}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch {
		case key.Value == "all" && v.Kind == yaml.SequenceNode && !slices.ContainsFunc(v.Content, func(k *yaml.Node) bool { return k.Kind != yaml.MappingNode }):
			for _, item := range v.Content {
				inner := clauses(item)
				c.terms = append(c.terms, inner.terms...)
				c.others = append(c.others, inner.others...)
			}
		case key.Value == "not" && v.Kind == yaml.MappingNode && len(v.Content) == 2 && !slices.Contains(matchWords, v.Content[0].Value):
			inner := readTerm(v.Content[0], v.Content[1])
			inner.not = !inner.not
			inner.under = "not "
			c.terms = append(c.terms, inner)
		case slices.Contains(matchWords, key.Value):
			c.others = append(c.others, key)
		default:
			c.terms = append(c.terms, readTerm(key, v))
		}
	}
	return c
}

// within says whether every call that meets c meets d: each term of d is in one of c.
func (c conjunction) within(d conjunction) bool {
	if len(d.others) > 0 || len(d.terms) == 0 {
		return false
	}
	return !slices.ContainsFunc(d.terms, func(b term) bool {
		return !slices.ContainsFunc(c.terms, func(a term) bool { return a.within(b) })
	})
}

// term is one entry field|modifiers: values.
type term struct {
	key, value *yaml.Node
	under      string
	field      string
	comparison string
	cased      bool
	all, not   bool
	values     []want
	opaque     bool // nothing can be said of it
}

// want is one value of a term: a pattern, or for other comparisons a test.
type want struct {
	node       *yaml.Node
	text       string // as it is compared
	cased      bool
	comparison string
	glob       glob
	span       interval
	network    netip.Prefix
	holds      predicate
}

func readTerm(key, value *yaml.Node) term {
	words := strings.Split(key.Value, "|")
	a := term{key: key, value: value, field: words[0]}
	for _, w := range words[1:] {
		switch w {
		case "not":
			a.not = !a.not
		case "all":
			a.all = true
		case "cased":
			a.cased = true
		default:
			a.comparison = w
		}
	}
	a.cased = a.cased || !foldable(a.comparison)
	if a.comparison == "exists" {
		a.not = a.not != (value.Value == "false")
		return a
	}
	items := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		items = value.Content
	}
	for _, n := range items {
		w, ok := a.want(n)
		if !ok {
			a.opaque = true
			return a
		}
		a.values = append(a.values, w)
	}
	a.opaque = len(a.values) == 0
	return a
}

// want reads one value; ok is false for a name that stands for others.
func (a term) want(n *yaml.Node) (w want, ok bool) {
	compare := comparisons[a.comparison]
	if n.Kind != yaml.ScalarNode || compare == nil || strings.HasPrefix(n.Value, "$") {
		return want{}, false
	}
	holds, err := compare(n.Value, a.cased)
	if err != nil {
		return want{}, false
	}
	w = want{node: n, text: fold(n.Value, a.cased), cased: a.cased, comparison: a.comparison, holds: holds}
	number, _ := strconv.ParseFloat(n.Value, 64)
	switch a.comparison {
	case "":
		w.glob = parseGlob(w.text)
	case "contains":
		w.glob = parseGlob("*" + w.text + "*")
	case "startswith":
		w.glob = parseGlob(w.text + "*")
	case "endswith":
		w.glob = parseGlob("*" + w.text)
	case "in":
		w.glob = glob(w.text)
	case "lt":
		w.span = interval{math.Inf(-1), math.Nextafter(number, math.Inf(-1))}
	case "lte":
		w.span = interval{math.Inf(-1), number}
	case "gt":
		w.span = interval{math.Nextafter(number, math.Inf(1)), math.Inf(1)}
	case "gte":
		w.span = interval{number, math.Inf(1)}
	case "cidr":
		if w.network, err = netip.ParsePrefix(n.Value); err != nil {
			addr, _ := netip.ParseAddr(n.Value)
			w.network = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	return w, true
}

// String returns the term as it is written.
func (a term) String() string {
	text := ""
	switch {
	case a.value.Kind == yaml.ScalarNode:
		text = a.value.Value
	case len(a.values) == 1:
		text = "[" + a.values[0].node.Value + "]"
	case len(a.values) > 1:
		text = fmt.Sprintf("[%s, … %d values]", a.values[0].node.Value, len(a.values))
	}
	return shorten(a.under + a.key.Value + ": " + text)
}

// takes says whether a value meets the term, not left aside.
func (a term) takes(value string) bool {
	holds := func(w want) bool { return w.holds(fold(value, a.cased)) }
	if a.all {
		return !slices.ContainsFunc(a.values, func(w want) bool { return !holds(w) })
	}
	return slices.ContainsFunc(a.values, holds)
}

// within says whether b surely holds wherever a does.
func (a term) within(b term) bool {
	if a.field != b.field || a.opaque || b.opaque {
		return false
	}
	switch {
	case !a.not && !b.not:
		return a.covered(b)
	case a.not && b.not:
		return b.covered(a)
	case !a.not && b.not:
		return a.apart(b)
	}
	return false
}

// excludes says whether no call meets both.
func (a term) excludes(b term) bool {
	if a.field != b.field || a.opaque || b.opaque || a.not && b.not {
		return false
	}
	switch {
	case !a.not && !b.not:
		return a.apart(b)
	case b.not:
		return a.covered(b)
	}
	return b.covered(a)
}

// covered says whether every value that a takes, not left aside, is one that b takes.
func (a term) covered(b term) bool {
	switch {
	case b.comparison == "exists":
		return true
	case a.comparison == "exists", len(a.values)*len(b.values) > mostPatterns*mostPatterns:
		return false
	}
	inB := func(w want) bool {
		miss := func(v want) bool { return !w.within(v) }
		if b.all {
			return !slices.ContainsFunc(b.values, miss)
		}
		return slices.ContainsFunc(b.values, func(v want) bool { return !miss(v) })
	}
	if a.all {
		return slices.ContainsFunc(a.values, inB)
	}
	return !slices.ContainsFunc(a.values, func(w want) bool { return !inB(w) })
}

// apart says whether no value is one that both take, not left aside.
func (a term) apart(b term) bool {
	if a.comparison == "exists" || b.comparison == "exists" || len(a.values)*len(b.values) > mostPatterns*mostPatterns {
		return false
	}
	for _, v := range a.values {
		for _, w := range b.values {
			switch apart := v.apart(w); {
			case apart && (a.all || b.all) && (a.all || len(a.values) == 1) && (b.all || len(b.values) == 1):
				return true
			case !apart && !a.all && !b.all:
				return false
			}
		}
	}
	return !a.all && !b.all
}

// within says whether every value that w takes is one that v takes. Where that is not sure it says no.
func (w want) within(v want) bool {
	if v.cased && !w.cased {
		return false
	}
	switch {
	case w.glob != nil && !w.glob.wild():
		return v.takes(w)
	case w.glob != nil && v.glob != nil:
		return v.folded(w).covers(w.folded(v))
	case w.comparison != v.comparison && (w.comparison == "cidr" || v.comparison == "cidr"), w.glob != nil, v.glob != nil:
		return false
	case w.comparison == "cidr":
		return v.network.Bits() <= w.network.Bits() && v.network.Contains(w.network.Addr())
	case w.comparison == "re", v.comparison == "re":
		return w.comparison == v.comparison && w.text == v.text
	}
	return v.span.low <= w.span.low && w.span.high <= v.span.high
}

// apart says whether no value is one that both take. Where that is not sure it says no.
func (w want) apart(v want) bool {
	switch {
	case w.glob != nil && !w.glob.wild():
		return !v.takes(w)
	case v.glob != nil && !v.glob.wild():
		return !w.takes(v)
	case w.glob != nil && v.glob != nil:
		return !w.folded(v).meets(v.folded(w))
	case w.glob != nil, v.glob != nil, w.comparison == "re", v.comparison == "re":
		return false
	case w.comparison == "cidr" || v.comparison == "cidr":
		return w.comparison == v.comparison && !w.network.Overlaps(v.network)
	}
	return w.span.high < v.span.low || v.span.high < w.span.low
}

// takes says whether v takes the one value that w is.
func (v want) takes(w want) bool {
	value := string(w.glob)
	if !w.cased || !v.cased {
		value = strings.ToLower(value)
		if v.cased && v.glob != nil {
			return v.folded(w).match(value)
		}
	}
	return v.holds(value)
}

// folded returns the pattern, in small letters if either regards no case.
func (w want) folded(v want) glob {
	if w.cased && v.cased || !w.cased {
		return w.glob
	}
	g := slices.Clone(w.glob)
	for i, c := range g {
		if c >= 0 {
			g[i] = []rune(strings.ToLower(string(c)))[0]
		}
	}
	return g
}

// wild says whether the pattern has wildcards.
func (g glob) wild() bool { return slices.ContainsFunc(g, func(c rune) bool { return c < 0 }) }

// covers says whether g takes whatever h takes. It takes the wildcards of h for characters of their
// own, so it may miss some, but is never wrong.
func (g glob) covers(h glob) bool {
	if len(g)*len(h) > mostSteps {
		return false
	}
	return walk(len(g), len(h), func(i, j int) (step [3]bool) {
		switch {
		case i < len(g) && g[i] == anyMany:
			step[0] = true       // it stands for nothing more
			step[1] = j < len(h) // or for one more of h
		case i < len(g) && j < len(h) && h[j] != anyMany && (g[i] == anyOne || g[i] == h[j]):
			step[2] = true
		}
		return step
	})
}

// mostSteps bounds the comparison of two patterns.
const mostSteps = 20_000

// meets says whether there may be a value that both take.
func (g glob) meets(h glob) bool {
	if len(g)*len(h) > mostSteps {
		return true
	}
	return walk(len(g), len(h), func(i, j int) (step [3]bool) {
		gMany, hMany := i < len(g) && g[i] == anyMany, j < len(h) && h[j] == anyMany
		step[0] = gMany || hMany && i < len(g)
		step[1] = hMany || gMany && j < len(h)
		step[2] = i < len(g) && j < len(h) && !gMany && !hMany && (g[i] == anyOne || h[j] == anyOne || g[i] == h[j])
		return step
	})
}

// walk says whether one gets from the begins of two patterns to their ends, by the steps that are
// allowed at each pair of places: on in the first, on in the second, on in both.
func walk(n, m int, steps func(i, j int) [3]bool) bool {
	reached := make([]bool, (n+1)*(m+1))
	reached[0] = true
	for i := range n + 1 {
		for j := range m + 1 {
			if !reached[i*(m+1)+j] {
				continue
			}
			s := steps(i, j)
			for k, to := range [3][2]int{{i + 1, j}, {i, j + 1}, {i + 1, j + 1}} {
				if s[k] && to[0] <= n && to[1] <= m {
					reached[to[0]*(m+1)+to[1]] = true
				}
			}
		}
	}
	return reached[len(reached)-1]
}
