package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// file takes over a YAML file. Keys may be nested, or joined by dots.
func (l *loader) file(path string) {
	b, err := readFile(path)
	if err != nil {
		l.bad("cannot read the configuration: %w", err)
		return
	}
	l.yaml(path, b)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

func (l *loader) yaml(path string, b []byte) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF): // an empty file says nothing
		return
	case err != nil:
		l.bad("%s", yamlError(path, err))
		return
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		l.bad("%s: a configuration is one document; '---' begins a second one", path)
	}
	l.mapping(path, "", doc.Content[0])
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// yamlError puts the place in front of what the parser says.
func yamlError(path string, err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		return path + ":" + m[1] + ": " + text[len(m[0]):]
	}
	return path + ": " + text
}

func (l *loader) mapping(path, prefix string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		where := fmt.Sprintf("%s:%d:%d: ", path, n.Line, n.Column)
		if prefix == "" {
			l.bad("%sa configuration is a mapping of keys to values", where)
			return
		}
		l.bad("%s%s holds other keys: %s", where, strings.TrimSuffix(prefix, "."), strings.Join(l.below(prefix), ", "))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		l.entry(path, prefix, n.Content[i], n.Content[i+1])
	}
}

func (l *loader) entry(path, prefix string, name, value *yaml.Node) {
	key := prefix + name.Value
	where := fmt.Sprintf("%s:%d:%d", path, name.Line, name.Column)
	_, known := l.fields[key]
	switch {
	case known && l.from[key] != "":
		l.bad("%s: %s was said before, at %s", where, key, l.from[key])
	case known && value.Kind == yaml.ScalarNode && value.Tag == "!!null": // says nothing
	case known:
		l.set(key, where, func(f field) error { return f.decode(value) })
	case len(l.below(key+".")) > 0:
		l.mapping(path, key+".", value)
	default:
		l.bad("%s: unknown key %q%s", where, key, l.hint(key))
	}
}

// decode sets the field to what a value of the file says.
func (f field) decode(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode && f.isList() {
		var entries []string
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return errors.New("is a list of texts, not of other things")
			}
			entries = append(entries, e.Value)
		}
		f.setList(entries)
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		return errors.New("is one value, not a " + map[yaml.Kind]string{
			yaml.SequenceNode: "list", yaml.MappingNode: "mapping", yaml.AliasNode: "reference to another place",
		}[n.Kind])
	}
	return f.parse(n.Value)
}

// below returns the keys that begin with prefix.
func (l *loader) below(prefix string) []string {
	var in []string
	for _, k := range l.keys {
		if strings.HasPrefix(k, prefix) {
			in = append(in, k)
		}
	}
	return in
}

// hint returns the right word for an unknown key, as DidYouMean does: the nearest key or
// group of keys, or the only key with this last part.
func (l *loader) hint(key string) string {
	known := append([]string(nil), l.keys...)
	var ends []string
	for _, k := range l.keys {
		for i := range k {
			if k[i] == '.' {
				known = append(known, k[:i])
			}
		}
		if strings.HasSuffix(k, "."+key) {
			ends = append(ends, k)
		}
	}
	if len(ends) == 1 {
		return fmt.Sprintf(" (did you mean %q?)", ends[0])
	}
	if hint := DidYouMean(key, known); hint != "" {
		return hint
	}
	return "; 'estop config show' lists the keys"
}
