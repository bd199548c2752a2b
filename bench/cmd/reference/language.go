package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/estop-project/estop/detector"
)

// match writes what a match is made of.
func match(b *bytes.Buffer) error {
	fmt.Fprint(b, "\n## Match\n\nA match is a mapping of `field: value` or `field|modifier: value`, all of which must hold, or a list of such, one of which must. "+
		"`all: [...]` and `any: [...]` say it in words, `not:` is the opposite. Of several values one must hold. A value is compared as a whole and without regard to case; `*` stands for any characters and `?` for one.\n")
	if err := example(b, "match"); err != nil {
		return err
	}
	fmt.Fprint(b, "\n### Fields of a call\n\n")
	table(b, "field", append(detector.MatchFields(), detector.Word{Name: "context.KEY", What: "an entry of the call's context; where there is none no condition holds"}))
	fmt.Fprint(b, "\n### Modifiers\n\nSeveral may follow one another: `action|contains|not`.\n\n")
	table(b, "modifier", detector.Modifiers())
	return nil
}

// features writes a section for each function.
func features(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Features\n\nA feature is a number for each entity. `baseline` learns what is usual of it, and `when` compares it: a condition is made of features, numbers with or without [units](#units), `$constants`, "+
		"`+ - * /`, `< <= > >= == !=`, `and`, `or`, `not` and parentheses. Numbers of bytes go with bytes and times with times; a number without a unit goes with everything. "+
		"A WINDOW is whole seconds from `%s` to `%s`, before the latest call of the entity. No feature takes the field that the detector groups by.\n\n", detector.LeastWindow, detector.MostWindow)
	fmt.Fprint(b, "| feature | may be a baseline |\n|---|---|\n")
	all := detector.Functions()
	for _, f := range all {
		baseline := "no"
		if f.Model != "" {
			baseline = "yes"
		}
		fmt.Fprintf(b, "| [`%s`](#%s) | %s |\n", f.Signature, f.Name, baseline)
	}
	fmt.Fprint(b, "\nWhat a MEASURE is:\n\n")
	table(b, "measure", detector.Measures())
	fmt.Fprint(b, "\nA FIELD is one of [those of a call](#fields-of-a-call), or one of these:\n\n")
	table(b, "field", detector.FeatureFields())
	for _, f := range all {
		section(b, f)
	}
}

func section(b *bytes.Buffer, f detector.Function) {
	fmt.Fprintf(b, "\n### %s\n\n`%s`: %s\n\n", f.Name, f.Signature, f.What)
	what := "FIELD"
	if strings.Contains(f.Signature, "MEASURE") {
		what = "MEASURE"
	}
	if len(f.Of) > 1 {
		fmt.Fprintf(b, "- %s: %s.\n", what, code(f.Of))
	}
	var units []string
	for _, u := range f.Units {
		text := u.What
		if len(u.Of) > 0 {
			text += " for " + code(u.Of)
		}
		units = append(units, text)
	}
	fmt.Fprintf(b, "- It is %s.\n", strings.Join(units, ", "))
	if f.Groupings != nil {
		fmt.Fprintf(b, "- It goes with `group_by: %s` alone.\n", strings.Join(f.Groupings, "`, `"))
	}
	fmt.Fprintf(b, "- As a limit: `when: %s`.", f.Limit)
	if f.Model == "" && f.Section != "" {
		fmt.Fprintf(b, " [How it is computed](models.md#%s).", f.Section)
	}
	fmt.Fprint(b, "\n- As a baseline: ")
	if f.Model == "" {
		fmt.Fprintf(b, "none; write `%s` in its place.\n", strings.TrimPrefix(f.Instead, "use it in when:, or write "))
		return
	}
	fmt.Fprintf(b, "`feature: %s`. It expects [%s](models.md#%s).", f.Example, f.Model, f.Section)
	if f.Memory {
		fmt.Fprint(b, " The WINDOW is the `slot`, and `memory` goes with it.")
	}
	if f.Season {
		fmt.Fprint(b, " So does `season`.")
	}
	switch {
	case f.SessionsOnly:
		fmt.Fprint(b, " It needs `within: session`.")
	case f.NoSession:
		fmt.Fprint(b, " It does not go with `within: session`.")
	}
	fmt.Fprint(b, "\n")
}

// groupings writes what a detector can group by.
func groupings(b *bytes.Buffer) {
	words(b, "Groupings", "`group_by` says of whom there is a count, a baseline and a detection.", "entity", detector.EntityWords())
	fmt.Fprintf(b, "\nA pair is the agent and one of %s, as in `[agent, resource]`.\n", code(detector.Partners()))
}

func code(all []string) string { return "`" + strings.Join(all, "`, `") + "`" }
