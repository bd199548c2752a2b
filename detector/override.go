package detector

import (
	"slices"
	"strings"
)

// overrideKeys are what a detector may say anew for some tenants.
var overrideKeys = []string{"mode", "severity", "budget", "when", "quiet", "schedule", "response", "exceptions"}

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
	tenants *tree
	pattern bool
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
	made := &override{}
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
	v.Exceptions, v.excuses = slices.Clone(d.Exceptions), slices.Clone(d.excuses)
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
		}
	}
	if w := o.values["when"]; w != nil {
		r.limit(w, &v)
	}
	r.respond(o, base.values["quiet"] != nil, &v)
	if x := o.values["exceptions"]; x != nil {
		r.exceptions(x, &v)
	}
	made.draft = &v
	return made
}

// tenantNames reads for whom an override is. Tenants are told apart by case.
func (r *reader) tenantNames(e entry) (names *tree, patterns, ok bool) {
	before := len(r.errs)
	var texts []string
	var tests []predicate
	for _, n := range r.values(e.key, "a tenant") {
		text, ok := r.text(n, "a tenant")
		if !ok {
			continue
		}
		holds := pattern("", text, "", true)
		if excludesNothing("", holds) {
			r.fail(n, "write it in the detector itself", "%q is every tenant", text)
		}
		texts, tests = append(texts, text), append(tests, holds)
		patterns = patterns || strings.ContainsAny(text, `*?`)
	}
	if len(r.errs) > before {
		return nil, false, false
	}
	mods := modifiers{cased: true}
	return &tree{op: stepAtom, atom: atom{
		field: FieldTenant, name: canonical("tenant||true|false", slices.Clone(texts)), label: mods.label("tenant", true, texts),
		holds: combine(tests, false, true),
	}}, patterns, true
}
