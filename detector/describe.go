package detector

import (
	"fmt"
	"slices"
	"strings"
)

// Function is a word that makes a feature, as people are told of it.
type Function struct {
	Name, What string
	Signature  string   // distinct(FIELD, WINDOW)
	Of         []string // what FIELD or MEASURE may be
	Units      []Unit   // of its value
	// Groupings are the entities that it works with; nil: all.
	Groupings []string
	// Model is what its baseline expects; empty where it has none, and Instead says what to write in its place.
	// Section is that of docs/models.md which tells of it; empty where none does.
	Model, Instead, Section string
	// What goes with its baseline: season, memory, and whether it is for sessions alone or never for them.
	Season, Memory          bool
	SessionsOnly, NoSession bool
	// Example is the feature, Limit a condition over it.
	Example, Limit string
}

// Unit is what a function's value is measured in, for some of its measures; for all where there are none.
type Unit struct {
	Of   []string
	What string
}

// The bounds of a feature's window, as they are written.
var (
	LeastWindow = formatDuration(minWindow)
	MostWindow  = formatDuration(maxWindow)
)

// Functions are the words that make features.
func Functions() []Function {
	var all []Function
	for i := range functions {
		all = append(all, functions[i].describe())
	}
	return all
}

func (f *function) describe() Function {
	d := Function{Name: f.name, What: f.what, Model: f.model, Section: f.section, Example: f.example, Limit: f.limit, Signature: f.signature(), Of: f.measures, Units: f.units()}
	if f.measures == nil {
		d.Of = slices.Clone(f.fields)
		if f.context {
			d.Of = append(d.Of, contextPrefix+"KEY")
		}
	}
	for _, e := range f.groupings {
		d.Groupings = append(d.Groupings, e.String())
	}
	made := Feature{Kind: f.kind, Window: minWindow}
	if f.measures != nil {
		made.Measure = measureOf(f.measures[0])
	}
	if f.model == "" {
		d.Instead = f.instead()
		return d
	}
	d.Season, d.Memory = made.seasonal(), made.windowed()
	d.SessionsOnly, d.NoSession = f.kind == KindSequence, made.slotted()
	return d
}

// signature is how a call of the function is written, with names in place of its arguments.
func (f *function) signature() string {
	arg := "FIELD"
	if f.measures != nil {
		arg = "MEASURE"
	}
	if len(f.measures)+len(f.fields) == 1 {
		arg = slices.Concat(f.measures, f.fields)[0]
	}
	args := []string{arg, "WINDOW"}
	switch {
	case f.kind == KindQuantile:
		args = slices.Insert(args, 0, "SHARE")
	case f.arity() == 1:
		args = args[:1]
	}
	return fmt.Sprintf("%s(%s)", f.name, strings.Join(args, ", "))
}

// units are those of its measures, which the compiler holds conditions to.
func (f *function) units() []Unit {
	if f.measures == nil {
		return []Unit{{What: (dimension{}).String()}}
	}
	var all []Unit
	for _, m := range f.measures {
		what := Feature{Kind: f.kind, Measure: measureOf(m)}.dimension().String()
		if i := slices.IndexFunc(all, func(u Unit) bool { return u.What == what }); i >= 0 {
			all[i].Of = append(all[i].Of, m)
			continue
		}
		all = append(all, Unit{Of: []string{m}, What: what})
	}
	if len(all) == 1 {
		all[0].Of = nil
	}
	return all
}

// instead is what an error says to write where the function has no baseline.
func (f *function) instead() string {
	_, errs := parse(text{name: "x.yaml", data: fmt.Appendf(nil, "id: x\ntitle: x\nbudget: 1 per 1000 agent-days\nbaseline: {feature: %q}\n", f.example)})
	if len(errs) == 0 {
		return ""
	}
	return errs[0].Hint
}

func measureOf(word string) Measure { return Measure(slices.Index(measureWords, word)) }
