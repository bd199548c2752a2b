package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Style paints words for a terminal; a nil func leaves them as they are.
type Style struct {
	Good, Bad, Faint, Head func(...any) string
}

func paint(f func(...any) string, s string) string {
	if f == nil {
		return s
	}
	return f(s)
}

// Text writes figures, tables and notes for people.
func (r *Report) Text(w io.Writer, style Style) error {
	var b strings.Builder
	for _, set := range r.sets() {
		if set != "" {
			fmt.Fprintf(&b, "\n%s\n", paint(style.Head, set))
		}
		for _, f := range figuresOf(r.Figures, set) {
			fmt.Fprintf(&b, "  %s %s %-20s %s", verdict(f, style), pad(number(f.Value), 9), f.Unit, f.Name)
			if goal := f.Goal.String(); goal != "" {
				b.WriteString(paint(style.Faint, " ("+goal+")"))
			}
			b.WriteByte('\n')
		}
		for _, t := range r.Tables {
			if t.Set == set {
				t.text(&b, style)
			}
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", paint(style.Faint, note))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(f Figure, style Style) string {
	switch {
	case f.Goal == Goal{}:
		return "      "
	case f.OK:
		return paint(style.Good, "ok    ")
	}
	return paint(style.Bad, "missed")
}

// text writes a table in columns as wide as what stands in them.
func (t *Table) text(b *strings.Builder, style Style) {
	widths := make([]int, len(t.Columns))
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for i, cell := range row {
			if i < len(widths) {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	line := func(row []string) string {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = cell; i < len(widths) {
				cells[i] += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			}
		}
		return "    " + strings.TrimRight(strings.Join(cells, "  "), " ") + "\n"
	}
	fmt.Fprintf(b, "\n  %s\n", t.Title)
	b.WriteString(paint(style.Faint, line(t.Columns)))
	for _, row := range t.Rows {
		b.WriteString(line(row))
	}
}

func pad(s string, n int) string {
	return strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) + s
}
