package detector

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wrongWith loads a detector with these lines.
func wrongWith(lines string) error {
	_, errs := parse(text{name: "x.yaml", data: []byte("id: x\ntitle: x\n" + lines)})
	return errs.Err()
}

// What people are told of a function is what the compiler does with it.
func TestFunctionsAreWhatTheCompilerTakes(t *testing.T) {
	for i, f := range Functions() {
		t.Run(f.Name, func(t *testing.T) {
			if f.What == "" || !strings.HasSuffix(f.What, ".") || strings.Count(f.Signature, ",") != functions[i].arity()-1 {
				t.Errorf("%+v", f)
			}
			for _, e := range slices.Concat(entityWords, []string{"[agent, resource]"}) {
				name := strings.NewReplacer("[", "", "]", "", ", ", "-").Replace(e)
				err := wrongWith(fmt.Sprintf("group_by: %s\nwhen: %s\n", e, f.Limit))
				fixed := err != nil && strings.Contains(err.Error(), "says nothing")
				if want := f.Groupings == nil || slices.Contains(f.Groupings, name); (err == nil) != want && !fixed {
					t.Errorf("group_by %s: %v, want right: %t", e, err, want)
				}
			}
			grouping := "agent"
			if f.Groupings != nil {
				grouping = f.Groupings[0]
			}
			if err := wrongWith(fmt.Sprintf("group_by: %s\nwhen: %s\n", grouping, f.Limit)); err != nil {
				t.Errorf("its example of a condition: %v", err)
			}
			head := fmt.Sprintf("group_by: %s\nbaseline: {feature: %q%%s}\n", grouping, f.Example)
			days := fmt.Sprintf("budget: 1 per 1000 %s-days\n", grouping)
			const sessions = "within: session\nbudget: 1 per 1000 sessions\n"
			for what, c := range map[string]struct {
				want bool
				text string
			}{
				"baseline": {f.Model != "" && !f.SessionsOnly, fmt.Sprintf(head, "") + days},
				"season":   {f.Season, fmt.Sprintf(head, ", season: hour-of-week") + days},
				"memory":   {f.Memory, fmt.Sprintf(head, ", memory: 42d") + days},
				"sessions": {f.Model != "" && !f.NoSession && grouping == "agent", fmt.Sprintf(head, "") + sessions},
			} {
				if err := wrongWith(c.text); (err == nil) != c.want {
					t.Errorf("%s: %v, want right: %t", what, err, c.want)
				}
			}
			if (f.Instead == "") != (f.Model != "") {
				t.Errorf("model %q, but instead of it %q", f.Model, f.Instead)
			}
		})
	}
}

func TestFunctionsTellUnitsAndArguments(t *testing.T) {
	got := map[string]string{}
	for _, f := range Functions() {
		text := f.Signature
		for _, u := range f.Units {
			text += fmt.Sprintf("; %s is %s", strings.Join(u.Of, ", "), u.What)
		}
		got[f.Name] = text
	}
	for name, want := range map[string]string{
		"count":    "count(MEASURE, WINDOW);  is a plain number",
		"max":      "max(MEASURE, WINDOW); bytes_in, bytes_out is a number of bytes; latency is a time",
		"quantile": "quantile(SHARE, MEASURE, WINDOW); bytes_in, bytes_out is a number of bytes; latency is a time",
		"depth":    "depth(chain);  is a plain number",
		"sequence": "sequence(FIELD);  is a plain number",
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestEveryWordHasAMeaning(t *testing.T) {
	for _, w := range slices.Concat(fields, entities, measures, modifierMeanings, units) {
		if w.Name == "" || w.What == "" {
			t.Errorf("%+v", w)
		}
	}
	for _, u := range units {
		_, duration := durationUnits[u.Name]
		_, size := sizeUnits[u.Name]
		if duration == size {
			t.Errorf("%s: a duration %t, a size %t", u.Name, duration, size)
		}
	}
	if len(units) != len(durationUnits)+len(sizeUnits) {
		t.Errorf("%d units, the compiler knows %d", len(units), len(durationUnits)+len(sizeUnits))
	}
}
