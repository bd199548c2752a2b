package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"unicode/utf8"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": number,
	"svg":    func(p Plot) template.HTML { return template.HTML(p.svg()) }, // all text in it is escaped
	"cell":   cell,
	"colour": func(i int) string { return fmt.Sprintf("c%d", i%colours) },
}).Parse(pageHTML))

// shortCell is up to how many letters of a cell stand in one line.
const shortCell = 28

// cell returns the class of a table's cell.
func cell(text string) string {
	_, err := strconv.ParseFloat(text, 64)
	switch {
	case err == nil:
		return "number"
	case utf8.RuneCountInString(text) <= shortCell:
		return "short"
	}
	return "long"
}

// section is what the page shows of one set.
type section struct {
	Set     string
	Figures []Figure
	Details []Figure
	Tables  []Table
	Plots   []Plot
}

// HTML writes the report as one page that needs nothing else: no script, no font, no picture
// from elsewhere.
func (r *Report) HTML(w io.Writer) error {
	var sections []section
	for _, set := range r.sets() {
		s := section{Set: set, Figures: figuresOf(r.Figures, set), Details: detailsOf(r.Figures, set)}
		for _, t := range r.Tables {
			if t.Set == set {
				s.Tables = append(s.Tables, t)
			}
		}
		for _, p := range r.Plots {
			if p.Set == set {
				s.Plots = append(s.Plots, p)
			}
		}
		sections = append(sections, s)
	}
	err := pageTemplate.Execute(w, map[string]any{"Report": r, "Sections": sections, "Commands": r.commands()})
	if err != nil {
		return fmt.Errorf("cannot write report %q as HTML: %w", r.Title, err)
	}
	return nil
}
