package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is a detector as its file tells it.
type entry struct {
	ID, Title, Description, Severity, Mode string

	Tags       []string
	References references
	Match      yaml.Node
	Conditions yaml.Node
	GroupBy    string `yaml:"group_by"`
	Within     string
	Baseline   []struct {
		Feature, Season, Memory string
	}
	Slot, Budget, Relearn, When string
	Warmup                      struct {
		Calls, Slots, Peers int
		Time                string
	}
	Response struct{ Action, Scope, For string }
	Tests    []struct {
		Name   string
		Expect struct{ Detections string }
	}

	file string
}

// references are a list of texts, or one text.
type references []string

// UnmarshalYAML reads either.
func (r *references) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*r = references{n.Value}
		return nil
	}
	return n.Decode((*[]string)(r))
}

// read returns the detectors of a folder in the order of their files.
func read(files fs.FS) ([]entry, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		e := entry{file: name}
		if err := yaml.Unmarshal(data, &e); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		if e.phase() < 0 {
			return nil, fmt.Errorf("%s: no tag tells in which phase of an attack it is", name)
		}
		for _, tag := range e.Tags {
			if _, _, ok := explain(tag); !ok {
				return nil, fmt.Errorf("%s: the tag %s has no name here", name, tag)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// write returns the page.
func write(files fs.FS) (string, error) {
	all, err := read(files)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	enforce := 0
	for _, e := range all {
		if e.Mode == "enforce" {
			enforce++
		}
	}
	fmt.Fprintf(&b, `# The catalogue

%d detectors stand in the binary. %d of them enforce; how well these detect together, and how often they are wrong, is [measured](eval.md). The other %d
alert: nobody is stopped until you change their mode. Each has tests in its file; `+"`estop detector test`"+` runs them all. This page is made
from the files by "make docs".

| phase | detector | finds | severity | mode |
|---|---|---|---|---|
`, len(all), enforce, len(all)-enforce)
	slices.SortStableFunc(all, func(a, b entry) int { return a.phase() - b.phase() })
	for _, e := range all {
		fmt.Fprintf(&b, "| %s | [`%s`](#%s) | %s | %s | %s |\n", phases[e.phase()].name, e.ID, e.ID, e.Title, e.Severity, e.Mode)
	}
	last := -1
	for _, e := range all {
		if p := e.phase(); p != last {
			fmt.Fprintf(&b, "\n## %s\n", phases[p].name)
			last = p
		}
		if err := e.section(&b); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (e entry) section(b *bytes.Buffer) error {
	fmt.Fprintf(b, "\n### %s\n\n**%s.** %s\n\n", e.ID, e.Title, strings.Join(strings.Fields(e.Description), " "))
	fmt.Fprintf(b, "- File: [`%s`](../detector/catalog/%s). Severity %s, mode %s.\n", e.file, e.file, e.Severity, e.Mode)
	fmt.Fprintf(b, "- Judges: %s.\n", e.judges())
	if e.Budget != "" {
		fmt.Fprintf(b, "- Wrong at most: %s, while the %s behaves as its past says. Speaks after %s.\n", e.Budget, e.entity(), e.warmup())
	}
	if e.When != "" {
		fmt.Fprintf(b, "- Hard limit, from the first call on: `%s`.\n", strings.Join(strings.Fields(e.When), " "))
	}
	if e.Relearn != "" {
		fmt.Fprintf(b, "- Learns anew when `%s` changes.\n", e.Relearn)
	}
	fmt.Fprintf(b, "- Answer%s: %s the %s for %s.\n", map[bool]string{true: "", false: ", once it enforces"}[e.Mode == "enforce"], e.Response.Action, e.Response.Scope, e.Response.For)
	var refs []string
	for _, tag := range e.Tags {
		name, link, _ := explain(tag)
		refs = append(refs, fmt.Sprintf("[%s](%s)", name, link))
	}
	for _, r := range e.References {
		if _, after, is := strings.Cut(r, "://"); is {
			r = fmt.Sprintf("[%s](%s)", strings.TrimSuffix(after, "/"), r)
		}
		refs = append(refs, r)
	}
	fmt.Fprintf(b, "- References: %s.\n", strings.Join(refs, ", "))
	if err := e.looksAt(b); err != nil {
		return err
	}
	fmt.Fprint(b, "\nIts tests:\n\n")
	for _, t := range e.Tests {
		fmt.Fprintf(b, "- %s\n", t.Name)
	}
	return nil
}

// judges says what is counted, of whom, in words.
func (e entry) judges() string {
	of := "each " + e.entity()
	if e.Within != "" {
		of = "each session of each " + e.entity()
	}
	if len(e.Baseline) == 0 {
		return of + ", by a hard limit alone"
	}
	var learned []string
	for _, f := range e.Baseline {
		text := "`" + f.Feature + "`"
		if f.Season != "" {
			text += " by " + strings.ReplaceAll(f.Season, "-", " ")
		}
		if f.Memory != "" {
			text += " over " + f.Memory
		}
		learned = append(learned, text)
	}
	text := of + ", by what is usual for it of " + strings.Join(learned, ", ")
	if e.Slot != "" {
		text += ", in slots of " + e.Slot
	}
	return text
}

func (e entry) entity() string {
	if e.GroupBy == "" {
		return "agent"
	}
	return strings.ReplaceAll(e.GroupBy, "_", " ")
}

func (e entry) warmup() string {
	parts := []string{fmt.Sprintf("%d calls", e.Warmup.Calls)}
	if e.Warmup.Time != "" {
		parts = append(parts, e.Warmup.Time)
	}
	text := strings.Join(parts, " and ")
	if e.Warmup.Peers > 0 {
		text += fmt.Sprintf(", or at once where %d others of the tenant are known", e.Warmup.Peers)
	}
	return text
}

// looksAt shows the conditions as they stand in the file.
func (e entry) looksAt(b *bytes.Buffer) error {
	shown := yaml.Node{Kind: yaml.MappingNode}
	for _, part := range []struct {
		key  string
		node *yaml.Node
	}{{"conditions", &e.Conditions}, {"match", &e.Match}} {
		if !part.node.IsZero() {
			shown.Content = append(shown.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: part.key}, part.node)
		}
	}
	if len(shown.Content) == 0 {
		fmt.Fprint(b, "- Looks at every call.\n")
		return nil
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(&shown); err != nil {
		return fmt.Errorf("cannot write the conditions of %s: %w", e.ID, err)
	}
	// Not marked as yaml: it is a part of a detector, and no detector.
	fmt.Fprintf(b, "- Looks at calls that meet\n\n  ```text\n  %s\n  ```\n", strings.ReplaceAll(strings.TrimSpace(text.String()), "\n", "\n  "))
	return nil
}
