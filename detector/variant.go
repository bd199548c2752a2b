package detector

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Variant is a change to one detector that has not been written into its file: it is for seeing what the
// change would do.
type Variant struct {
	Exceptions string // YAML of a list of exceptions that are added
	Budget     string // in place of the detector's own; empty: that stays. Tenants that have one of their own keep it
	// Without is an exception that is left out; nil: none.
	Without *PlacedException
}

// PlacedException is an exception and where it stands in its detector.
type PlacedException struct {
	Exception
	Where string // exceptions[0], or tenants.acme.exceptions[0]

	override int // that has it; -1: the detector itself
	index    int // among all exceptions there
}

// Exceptions returns those of detector i, and then those that only some tenants have.
func (s *Set) Exceptions(i int) []PlacedException {
	d := s.drafts[i]
	own := len(d.Exceptions)
	var all []PlacedException
	for k, x := range d.Exceptions {
		all = append(all, PlacedException{x, fmt.Sprintf("exceptions[%d]", k), -1, k})
	}
	for o := range d.overrides {
		for k, x := range d.overrides[o].Exceptions[own:] {
			all = append(all, PlacedException{x, fmt.Sprintf("tenants.%s.exceptions[%d]", d.overrides[o].name, k), o, own + k})
		}
	}
	return all
}

// With returns a set that holds detector i alone, changed; behind a correlation those that it is made of.
func (s *Set) With(i int, v Variant) (*Set, Errors) {
	r := &reader{file: s.drafts[i].file}
	d := *s.drafts[i]
	d.overrides = slices.Clone(d.overrides)
	r.vary(v, &d, true)
	v.leaveOut(&d, -1)
	for i := range d.overrides {
		o := *d.overrides[i].draft
		r.vary(v, &o, !d.overrides[i].budget)
		v.leaveOut(&o, i)
		d.overrides[i].draft = &o
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	set := &Set{Sources: []Source{s.Sources[i]}, drafts: []*draft{&d}}
	if c := s.Plan.Detectors[i].Correlation; c != nil {
		for j := range s.drafts {
			if c.Members(j) != 0 {
				set.Sources, set.drafts = append(set.Sources, s.Sources[j]), append(set.drafts, s.drafts[j])
			}
		}
	}
	set.Plan = link(set.drafts)
	return set, nil
}

// vary changes a draft as if the change stood in the detector itself, whose budget holds for it or not.
func (r *reader) vary(v Variant, d *draft, budget bool) {
	r.excuse(v.Exceptions, d)
	if n := r.fragment(v.Budget); n != nil && budget {
		r.budget(n, d)
	}
}

// leaveOut takes the exception out of the detector, or of an override, if it is there: an override has those of the
// detector too. The slices are its own since vary.
func (v Variant) leaveOut(d *draft, override int) {
	if x := v.Without; x != nil && (x.override == -1 || x.override == override) {
		d.Exceptions, d.excuses = slices.Delete(d.Exceptions, x.index, x.index+1), slices.Delete(d.excuses, x.index, x.index+1)
	}
}

// excuse adds exceptions to a draft.
func (r *reader) excuse(exceptions string, d *draft) {
	d.Exceptions, d.excuses = slices.Clone(d.Exceptions), slices.Clone(d.excuses)
	if n := r.fragment(exceptions); n != nil {
		r.exceptions(n, d)
	}
}

// fragment reads a piece of YAML; nil where there is none, or it cannot be read.
func (r *reader) fragment(text string) *yaml.Node {
	if text == "" {
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		r.failAt(1, 1, "", "cannot be read: %v", err)
		return nil
	}
	return doc.Content[0]
}
