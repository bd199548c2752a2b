package detector

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector/catalog"
)

// schema is as much of JSON Schema as schema.json uses.
type schema struct {
	Ref               string             `json:"$ref"`
	Defs              map[string]*schema `json:"$defs"`
	Type              string
	Enum              []string
	Const             string
	Pattern           string
	MinLength         int
	MaxLength         int
	MinItems          int
	MinProperties     int
	Items             *schema
	Properties        map[string]*schema
	PatternProperties map[string]*schema
	// AdditionalProperties is false, or a schema.
	AdditionalProperties json.RawMessage
	Required             []string
	DependentRequired    map[string][]string
	OneOf, AnyOf         []*schema
	If, Then             *schema

	Minimum, Maximum, ExclusiveMinimum *float64

	Schema, ID, Title, Description string
	Default                        any
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	s := &schema{}
	if err := json.Unmarshal(Schema, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaAndLoaderKnowTheSameKeys(t *testing.T) {
	s := readSchema(t)
	for name, want := range map[string][]string{
		"detector": detectorKeys, "baseline": baselineKeys, "warmup": warmupKeys, "response": responseKeys, "escalate": escalateKeys, "correlation": correlationKeys, "combination": conditionKeys, "distinct": distinctKeys,
		"exception": exceptionKeys, "schedule": scheduleKeys, "override": overrideKeys, "test": testKeys, "calls": testCallsKeys, "expect": expectKeys,
	} {
		def := s.Defs[name]
		if def == nil {
			t.Errorf("the schema does not define %s", name)
			continue
		}
		var got []string
		for key := range def.Properties {
			got = append(got, key)
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
			t.Errorf("keys of %s: %s", name, diff)
		}
		if string(def.AdditionalProperties) != "false" {
			t.Errorf("the schema lets %s have further keys", name)
		}
	}
}

func TestSchemaAndLoaderKnowTheSameWords(t *testing.T) {
	s := readSchema(t)
	for _, c := range []struct {
		def, key string
		want     []string
	}{
		{"detector", "severity", severityWords}, {"detector", "mode", modeWords},
		{"detector", "within", withinWords}, {"distinct", "field", signFields}, {"baseline", "season", seasonWords},
		{"response", "action", actionWords[1:]}, {"response", "scope", scopeWords}, {"calls", "outcome", outcomeWords},
		{"override", "severity", severityWords}, {"expect", "mode", modeWords}, {"expect", "response", actionWords[1:]}, {"override", "mode", modeWords}, {"schedule", "outside", modeWords},
	} {
		if diff := cmp.Diff(c.want, s.Defs[c.def].Properties[c.key].Enum); diff != "" {
			t.Errorf("%s: %s", c.key, diff)
		}
	}
	grouping := s.Defs["detector"].Properties["group_by"].OneOf
	if diff := cmp.Diff(entityWords, grouping[0].Enum); diff != "" {
		t.Errorf("group_by: %s", diff)
	}
	pairs := []string{ByAgent.String()}
	for _, e := range partners {
		pairs = append(pairs, e.String())
	}
	if diff := cmp.Diff(pairs, grouping[1].Items.Enum); diff != "" {
		t.Errorf("group_by of a pair: %s", diff)
	}
	if got, want := s.Defs["detector"].Properties["id"].Pattern, idForm.String(); got != want {
		t.Errorf("form of an id %s, want %s", got, want)
	}
	if got, want := s.Defs["tag"].Pattern, tagForm.String(); got != want {
		t.Errorf("form of a tag %s, want %s", got, want)
	}
	if got, want := s.Defs["detector"].Properties["relearn"].Pattern, fmt.Sprintf(`^(%s|context\..+)$`, strings.Join(edgeFields, "|")); got != want {
		t.Errorf("fields to relearn by %s, want %s", got, want)
	}
	day := strings.Join(dayWords, "|")
	if got, want := s.Defs["days"].Pattern, fmt.Sprintf(`^(%s)(-(%s))?$`, day, day); got != want {
		t.Errorf("form of days %s, want %s", got, want)
	}
	for _, key := range []string{"constants", "lists", "conditions"} {
		for form := range s.Defs["detector"].Properties[key].PatternProperties {
			if form != nameForm.String() {
				t.Errorf("form of a name under %s: %s, want %s", key, form, nameForm)
			}
		}
	}
	match := s.Defs["match"].OneOf[1]
	for key := range match.PatternProperties {
		want := fmt.Sprintf(`^(%s|context\.[^|]+)(\|(%s))*$`, strings.Join(matchFields, "|"), strings.Join(modifierWords, "|"))
		if key != want {
			t.Errorf("fields and modifiers %s, want %s", key, want)
		}
	}
	var words []string
	for key := range match.Properties {
		words = append(words, key)
	}
	slices.Sort(words)
	if diff := cmp.Diff(matchWords, words); diff != "" {
		t.Error(diff)
	}
}

func TestTheCatalogueMeetsTheSchema(t *testing.T) {
	s := readSchema(t)
	n := 0
	err := fs.WalkDir(catalog.FS, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(catalog.FS, name)
		if err != nil {
			return err
		}
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			return err
		}
		if err := s.validate(s, doc, name); err != nil {
			t.Error(err)
		}
		n++
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files read: %v", n, err)
	}
}

// What the loader refuses for its shape, the schema refuses too.
func TestTheSchemaRefusesWrongShapes(t *testing.T) {
	s := readSchema(t)
	const learned = "{id: x, title: x"
	const right = learned + ", when: 'count(calls, 1m) > 1'"
	for yamlText, want := range map[string]bool{
		right + "}": true,
		right + ", match: {action|startswith: [a, b], any: [{agent: x}]}}":                                                                  true,
		right + ", response: {action: revoke, scope: agent, for: 15m}}":                                                                     true,
		right + ", response: [{action: throttle, scope: agent, for: 5m}, {action: revoke, scope: agent, for: 1h}], escalate: {within: 1h}}": true,
		right + ", response: [], escalate: {within: 1h}}":                                                                                   false,
		right + ", response: [{action: throttle, scope: agent}], escalate: {within: 1h}}":                                                   false,
		right + ", escalate: {within: 1h}}":                                                                                                 false,
		right + ", response: [{action: throttle, scope: agent, for: 5m}, {action: revoke, scope: agent, for: 1h}], escalate: {after: 1h}}":  false,
		learned + ", correlation: {of: [a-b, attack.t1530], within: 10m, condition: temporal}}":                                             true,
		learned + ", correlation: {of: a, within: 10m, condition: {count: '>= 3'}}}":                                                        true,
		learned + ", correlation: {of: a, within: 10m, condition: {distinct: {field: detector, count: '>= 3'}}}}":                           true,
		learned + ", correlation: {of: a, within: 10m, condition: {distinct: {field: outcome, count: '>= 3'}}}}":                            false,
		learned + ", correlation: {of: a, within: 10m, condition: {count: 3}}}":                                                             false,
		learned + ", correlation: {of: a, within: 10m, condition: never}}":                                                                  false,
		learned + ", correlation: {of: [], within: 10m, condition: temporal}}":                                                              false,
		learned + ", correlation: {of: [a, b], condition: temporal}}":                                                                       false,
		right + ", constants: {users: [a, 7, true], net: 10.0.0.0/8}, match: {agent: $users, context.ip|cidr: $net}}":                       true,
		right + ", constants: {Users: [a]}, match: {agent: $Users}}":                                                                        false,
		right + ", constants: {users: []}, match: {agent: $users}}":                                                                         false,
		right + ", constants: {}}": false,
		right + ", lists: {crown: /etc/passwd}, match: {resource: $crown}}":                                              false,
		right + ", lists: {crown: [a.txt]}, match: {resource: $crown}}":                                                  false,
		right + ", conditions: {exports: {action: a}, of_office: [{agent: b}]}, match: exports and not of_office}":       true,
		right + ", conditions: {exports: {action: a}}}":                                                                  false,
		right + ", conditions: {exports: a}, match: exports}":                                                            false,
		right + ", schedule: {days: [mon-fri, sun], hours: '22:00-06:00', timezone: Europe/Berlin, outside: alert}}":     true,
		right + ", schedule: {days: sat, hours: ['08:00-12:00', '13:00-24:00']}}":                                        true,
		right + ", schedule: {days: weekdays}}":                                                                          false,
		right + ", schedule: {hours: 8-18}}":                                                                             false,
		right + ", schedule: {}}":                                                                                        false,
		right + ", schedule: {hours: '08:00-18:00', outside: never}}":                                                    false,
		right + ", tenants: {acme: {mode: alert, severity: high, quiet: 5m}, 'test-*': {when: 'count(calls, 1m) > 9'}}}": true,
		right + ", tenants: {acme: {exceptions: {match: {agent: a}, reason: x}}}}":                                       true,
		right + ", tenants: {acme: {match: {agent: a}}}}":                                                                false,
		right + ", tenants: {acme: {}}}":                                                                                 false,
		right + ", tenants: {}}":                                                                                         false,
		right + ", references: [https://attack.mitre.org/techniques/T1530/, A paper]}":                                   true,
		right + ", references: A paper}":                                                                                 true,
		right + ", references: []}":                                                                                      false,
		right + ", references: ['']}":                                                                                    false,
		right + ", references: [' ']}":                                                                                   false,
		right + ", references: [{url: x}]}":                                                                              false,
		right + ", titel: x}":                                                                                            false,
		right + ", mode: enforce}":                                                                                       false,
		right + ", match: {}}":                                                                                           false,
		right + ", match: {parent: x, parent|exists: true}}":                                                             true,
		right + ", match: {chain: x}}":                                                                                   false,
		right + ", match: {call|re: x}}":                                                                                 false,
		right + ", within: session}":                                                                                     false,
		right + ", relearn: context.version}":                                                                            false,
		learned + ", baseline: {feature: new(call)}, budget: 1 per 1000 sessions, within: session, relearn: context.version}":    true,
		learned + ", baseline: {feature: new(call)}, budget: 1 per 1000 sessions, within: day}":                                  false,
		learned + ", baseline: {feature: new(call)}, budget: 1 per 1000 agent-days, relearn: session}":                           false,
		learned + ", baseline: {feature: 'count(calls, 1m)', season: hour-of-week, memory: 42d}, budget: 1 per 1000 agent-days}": true,
		learned + ", baseline: {feature: 'count(calls, 1m)', season: weekly}, budget: 1 per 1000 agent-days}":                    false,
		learned + ", baseline: {feature: 'count(calls, 1m)', memory: 42}, budget: 1 per 1000 agent-days}":                        false,
		right + ", match: {acton: x}}":                    false,
		right + ", match: {agent: []}}":                   false,
		right + ", match: {agent: ''}}":                   false,
		right + ", match: {agent|startwith: x}}":          false,
		right + ", quiet: 5}":                             false,
		right + ", budget: 1 per 1000 agent-days}":        false,
		right + ", response: {action: revoke, for: 15m}}": false,
		right + ", exceptions: [{match: {agent: a}}]}":    false,
		right + ", tests: []}":                            false,
		"{id: x, title: x}":                               false,
		"{id: X, title: x, when: y}":                      false,
	} {
		var doc any
		if err := yaml.Unmarshal([]byte(yamlText), &doc); err != nil {
			t.Fatal(err)
		}
		if err := s.validate(s, doc, "x"); (err == nil) != want {
			t.Errorf("%s: schema says %v", yamlText, err)
		}
		_, errs := parse(text{name: "x.yaml", data: []byte(yamlText)})
		if (len(errs) == 0) != want {
			t.Errorf("%s: loader says %v", yamlText, errs)
		}
	}
}

// validate says where a value breaks the schema.
func (s *schema) validate(root *schema, v any, at string) error {
	if s.Ref != "" && s != root || s == root {
		name := strings.TrimPrefix(s.Ref, "#/$defs/")
		if root.Defs[name] == nil {
			return fmt.Errorf("%s: no definition %s", at, s.Ref)
		}
		return root.Defs[name].validate(root, v, at)
	}
	for _, check := range []func(*schema, any, string) error{s.checkType, s.checkObject, s.checkChoices} {
		if err := check(root, v, at); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) checkType(root *schema, v any, at string) error {
	is := map[string]bool{}
	switch v := v.(type) {
	case string:
		is["string"] = true
		if len(v) < s.MinLength || s.MaxLength > 0 && len(v) > s.MaxLength {
			return fmt.Errorf("%s: length of %q", at, v)
		}
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			return fmt.Errorf("%s: %q is not %s", at, v, s.Pattern)
		}
		if s.Enum != nil && !slices.Contains(s.Enum, v) || s.Const != "" && v != s.Const {
			return fmt.Errorf("%s: unknown word %q", at, v)
		}
	case bool:
		is["boolean"] = true
	case int, float64:
		_, whole := v.(int)
		is["number"], is["integer"] = true, whole
		f, _ := v.(float64)
		if whole {
			f = float64(v.(int))
		}
		if s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum || s.ExclusiveMinimum != nil && f <= *s.ExclusiveMinimum {
			return fmt.Errorf("%s: %v is out of bounds", at, f)
		}
	case []any:
		is["array"] = true
		if len(v) < s.MinItems {
			return fmt.Errorf("%s: too few items", at)
		}
		for i, item := range v {
			if s.Items != nil {
				if err := s.Items.validate(root, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	case map[string]any:
		is["object"] = true
	}
	if s.Type != "" && !is[s.Type] {
		return fmt.Errorf("%s: %v is not of type %s", at, v, s.Type)
	}
	return nil
}

func (s *schema) checkObject(root *schema, v any, at string) error {
	o, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	required := s.Required
	for key, value := range o {
		required = append(required, s.DependentRequired[key]...)
		sub := s.Properties[key]
		for pattern, p := range s.PatternProperties {
			if sub == nil && regexp.MustCompile(pattern).MatchString(key) {
				sub = p
			}
		}
		if sub == nil {
			if string(s.AdditionalProperties) == "false" {
				return fmt.Errorf("%s: unknown key %q", at, key)
			}
			continue
		}
		if err := sub.validate(root, value, at+"."+key); err != nil {
			return err
		}
	}
	for _, key := range required {
		if _, ok := o[key]; !ok {
			return fmt.Errorf("%s: no key %q", at, key)
		}
	}
	if len(o) < s.MinProperties {
		return fmt.Errorf("%s: too few keys", at)
	}
	return nil
}

func (s *schema) checkChoices(root *schema, v any, at string) error {
	count := func(choices []*schema) (n int, last error) {
		for _, c := range choices {
			if err := c.validate(root, v, at); err != nil {
				last = err
			} else {
				n++
			}
		}
		return n, last
	}
	if n, last := count(s.OneOf); len(s.OneOf) > 0 && n != 1 {
		return fmt.Errorf("%d of oneOf hold: %w", n, last)
	}
	if n, last := count(s.AnyOf); len(s.AnyOf) > 0 && n == 0 {
		return last
	}
	if s.If != nil && s.If.validate(root, v, at) == nil {
		return s.Then.validate(root, v, at)
	}
	return nil
}

// The reference is made of these.
func TestEveryKeyOfTheSchemaIsDescribedInASentence(t *testing.T) {
	s := readSchema(t)
	for name, def := range s.Defs {
		for key, p := range def.Properties {
			if name == "match" {
				continue // all, any and not are no keys of their own
			}
			text := p.Description
			if ref := s.Defs[strings.TrimPrefix(p.Ref, "#/$defs/")]; text == "" && ref != nil {
				text = ref.Description
			}
			if !regexp.MustCompile(`(?s)^[A-Z0-9].*\.$`).MatchString(text) {
				t.Errorf("%s.%s: %q is no sentence", name, key, text)
			}
		}
	}
}
