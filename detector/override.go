package detector

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxOverridden bounds the exceptions of a detector and its overrides, which have those of the detector too.
const maxOverridden = 10_000

// overrideKeys are what a detector may say anew for some tenants.
var overrideKeys = []string{"mode", "severity", "budget", "when", "quiet", "schedule", "response", "escalate", "exceptions"}

// Override is a detector as some tenants have it. It has the ID, the version, the match and the
// baselines of the detector, so what was learned stays whatever is overridden, except where
// its When names other features.
type Override struct {
	*Compiled
	// Tenants holds for the calls of these tenants, and says nothing else of a call.
	Tenants Formula

	holds predicate // on the name of a tenant
}

// OverrideOf returns the index of the override that a tenant has, -1 where it has none. It is the first
// that holds.
func (c *Compiled) OverrideOf(tenant string) int {
	return slices.IndexFunc(c.Overrides, func(o Override) bool { return o.holds(tenant) })
}

// For returns the detector as a tenant has it.
func (c *Compiled) For(tenant string) *Compiled {
	if i := c.OverrideOf(tenant); i >= 0 {
		return c.Overrides[i].Compiled
	}
	return c
}

// override is a checked override.
type override struct {
	*draft
	name    string // as it is written
	tenants *tree
	pattern bool
	added   int  // its exceptions, if it has some of its own
	budget  bool // it has one of its own
}

// overrides reads what holds for some tenants. A tenant's own name goes before a pattern, and of the patterns
// the first in the file.
func (r *reader) overrides(o object, d *draft) {
	v := o.values["tenants"]
	if v == nil {
		return
	}
	for _, e := range r.entries(v, "tenants", "a tenant") {
		if made := r.override(e, o, d); made != nil {
			d.overrides = append(d.overrides, *made)
		}
	}
	slices.SortStableFunc(d.overrides, func(a, b override) int {
		switch {
		case a.pattern == b.pattern:
			return 0
		case b.pattern:
			return -1
		}
		return 1
	})
}

func (r *reader) override(e entry, base object, d *draft) *override {
	made := &override{name: e.key.Value}
	var ok bool
	if made.tenants, made.pattern, ok = r.tenantNames(e); !ok {
		return nil
	}
	const what = "an override"
	o, ok := r.object(e.value, what, overrideKeys)
	if !ok {
		return nil
	}
	if len(e.value.Content) == 0 {
		r.fail(e.value, "take it out", "%s changes nothing for %s", what, shorten(e.key.Value))
		return nil
	}
	v := *d
	v.overrides = nil
	v.Exceptions, v.excuses = slices.Clip(d.Exceptions), slices.Clip(d.excuses) // shared where none is added
	v.features = features{slices.Clone(d.features.list), slices.Clone(d.features.keys)}
	r.choose(o, "severity", severityWords, func(i int) { v.Severity = severityWords[i] })
	if r.choose(o, "mode", modeWords, func(i int) { v.Mode = Mode(i) }); o.values["mode"] != nil && v.Schedule != nil && v.Schedule.anyTime {
		v.Schedule = nil // who says a mode means it outside of the hours too
	}
	if b := o.values["budget"]; b != nil {
		if base.values["baseline"] == nil {
			r.fail(o.keys["budget"], "add baseline: or leave it out", "budget means nothing without a baseline")
		} else {
			r.budget(b, &v)
			made.budget = true
		}
	}
	if w := o.values["when"]; w != nil && base.values["correlation"] != nil {
		r.fail(o.keys["when"], "leave it out", "when means nothing beside a correlation")
	} else if w != nil {
		r.limit(w, &v)
	}
	r.respond(o, base.values["quiet"] != nil, &v)
	if x := o.values["exceptions"]; x != nil {
		r.exceptions(x, &v)
		if made.added = len(v.Exceptions); made.added+d.added() > maxOverridden {
			r.fail(x, "", "with those of the detector, the exceptions of its tenants are more than %d", maxOverridden)
			return nil
		}
	}
	made.draft = &v
	return made
}

// added counts the exceptions of the overrides that have some of their own.
func (d *draft) added() (n int) {
	for _, o := range d.overrides {
		n += o.added
	}
	return n
}

// tenantNames reads for whom an override is. Tenants are told apart by case.
func (r *reader) tenantNames(e entry) (names *tree, patterns, ok bool) {
	before := len(r.errs)
	for _, n := range r.values(e.key, "a tenant") {
		patterns = patterns || strings.ContainsAny(n.Value, `*?`)
	}
	if len(r.errs) > before {
		return nil, false, false
	}
	names = &tree{op: stepAtom, atom: atom{field: FieldTenant}}
	what := &yaml.Node{Kind: yaml.ScalarNode, Value: "a tenant"}
	if ok = (matcher{reader: r}).compile(&names.atom, what, e.key, FieldTenant.String(), modifiers{cased: true}); !ok {
		return nil, false, false
	}
	if excludesNothing("", names.atom.holds) {
		r.fail(e.key, "write it in the detector itself", "%q is every tenant", shorten(e.key.Value))
		return nil, false, false
	}
	return names, patterns, true
}
