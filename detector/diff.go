package detector

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Change is what became of one detector from one set to another.
type Change struct {
	ID     string      `json:"id"`
	Kind   string      `json:"kind"` // added, removed or changed
	Before string      `json:"version_before,omitempty"`
	Now    string      `json:"version_now,omitempty"`
	Keys   []KeyChange `json:"keys"` // empty where only comments or the layout changed, or the whole detector did
}

// KeyChange is what became of one key: baseline[0].feature, tests.NAME.
type KeyChange struct {
	Key    string `json:"key"`
	Kind   string `json:"kind"` // added, removed or changed
	Before string `json:"before,omitempty"`
	Now    string `json:"now,omitempty"`
}

// Diff returns the detectors that are not the same in both sets, by key.
func Diff(before, now *Set) []Change {
	was, is := before.byKey(), now.byKey()
	ids := maps.Clone(was)
	maps.Copy(ids, is)
	changes := []Change{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		old, present := was[id], is[id]
		switch {
		case old == nil:
			changes = append(changes, Change{ID: id, Kind: "added", Now: present.Version, Keys: []KeyChange{}})
		case present == nil:
			changes = append(changes, Change{ID: id, Kind: "removed", Before: old.Version, Keys: []KeyChange{}})
		case old.Version != present.Version:
			changes = append(changes, Change{id, "changed", old.Version, present.Version, diffKeys(old.root, present.root)})
		}
	}
	return changes
}

func (s *Set) byKey() map[string]*draft {
	all := map[string]*draft{}
	for _, d := range s.drafts {
		all[d.Key()] = d
	}
	return all
}

// KeysChanged returns what became of the keys from one text of a detector to another; none where a text is
// no YAML.
func KeysChanged(before, now string) []KeyChange {
	was, is := (&reader{}).documents([]byte(before)), (&reader{}).documents([]byte(now))
	if len(was) != 1 || len(is) != 1 {
		return []KeyChange{}
	}
	return diffKeys(was[0], is[0])
}

// diffKeys compares two documents key by key, in the order of the text.
func diffKeys(before, now *yaml.Node) []KeyChange {
	was, is := flatten(before), flatten(now)
	changes := []KeyChange{}
	for _, key := range is.keys {
		old, there := was.values[key]
		switch v := is.values[key]; {
		case !there:
			changes = append(changes, KeyChange{Key: key, Kind: "added", Now: v})
		case old != v:
			changes = append(changes, KeyChange{key, "changed", old, v})
		}
	}
	for _, key := range was.keys {
		if _, there := is.values[key]; !there {
			changes = append(changes, KeyChange{Key: key, Kind: "removed", Before: was.values[key]})
		}
	}
	return changes
}

// flat is a document as a list of keys with their values.
type flat struct {
	keys   []string
	values map[string]string
}

func flatten(n *yaml.Node) flat {
	f := flat{values: map[string]string{}}
	f.add("", n)
	return f
}

func (f *flat) add(key string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if key != "" {
				name = key + "." + name
			}
			f.add(name, n.Content[i+1])
		}
	case key == "tests":
		for i, test := range n.Content {
			f.set(fmt.Sprintf("tests.%s", nameOf(test, i)), inOneLine(test))
		}
	case n.Kind == yaml.SequenceNode && slices.ContainsFunc(n.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }):
		for i, item := range n.Content {
			f.add(fmt.Sprintf("%s[%d]", key, i), item)
		}
	default:
		f.set(key, inOneLine(n))
	}
}

func (f *flat) set(key, value string) {
	if _, there := f.values[key]; !there {
		f.keys = append(f.keys, key)
	}
	f.values[key] = value
}

// nameOf is the name of a test, or its number where it has none.
func nameOf(test *yaml.Node, i int) string {
	for j := 0; j+1 < len(test.Content); j += 2 {
		if test.Content[j].Value == "name" {
			return test.Content[j+1].Value
		}
	}
	return fmt.Sprint(i)
}

// inOneLine writes a value in one line, however it was laid out.
func inOneLine(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		return strings.Join(strings.Fields(n.Value), " ")
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			items = append(items, inOneLine(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case yaml.MappingNode:
		var entries []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			entries = append(entries, n.Content[i].Value+": "+inOneLine(n.Content[i+1]))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	}
	return ""
}
