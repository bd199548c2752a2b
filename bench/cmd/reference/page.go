package main

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/estop-project/estop/detector"
)

//go:embed examples/*.yaml
var examples embed.FS

const head = `# Detector reference

Every key, field, modifier, feature, unit and warning of the language in which [detectors](detectors.md) are written: that page teaches it, this one lists it. It is made
from the schema and from the compiler's own tables by "make docs". Every example on it is a detector that loads.

- [Keys](#keys)
- [Match](#match): fields of a call, modifiers
- [Features](#features): what can be counted and learned
- [Groupings](#groupings)
- [Units](#units)
- [Warnings](#warnings) of ` + "`estop detector lint`" + `
`

// write returns the page.
func write(data []byte) (string, error) {
	root, err := readSchema(data)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.WriteString(head)
	if err := root.keys(&b); err != nil {
		return "", err
	}
	if err := match(&b); err != nil {
		return "", err
	}
	features(&b)
	groupings(&b)
	words(&b, "Units", "Durations and sizes carry their unit: `500ms`, `1m30s`, `7d`, `10KiB`. In a condition a size stands for its bytes and a duration for its seconds.", "unit", detector.Units())
	warnings(&b)
	return b.String(), nil
}

// keys writes a section for each mapping of a detector's file.
func (root *schema) keys(b *bytes.Buffer) error {
	titles, order := root.sections()
	fmt.Fprint(b, "\n## Keys\n\nA file holds one detector, or several with `---` between them. Unknown keys are errors.\n")
	for _, name := range order {
		def := root.Defs[name]
		fmt.Fprintf(b, "\n### %s\n\n", titles[name])
		if text := def.Description; text != "" && name != "detector" {
			fmt.Fprintf(b, "%s\n\n", prose(text))
		}
		if name == "detector" {
			fmt.Fprint(b, "One of `baseline`, `when` and `correlation` must be there, and with `mode: enforce` a `response`.\n\n")
		}
		fmt.Fprint(b, "| key | value | where it is missing | meaning |\n|---|---|---|---|\n")
		for _, p := range def.Properties {
			kind := root.kind(p.schema, titles)
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.key, kind, p.missing(slices.Contains(def.Required, p.key)), prose(root.meaning(p.schema))+def.needs(p.key))
		}
		if err := example(b, name); err != nil {
			return err
		}
	}
	return nil
}

// sections returns the definitions that have keys, in the order in which a detector's file leads to them, and their titles: the
// keys that lead there.
func (root *schema) sections() (titles map[string]string, order []string) {
	titles = map[string]string{"detector": "A detector"}
	order = []string{"detector"}
	var visit func(name, path string)
	visit = func(name, path string) {
		for _, p := range root.Defs[name].Properties {
			at := strings.TrimPrefix(path+"."+p.key, ".")
			if p.key == "tenants" {
				at += ".NAME"
			}
			for _, to := range root.mappings(p.schema) {
				if titles[to] == "" {
					titles[to] = "`" + at + "`"
					order = append(order, to)
					visit(to, at)
				}
			}
		}
	}
	visit("detector", "")
	return titles, order
}

// shown are the definitions whose example is that of another.
var shown = map[string]string{"combination": "correlation", "distinct": "correlation", "escalate": "response", "calls": "test", "expect": "test"}

// example writes the detector that shows the keys of a definition.
func example(b *bytes.Buffer, name string) error {
	if shown[name] != "" {
		return nil
	}
	text, err := examples.ReadFile("examples/" + name + ".yaml")
	if err != nil {
		return fmt.Errorf("no example: %w", err)
	}
	fmt.Fprintf(b, "\n```yaml\n%s```\n", text)
	return nil
}

// warnings writes the rules of lint.
func warnings(b *bytes.Buffer) {
	fmt.Fprint(b, "\n## Warnings\n\n`estop detector lint` warns of what is right and yet may not be meant. A comment silences a rule for its detector: `# estop-lint: ignore no-test — a sketch`.\n\n| rule | warns of |\n|---|---|\n")
	for _, r := range detector.LintRules() {
		fmt.Fprintf(b, "| `%s` | %s |\n", r.Name, r.What)
	}
	fmt.Fprint(b, "\nWhat is wrong is an error with its file, line and column, and how to put it right. The [exit codes](operate.md#exit-codes) are those of all commands.\n")
}

// words writes a table of words.
func words(b *bytes.Buffer, title, text, column string, all []detector.Word) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", title, text)
	table(b, column, all)
}

func table(b *bytes.Buffer, column string, all []detector.Word) {
	fmt.Fprintf(b, "| %s | meaning |\n|---|---|\n", column)
	for _, w := range all {
		fmt.Fprintf(b, "| `%s` | %s |\n", w.Name, w.What)
	}
}

// prose is a text of the schema within a page: what a table or a link would take for its own is escaped.
func prose(text string) string {
	return strings.NewReplacer("|", `\|`, "[", `\[`, "*", `\*`, "<", `\<`, "_", `\_`).Replace(text)
}

// slug is the anchor of a heading.
func slug(title string) string {
	var s strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			s.WriteRune(c)
		case c == ' ':
			s.WriteByte('-')
		}
	}
	return s.String()
}
