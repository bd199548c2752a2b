package report

import "slices"

// Table shows figures beside one another, for people.
type Table struct {
	Set     string     `json:"set,omitempty"` // what was measured on, as the figures say
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Plot is lines or bars over a plane.
type Plot struct {
	Set   string   `json:"set,omitempty"`
	Title string   `json:"title"`
	X     string   `json:"x"` // labels of the axes
	Y     string   `json:"y"`
	LogX  bool     `json:"log_x,omitempty"`
	Bars  bool     `json:"bars,omitempty"` // draw each point as a bar as wide as the points lie apart
	Lines []Line   `json:"lines"`
	Level *float64 `json:"level,omitempty"` // a horizontal line: what would be right
}

// Line is a named row of points.
type Line struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
}

// AddTable adds a table.
func (r *Report) AddTable(t Table) { r.Tables = append(r.Tables, t) }

// AddPlot adds a plot of those lines that have points. Points that are not finite are left
// out, and lines of many points are thinned out to what can be seen.
func (r *Report) AddPlot(p Plot) {
	var lines []Line
	for _, l := range p.Lines {
		points := slices.DeleteFunc(slices.Clone(l.Points), func(at [2]float64) bool { return !finite(at[0]) || !finite(at[1]) })
		if len(points) > 0 {
			lines = append(lines, Line{l.Name, thin(points)})
		}
	}
	if p.Lines = lines; len(lines) > 0 {
		r.Plots = append(r.Plots, p)
	}
}

// maxPoints of a line are kept: more than a plot has pixels to show.
const maxPoints = 200

// thin keeps the first, the last and evenly spaced points between them.
func thin(points [][2]float64) [][2]float64 {
	n := len(points)
	if n <= maxPoints {
		return points
	}
	kept := make([][2]float64, maxPoints)
	for i := range kept {
		kept[i] = points[i*(n-1)/(maxPoints-1)]
	}
	return kept
}

// sets returns what was measured on, in the order of the report; "" comes first if
// anything has no set.
func (r *Report) sets() []string {
	var all []string
	seen := map[string]bool{}
	add := func(set string) {
		if !seen[set] {
			seen[set] = true
			all = append(all, set)
		}
	}
	for _, f := range r.Figures {
		add(f.Set)
	}
	for _, t := range r.Tables {
		add(t.Set)
	}
	for _, p := range r.Plots {
		add(p.Set)
	}
	return all
}
