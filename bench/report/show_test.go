package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func shown() *Report {
	r := sample()
	r.Add(Figure{Set: "fleet", Name: "recall", Value: 0.5, Unit: "share", Goal: AtLeast(0.9), Command: "estop eval fleet"})
	r.AddTable(Table{Set: "fleet", Title: "attacks", Columns: []string{"kind", "found"}, Rows: [][]string{{"loop", "3 of 3"}, {"<script>", "0 of 3"}}})
	half := 0.5
	r.AddPlot(Plot{Set: "fleet", Title: "a < b", X: "recall", Y: "precision", Level: &half,
		Lines: []Line{{Name: "ours & theirs", Points: [][2]float64{{0, 1}, {1, 0.25}}}}})
	r.AddPlot(Plot{Set: "darpa", Title: "p-values", X: "p", Y: "share", Bars: true, Lines: []Line{{Name: "p", Points: [][2]float64{{0, .5}, {.5, .5}}}}})
	return r
}

func TestTextShowsEachSetAndWhatWasMissed(t *testing.T) {
	var b bytes.Buffer
	style := Style{Bad: func(a ...any) string { return "!" + a[0].(string) }}
	if err := shown().Text(&b, style); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fleet\n", "!missed       0.5 share", "(at least 0.9)", "    kind      found\n    loop      3 of 3\n", "1 was left out"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, b.String())
		}
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	if err := shown().HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if m := regexp.MustCompile(`(?i)<script|\bsrc=|<link|@import|url\(|https?:`).FindString(page); m != "" {
		t.Errorf("the page has %q", m)
	}
	for _, want := range []string{"prefers-color-scheme: dark", "&lt;script&gt;", "a &lt; b", "ours &amp; theirs", `<span class="no">no</span>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestPlotsAreWellFormedAndInsideTheirFrame(t *testing.T) {
	numbers := regexp.MustCompile(`points="([^"]*)"`)
	for _, p := range append(shown().Plots, Plot{Title: "one point", Lines: []Line{{Points: [][2]float64{{3, 3}}}}},
		Plot{Title: "log", LogX: true, Lines: []Line{{Points: [][2]float64{{0, 1}, {1e-3, 2}, {1e4, -3}}}}}) {
		svg := p.svg()
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", p.Title, err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "%!") {
			t.Errorf("%s: %s", p.Title, svg)
		}
		for _, m := range numbers.FindAllStringSubmatch(svg, -1) {
			for _, at := range strings.Fields(m[1]) {
				var x, y float64
				if _, err := fmt.Sscanf(at, "%f,%f", &x, &y); err != nil || x < left-1 || x > plotWidth-right+1 || y < top-1 || y > plotHeight-bottom+1 {
					t.Errorf("%s: the point %s is outside", p.Title, at)
				}
			}
		}
	}
}

func TestWhatIsNoNumberIsNoFigure(t *testing.T) {
	r := sample()
	n := len(r.Figures)
	r.Add(Figure{Name: "AUC of nothing", Value: math.NaN()})
	r.AddPlot(Plot{Lines: []Line{{Points: [][2]float64{{math.NaN(), 1}, {1, math.Inf(1)}}}}})
	if len(r.Figures) != n || len(r.Plots) != 0 || !slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, "AUC of nothing") }) {
		t.Errorf("%v %v %v", r.Figures[n:], r.Plots, r.Notes)
	}
	if err := r.Write(t.TempDir(), "x"); err != nil {
		t.Error(err)
	}
}

func TestThinnedLinesKeepTheirEnds(t *testing.T) {
	var points [][2]float64
	for i := range 1000 {
		points = append(points, [2]float64{float64(i), 1})
	}
	got := thin(points)
	if len(got) != maxPoints || got[0] != points[0] || got[maxPoints-1] != points[999] {
		t.Errorf("%d points from %v to %v", len(got), got[0], got[len(got)-1])
	}
}

func TestTicksAreRoundNumbersInsideTheAxis(t *testing.T) {
	for _, a := range []axis{{0, 1}, {0, 7}, {-3, 12}, {0, 0.0013}, {100, 100}} {
		a = a.rounded()
		all := a.ticks()
		if len(all) < 1 || len(all) > 9 || all[0] < a.min-1e-9 || all[len(all)-1] > a.max+1e-9 {
			t.Errorf("%v: %v", a, all)
		}
	}
}
