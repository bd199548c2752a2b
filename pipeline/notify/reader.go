package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// ErrFile is wrapped by what is wrong with a file of sinks.
var ErrFile = errors.New("the sinks are not right")

const maxFile = 1 << 20 // bytes

// reader takes over a YAML file and collects what is wrong with it. Each mistake names its place.
type reader struct {
	path     string
	lookup   func(string) (string, bool) // of the environment
	mistakes []string
}

// keys are the keys that a mapping may have, and what reads their values.
type keys map[string]func(*yaml.Node)

func (r *reader) bad(n *yaml.Node, format string, args ...any) {
	r.mistakes = append(r.mistakes, fmt.Sprintf("%s:%d:%d: ", r.path, n.Line, n.Column)+fmt.Sprintf(format, args...))
}

func (r *reader) err() error {
	switch len(r.mistakes) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: %s", ErrFile, r.mistakes[0])
	}
	return fmt.Errorf("%w: %d mistakes:\n%s", ErrFile, len(r.mistakes), strings.Join(r.mistakes, "\n"))
}

// document returns the file's one document.
func (r *reader) document() *yaml.Node {
	b, err := readFile(r.path, maxFile)
	if err != nil {
		r.mistakes = append(r.mistakes, err.Error())
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc, second yaml.Node
	if err := d.Decode(&doc); err != nil {
		r.mistakes = append(r.mistakes, r.syntax(err))
		return nil
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		r.mistakes = append(r.mistakes, r.path+": one document holds all sinks; '---' begins a second one")
	}
	return doc.Content[0]
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return b, err
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntax puts the place in front of what the parser says.
func (r *reader) syntax(err error) string {
	if errors.Is(err, io.EOF) {
		return r.path + ": the file is empty; it has a list, sinks"
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		return r.path + ":" + m[1] + ": " + text[len(m[0]):]
	}
	return r.path + ": " + text
}

// mapping reads a mapping and returns its values.
func (r *reader) mapping(n *yaml.Node, what string, known keys) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "%s is a mapping of keys to values", what)
		return nil
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			r.bad(key, "unknown key %q of %s%s", key.Value, what, nearest(key.Value, words(known)))
		case found[key.Value] != nil:
			r.bad(key, "%s was said before", key.Value)
		default:
			found[key.Value] = value
			read(value)
		}
	}
	return found
}

func words(known keys) []string {
	var all []string
	for k := range known {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// nearest is a hint with the right word, or with all of them where none is near.
func nearest(word string, known []string) string {
	if best, _ := detector.Nearest(word, known); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return "; known: " + strings.Join(known, ", ")
}

// text reads one value.
func (r *reader) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.bad(n, "a text is wanted here")
			return
		}
		*to = n.Value
	}
}

// word reads one of a few words.
func (r *reader) word(to *string, known []string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var text string
		r.text(&text)(n)
		if text != "" && !slices.Contains(known, text) {
			r.bad(n, "%q is not known%s", text, nearest(text, known))
			return
		}
		*to = text
	}
}

// list reads a list of texts, or one text.
func (r *reader) list(take func(text string, n *yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		entries := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			entries = n.Content
		}
		if len(entries) == 0 {
			r.bad(n, "the list is empty; leave it out")
		}
		for _, e := range entries {
			var text string
			if r.text(&text)(e); text != "" {
				take(text, e)
			}
		}
	}
}

func (r *reader) words(to *[]string, known []string) func(*yaml.Node) {
	first := true
	return r.list(func(text string, n *yaml.Node) {
		if first {
			*to, first = nil, false
		}
		var word string
		if r.word(&word, known)(n); word != "" {
			*to = append(*to, word)
		}
	})
}

func (r *reader) yes(to *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if err := n.Decode(to); err != nil || n.Tag != "!!bool" {
			r.bad(n, "true or false is wanted here")
		}
	}
}

func (r *reader) duration(to *time.Duration, low, high time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			r.bad(n, "%q is not a time such as 500ms, 10s or 24h", n.Value)
			return
		}
		if d < low || d > high {
			r.bad(n, "%v is not between %v and %v", d, low, high)
			return
		}
		*to = d
	}
}

func (r *reader) number(to *int, low, high int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		i, err := strconv.Atoi(n.Value)
		if err != nil || i < low || i > high {
			r.bad(n, "%q is not a whole number between %d and %d", n.Value, low, high)
			return
		}
		*to = i
	}
}

// secret reads {env: NAME} or {file: PATH}. What it holds is in no message.
func (r *reader) secret(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			r.bad(n, "a secret does not belong into this file: write {env: NAME} or {file: PATH}")
			return
		}
		var env, file string
		r.mapping(n, "a secret", keys{"env": r.text(&env), "file": r.text(&file)})
		switch {
		case (env == "") == (file == ""):
			r.bad(n, "a secret is either {env: NAME} or {file: PATH}")
		case env != "":
			text, ok := r.lookup(env)
			if !ok || text == "" {
				r.bad(n, "the environment has no %s", env)
				return
			}
			*to = text
		default:
			b, err := readFile(r.beside(file), 1<<16)
			text := strings.TrimRight(string(b), "\r\n")
			if err == nil && text == "" {
				err = fmt.Errorf("%s is empty", file)
			}
			if err != nil {
				r.bad(n, "cannot read the secret: %v", err)
				return
			}
			*to = text
		}
	}
}
