package sigma

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// match is a condition on calls, in our language.
type match struct {
	op     operator // opTest, opAnd, opOr, opNot
	key    string   // of a test: field|modifier
	values []string
	kids   []*match
}

func test(key string, values ...string) *match { return &match{op: opTest, key: key, values: values} }

func negate(m *match) *match { return &match{op: opNot, kids: []*match{m}} }

// join makes one condition of several; those that are joined in the same way are merged.
func join(op operator, kids ...*match) *match {
	m := &match{op: op}
	for _, kid := range kids {
		if kid.op == op {
			m.kids = append(m.kids, kid.kids...)
		} else {
			m.kids = append(m.kids, kid)
		}
	}
	if len(m.kids) == 1 {
		return m.kids[0]
	}
	return m
}

// size is how many conditions a condition holds.
func (m *match) size() int {
	n := 1
	for _, kid := range m.kids {
		n += kid.size()
	}
	return n
}

// yaml writes the condition as detectors have it.
func (m *match) yaml() *yaml.Node {
	switch m.op {
	case opNot:
		return mapping("not", m.kids[0].inner(opOr))
	case opOr:
		return mapping("any", m.list())
	case opAnd:
		return m.all()
	}
	return mapping(m.key, m.value())
}

// inner writes a condition where a list of conditions already means op.
func (m *match) inner(op operator) *yaml.Node {
	if m.op == op {
		return m.list()
	}
	return m.yaml()
}

func (m *match) list() *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, kid := range m.kids {
		n.Content = append(n.Content, kid.yaml())
	}
	return n
}

// all writes a conjunction as one mapping, or as a list where two entries would have one key.
func (m *match) all() *yaml.Node {
	merged := &yaml.Node{Kind: yaml.MappingNode}
	seen := map[string]bool{}
	for _, kid := range m.gathered().kids {
		n := kid.yaml()
		for i := 0; i < len(n.Content); i += 2 {
			if key := n.Content[i].Value; seen[key] {
				return mapping("all", m.gathered().list())
			}
			seen[n.Content[i].Value] = true
		}
		merged.Content = append(merged.Content, n.Content...)
	}
	return merged
}

// gathered puts the negations of a conjunction under one not: neither a nor b is not (a or b).
func (m *match) gathered() *match {
	var kids, not []*match
	for _, kid := range m.kids {
		if kid.op == opNot {
			not = append(not, kid.kids[0])
		} else {
			kids = append(kids, kid)
		}
	}
	if len(not) > 0 {
		kids = append(kids, negate(join(opOr, not...)))
	}
	return &match{op: opAnd, kids: kids}
}

// value writes the values of a test: one alone, several as a list, truths and numbers as such.
func (m *match) value() *yaml.Node {
	_, modifiers, _ := strings.Cut(m.key, "|")
	words := strings.Split(modifiers, "|")
	tag := "!!str"
	for _, plain := range []string{"exists", "lt", "lte", "gt", "gte"} {
		if slices.Contains(words, plain) {
			tag = ""
		}
	}
	if len(m.values) == 1 && !slices.Contains(words, "all") {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: literal(m.values[0])}
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	width := 0
	for _, v := range m.values {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: literal(v)})
		width += len(v)
	}
	if width < 80 {
		n.Style = yaml.FlowStyle
	}
	return n
}

// reference is a value that a detector would take for the name of a constant or a list.
var reference = regexp.MustCompile(`^\$[a-z_][a-z0-9_]{0,63}$`)

// literal writes a value so that it stands for itself.
func literal(v string) string {
	if reference.MatchString(v) {
		return "$" + v
	}
	return v
}

func mapping(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text(key), value}}
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
