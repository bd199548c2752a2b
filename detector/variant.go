package detector

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Variant is a change to one detector that has not been written into its file: it is for seeing what the
// change would do.
type Variant struct {
	Exceptions string // YAML of a list of exceptions that are added
	Budget     string // in place of the detector's own; empty: that stays. Tenants that have one of their own keep it
}

// With returns a set that holds detector i alone, changed; behind a correlation those that it is made of.
func (s *Set) With(i int, v Variant) (*Set, Errors) {
	r := &reader{file: s.drafts[i].file}
	d := *s.drafts[i]
	d.overrides = slices.Clone(d.overrides)
	r.vary(v, &d, true)
	for i := range d.overrides {
		o := *d.overrides[i].draft
		r.vary(v, &o, !d.overrides[i].budget)
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
