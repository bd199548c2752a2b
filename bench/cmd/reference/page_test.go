package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

const pages = "../../../docs/"

func TestTheCommittedPageIsWhatTheTablesGive(t *testing.T) {
	want, err := write(detector.Schema)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(pages + "reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run make docs (-tables +page):\n%s", diff)
	}
}

// exampleOf returns the documents of an example, and all keys in them.
func exampleOf(t *testing.T, name string) (text []byte, keys map[string]bool) {
	t.Helper()
	text, err := examples.ReadFile("examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	keys = map[string]bool{}
	for _, doc := range strings.Split(string(text), "\n---\n") {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(doc), &root); err != nil {
			t.Fatal(err)
		}
		collect(&root, keys)
	}
	return text, keys
}

func collect(n *yaml.Node, keys map[string]bool) {
	for i, kid := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			keys[kid.Value] = true
		}
		collect(kid, keys)
	}
}

func TestEveryExampleLoads(t *testing.T) {
	names, err := fs.Glob(examples, "examples/*.yaml")
	if err != nil || len(names) < 8 {
		t.Fatalf("%d examples: %v", len(names), err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(examples, name)
		if err != nil {
			t.Fatal(err)
		}
		_, errs := detector.Load(fstest.MapFS{"x.yaml": {Data: text}, "crown-jewels.txt": {Data: []byte("s3://payroll/\n")}})
		if err := errs.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		formatted, _ := detector.Format(name, text)
		if diff := cmp.Diff(string(formatted), string(text)); diff != "" {
			t.Errorf("%s is not in canonical form: %s", name, diff)
		}
	}
}

func TestEveryKeyHasAnExample(t *testing.T) {
	root, err := readSchema(detector.Schema)
	if err != nil {
		t.Fatal(err)
	}
	_, order := root.sections()
	if len(order) < 12 {
		t.Fatalf("sections %v", order)
	}
	for _, name := range order {
		in := name
		if shown[name] != "" {
			in = shown[name]
		}
		_, keys := exampleOf(t, in)
		for _, p := range root.Defs[name].Properties {
			other := name == "detector" && slices.Contains([]string{"within", "correlation"}, p.key) // have examples of their own, or none beside a slot
			if !keys[p.key] && !other {
				t.Errorf("the example of %s has no %s", name, p.key)
			}
		}
	}
}

func TestEveryFieldAndModifierHasAnExample(t *testing.T) {
	_, keys := exampleOf(t, "match")
	used := map[string]bool{}
	for key := range keys {
		for _, word := range strings.Split(key, "|") {
			used[word] = true
		}
	}
	for _, w := range slices.Concat(detector.MatchFields(), detector.Modifiers()) {
		if !used[w.Name] {
			t.Errorf("the example of a match has no %s", w.Name)
		}
	}
}

func TestEveryLinkOfThePageLeadsToAHeading(t *testing.T) {
	page, err := write(detector.Schema)
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]map[string]bool{}
	read := func(name, text string) {
		headings[name] = map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
			headings[name][slug(m[1])] = true
		}
	}
	read("", page)
	files, err := filepath.Glob(pages + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files { // and those of the other pages lead to this one's
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(reference\.md#([^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
			if !headings[""][m[1]] {
				t.Errorf("%s leads to the heading %s, which the reference has not", file, m[1])
			}
		}
	}
	links := regexp.MustCompile(`\]\(([a-z-]*(?:\.md)?)#([^)]*)\)`).FindAllStringSubmatch(page, -1)
	if len(links) < 50 {
		t.Fatalf("%d links", len(links))
	}
	for _, m := range links {
		if headings[m[1]] == nil {
			text, err := os.ReadFile(pages + m[1])
			if err != nil {
				t.Fatal(err)
			}
			read(m[1], string(text))
		}
		if !headings[m[1]][m[2]] {
			t.Errorf("%s has no heading %s", m[1], m[2])
		}
	}
}

func TestASchemaWithoutAnExampleIsRefused(t *testing.T) {
	const schema = `{"$defs": {"detector": {"properties": {"x": {"$ref": "#/$defs/strange"}}}, "strange": {"properties": {"y": {"type": "string"}}}}}`
	if _, err := write([]byte(schema)); err == nil || !strings.Contains(err.Error(), "no example") {
		t.Error(err)
	}
}
