package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// schema is as much of JSON Schema as the detectors' schema uses.
type schema struct {
	Ref               string `json:"$ref"`
	Defs              map[string]*schema
	Type              string
	Enum              []string
	Pattern           string
	Items             *schema
	Properties        properties
	PatternProperties map[string]*schema
	Required          []string
	DependentRequired map[string][]string
	OneOf             []*schema
	Minimum, Maximum  *float64
	ExclusiveMinimum  *float64
	Description       string
	Default           any

	// AdditionalProperties is false, or a schema.
	AdditionalProperties json.RawMessage
}

// properties are the keys of a mapping, in the order of the file.
type properties []property

type property struct {
	key string
	*schema
}

// UnmarshalJSON keeps the order, which a map would lose.
func (p *properties) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		made := property{key: fmt.Sprint(key), schema: &schema{}}
		if err := dec.Decode(made.schema); err != nil {
			return err
		}
		*p = append(*p, made)
	}
	return nil
}

func readSchema(data []byte) (*schema, error) {
	var root struct {
		schema
		Defs map[string]*schema `json:"$defs"`
	}
	if err := json.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("cannot read the schema: %w", err)
	}
	root.schema.Defs = root.Defs
	return &root.schema, nil
}

// name is that of the definition which a schema refers to, empty if it does to none.
func (s *schema) name() string { return strings.TrimPrefix(s.Ref, "#/$defs/") }

// needs says which keys must stand beside one.
func (s *schema) needs(key string) string {
	if with := s.DependentRequired[key]; len(with) > 0 {
		return fmt.Sprintf(" It needs `%s` beside it.", strings.Join(with, "`, `"))
	}
	return ""
}

// mappings returns the definitions with keys of their own that a value may be, by name. A match is none: its keys
// are fields.
func (root *schema) mappings(s *schema) []string {
	if name := s.name(); name != "" {
		switch def := root.Defs[name]; {
		case name == "match":
			return nil
		case len(def.Properties) > 0:
			return []string{name}
		default:
			return root.mappings(def)
		}
	}
	var all []string
	for _, part := range append(slices.Clone(s.OneOf), s.Items) {
		if part != nil {
			all = append(all, root.mappings(part)...)
		}
	}
	for _, part := range s.PatternProperties {
		all = append(all, root.mappings(part)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// meaning is the description of a key, or that of what it refers to.
func (root *schema) meaning(s *schema) string {
	if s.Description == "" && s.Ref != "" {
		return root.Defs[s.name()].Description
	}
	return s.Description
}

// kinds are what a reader is told of some definitions in place of their form.
var kinds = map[string]string{
	"duration": "[duration](#units)", "size": "[size](#units)", "match": "[conditions](#match)", "tag": "`namespace.name`", "member": "id or tag", "atLeast": "`>= N`",
	"days": "`mon` or `mon-fri`", "hours": "`HH:MM-HH:MM`", "scalar": "text, number, or true or false", "number": "number, `exactly N`, `at_least N`, `at_most N` or `none`",
	"span": "[duration](#units), or two with `..` between them", "reference": "text",
}

// kind says what a value may be.
func (root *schema) kind(s *schema, sections map[string]string) string {
	if name := s.name(); name != "" {
		if section := sections[name]; section != "" {
			return fmt.Sprintf("[mapping](#%s)", slug(section))
		}
		if kind := kinds[name]; kind != "" {
			return kind
		}
		return root.kind(root.Defs[name], sections)
	}
	switch {
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case len(s.OneOf) > 0:
		return root.choice(s.OneOf, sections)
	case s.Type == "array":
		return "list of " + root.kind(s.Items, sections)
	case s.Type == "object":
		return root.entries(s, sections)
	}
	return s.scalar()
}

// choice says what one of several may be; where the other is a list of the same, that is told in short.
func (root *schema) choice(of []*schema, sections map[string]string) string {
	var all []string
	for i, c := range of {
		kind := root.kind(c, sections)
		if i > 0 && kind == "list of "+all[0] {
			kind = "a list of such"
		}
		if strings.HasPrefix(kind, "list of `") && strings.Contains(kind, "`, `") {
			kind = "a pair of them"
		}
		all = append(all, kind)
	}
	return strings.Join(all, ", or ")
}

// entries says what a mapping holds whose keys the author chooses.
func (root *schema) entries(s *schema, sections map[string]string) string {
	for _, p := range s.PatternProperties {
		return "mapping from names to " + root.kind(p, sections)
	}
	var of schema
	if json.Unmarshal(s.AdditionalProperties, &of) == nil && of.Ref != "" {
		return "mapping from names to " + root.kind(&of, sections)
	}
	return "mapping"
}

func (s *schema) scalar() string {
	kind := map[string]string{"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}[s.Type]
	switch {
	case s.ExclusiveMinimum != nil && s.Maximum != nil:
		kind += fmt.Sprintf(" over %.0f and up to %.0f", *s.ExclusiveMinimum, *s.Maximum)
	case s.Minimum != nil && s.Maximum != nil:
		kind += fmt.Sprintf(" from %.0f to %.0f", *s.Minimum, *s.Maximum)
	case s.Minimum != nil && *s.Minimum > 0:
		kind += fmt.Sprintf(" from %.0f on", *s.Minimum)
	case s.Maximum != nil:
		kind += fmt.Sprintf(" up to %.0f", *s.Maximum)
	}
	return kind
}

// missing says what holds where the key is not there.
func (s *schema) missing(required bool) string {
	switch {
	case required:
		return "must be there"
	case s.Default != nil:
		return fmt.Sprintf("`%v`", s.Default)
	}
	return ""
}
