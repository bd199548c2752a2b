package report

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// page is the report as Markdown.
func (r *Report) page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n", r.Title)
	fmt.Fprintf(&b, "Measured %s on %s, %d cores, %d MiB, %s; commit `%s`; seed %d.\n",
		r.Measured.Format("2006-01-02 15:04 MST"), r.Machine.Processor, r.Machine.Cores, r.Machine.MemoryMiB, r.Machine.System, r.Commit, r.Seed)
	fmt.Fprintf(&b, "What each figure means: %s.\n", cmp.Or(r.Manual, "docs/benchmarks.md"))
	for _, set := range r.sets() {
		if set != "" {
			fmt.Fprintf(&b, "\n## %s\n", set)
		}
		r.pageOf(&b, set)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	b.WriteString("\nThe commands, each of which measures its figures again:\n\n")
	for _, command := range r.commands() {
		fmt.Fprintf(&b, "    %s\n", command)
	}
	b.WriteString("\nVersions: ")
	var vs []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		vs = append(vs, name+" "+r.Versions[name])
	}
	b.WriteString(strings.Join(vs, ", ") + ".\n")
	return b.Bytes()
}

// pageOf writes the figures and the tables of one set.
func (r *Report) pageOf(b *bytes.Buffer, set string) {
	if of := figuresOf(r.Figures, set); len(of) > 0 {
		b.WriteString("\n| figure | value | unit | goal | met |\n|---|---:|---|---|---|\n")
		for _, f := range of {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", f.Name, number(f.Value), f.Unit, f.Goal, met(f))
		}
	}
	for _, t := range r.Tables {
		if t.Set != set {
			continue
		}
		fmt.Fprintf(b, "\n%s\n\n| %s |\n|%s\n", t.Title, strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
		for _, row := range t.Rows {
			fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		}
	}
}

// figuresOf returns the figures of a set that people see.
func figuresOf(all []Figure, set string) []Figure {
	return slices.DeleteFunc(slices.Clone(all), func(f Figure) bool { return f.Set != set || f.Detail && f.OK })
}

// detailsOf returns the other ones.
func detailsOf(all []Figure, set string) []Figure {
	return slices.DeleteFunc(slices.Clone(all), func(f Figure) bool { return f.Set != set || !f.Detail || !f.OK })
}

// commands returns the commands of the figures, each once, in order.
func (r *Report) commands() []string {
	var all []string
	for _, f := range r.Figures {
		if !slices.Contains(all, f.Command) {
			all = append(all, f.Command)
		}
	}
	return all
}

func met(f Figure) string {
	switch {
	case f.Goal == Goal{}:
		return ""
	case f.OK:
		return "yes"
	}
	return "**no**"
}

// number writes three digits, and whole numbers in full.
func number(x float64) string {
	if x == math.Trunc(x) || math.Abs(x) >= 1000 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}
