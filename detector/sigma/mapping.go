package sigma

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// Mapping says what the fields of a log source are called in calls.
type Mapping struct {
	// What a rule must say under logsource for the mapping to be used; what is empty fits every rule.
	Product, Service, Category string
	fields                     map[string]target
	// special translates what no renaming can; nil where there is nothing.
	special func(r *ruleReader, t fieldTest) (m *match, known bool)
	// merge makes the conditions of one selection simpler; nil where it cannot.
	merge func(all []*match) []*match
	// missing says why fields are not there that a rule may name; by their beginning.
	missing []missing
}

// target is what a field becomes.
type target struct {
	field  string            // of calls
	values map[string]string // what its values become; nil where they stay
	note   string            // for the reader of the detector
	never  string            // what no value of the field holds any more
	why    string            // what to write instead
}

// missing is why the fields that begin with a text have no counterpart.
type missing struct{ prefix, why string }

// specific says how closely a mapping fits a rule's log source: 0 not at all.
func (m *Mapping) specific(s logsource) int {
	n := 1
	for _, part := range [][2]string{{m.Product, s.product}, {m.Service, s.service}, {m.Category, s.category}} {
		switch part[0] {
		case "":
		case part[1]:
			n++
		default:
			return 0
		}
	}
	return n
}

// fieldsOfCalls are the fields that a match can test, beside context.KEY.
var fieldsOfCalls = func() []string {
	var words []string
	for f := detector.FieldTenant; f < detector.FieldChain; f++ {
		words = append(words, f.String())
	}
	return words
}()

// entityOf returns the entity that a field of calls holds.
func entityOf(field string) (detector.Entity, bool) {
	for e := detector.ByAgent; e <= detector.ByParent; e++ {
		if e.Field().String() == field {
			return e, true
		}
	}
	return 0, false
}

// ReadMappings reads a file of field mappings: documents with logsource: and fields:.
func ReadMappings(file string, data []byte) ([]*Mapping, detector.Errors) {
	y, errs := detector.ReadYAML(file, data)
	r := &mappingReader{file: file, errs: errs}
	var mappings []*Mapping
	for _, root := range y.Documents {
		mappings = append(mappings, r.mapping(root))
	}
	if len(mappings) == 0 && len(r.errs) == 0 {
		r.errs = append(r.errs, &detector.Error{File: file, Line: 1, Column: 1, Msg: "the file holds no mapping", Hint: "write fields: {user: agent}"})
	}
	return mappings, r.errs
}

// mappingReader reads mappings and collects what is wrong with them.
type mappingReader struct {
	file string
	errs detector.Errors
}

func (r *mappingReader) fail(n *yaml.Node, hint, format string, args ...any) {
	r.errs = append(r.errs, &detector.Error{File: r.file, Line: n.Line, Column: n.Column, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// entries calls do for each entry of a mapping.
func (r *mappingReader) entries(n *yaml.Node, what string, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "", "%s must be a mapping", what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		do(n.Content[i], n.Content[i+1])
	}
}

func (r *mappingReader) mapping(n *yaml.Node) *Mapping {
	m := &Mapping{fields: map[string]target{}}
	r.entries(n, "a field mapping", func(key, value *yaml.Node) {
		switch key.Value {
		case "logsource":
			r.entries(value, "logsource", func(key, value *yaml.Node) {
				part := map[string]*string{"product": &m.Product, "service": &m.Service, "category": &m.Category}[key.Value]
				if part == nil {
					r.fail(key, nearest(key.Value, logsourceKeys), "logsource has no key %q", shorten(key.Value))
					return
				}
				*part = value.Value
			})
		case "fields":
			r.entries(value, "fields", func(key, value *yaml.Node) { m.fields[key.Value] = r.target(value) })
		default:
			r.fail(key, nearest(key.Value, []string{"logsource", "fields"}), "a field mapping has no key %q", shorten(key.Value))
		}
	})
	if len(m.fields) == 0 {
		r.fail(n, "write fields: {user: agent}", "the mapping names no fields")
	}
	return m
}

// target reads FIELD, or {field: FIELD, values: {theirs: ours}}.
func (r *mappingReader) target(n *yaml.Node) target {
	var t target
	at := n
	if n.Kind == yaml.MappingNode {
		r.entries(n, "a field", func(key, value *yaml.Node) {
			switch key.Value {
			case "field":
				t.field, at = value.Value, value
			case "values":
				t.values = map[string]string{}
				r.entries(value, "values", func(key, value *yaml.Node) { t.values[strings.ToLower(key.Value)] = value.Value })
			default:
				r.fail(key, nearest(key.Value, []string{"field", "values"}), "a field has no key %q", shorten(key.Value))
			}
		})
	} else {
		t.field = n.Value
	}
	if key, ok := strings.CutPrefix(t.field, "context."); (!ok || key == "") && !slices.Contains(fieldsOfCalls, t.field) {
		r.fail(at, nearest(t.field, slices.Concat(fieldsOfCalls, []string{"context.KEY"})), "a call has no field %q", shorten(t.field))
	}
	return t
}

// nearest is a hint: the known word that is nearest to the one written, else all of them.
func nearest(word string, known []string) string {
	if best, _ := detector.Nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known: " + strings.Join(known, ", ")
}

// choose returns the mappings that fit a log source, the closest first; among like ones those of the
// user before the built-in ones.
func choose(mappings []*Mapping, s logsource) []*Mapping {
	var fit []*Mapping
	for _, m := range slices.Concat(mappings, builtin) {
		if m.specific(s) > 0 {
			fit = append(fit, m)
		}
	}
	slices.SortStableFunc(fit, func(a, b *Mapping) int { return cmp.Compare(b.specific(s), a.specific(s)) })
	return fit
}
