package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// The size of a plot, and of the margins around its plane, in pixels.
const (
	plotWidth, plotHeight = 640.0, 340.0
	left, right           = 62.0, 16.0
	top, bottom           = 14.0, 48.0
)

// colours is how many colours the page's style names c0, c1, …
const colours = 8

// plane turns values into pixels.
type plane struct {
	x, y axis
	logX bool
}

type axis struct{ min, max float64 }

func (a axis) share(v float64) float64 {
	if a.max == a.min {
		return 0.5
	}
	return (v - a.min) / (a.max - a.min)
}

func (p plane) px(x float64) float64 {
	if p.logX {
		x = math.Log10(x)
	}
	return left + p.x.share(x)*(plotWidth-left-right)
}

func (p plane) py(y float64) float64 {
	return plotHeight - bottom - p.y.share(y)*(plotHeight-top-bottom)
}

// planeOf returns a plane that holds all points of a plot.
func (t *Plot) planeOf() plane {
	p := plane{logX: t.LogX}
	nothing := axis{math.Inf(1), math.Inf(-1)}
	x, y := nothing, nothing
	for _, l := range t.Lines {
		for _, at := range l.Points {
			if v := at[0]; t.LogX && v > 0 {
				x = x.with(math.Log10(v))
			} else if !t.LogX {
				x = x.with(v)
			}
			y = y.with(at[1])
		}
	}
	if t.Bars {
		x, y = axis{x.min, x.max + t.step()}, y.with(0)
	}
	if t.Level != nil {
		y = y.with(*t.Level)
	}
	if x.min > x.max {
		x = axis{0, 1}
	}
	if y.min > y.max {
		y = axis{0, 1}
	}
	if t.LogX {
		x = axis{math.Floor(x.min), math.Ceil(x.max)}
	}
	p.x, p.y = x, y.rounded()
	return p
}

func (a axis) with(v float64) axis { return axis{min(a.min, v), max(a.max, v)} }

// rounded widens an axis to its ticks.
func (a axis) rounded() axis {
	step := tickStep(a.max - a.min)
	return axis{math.Floor(a.min/step) * step, math.Ceil(a.max/step) * step}
}

// tickStep returns 1, 2 or 5 times a power of ten, such that a span has about five ticks.
func tickStep(span float64) float64 {
	if !(span > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, n := range []float64{1, 2, 5} {
		if span/(n*power) <= 6 {
			return n * power
		}
	}
	return 10 * power
}

// ticks returns the values that an axis names.
func (a axis) ticks() []float64 {
	step := tickStep(a.max - a.min)
	var all []float64
	for i := math.Ceil(a.min/step - 1e-9); i*step <= a.max+step*1e-9; i++ {
		all = append(all, i*step)
	}
	return all
}

// step is how far the points of bars lie apart.
func (t *Plot) step() float64 {
	if len(t.Lines) == 0 || len(t.Lines[0].Points) < 2 {
		return 1
	}
	return t.Lines[0].Points[1][0] - t.Lines[0].Points[0][0]
}

// svg draws the plot; its colours are the page's.
func (t *Plot) svg() string {
	p := t.planeOf()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, plotHeight, html.EscapeString(t.Title))
	t.grid(&b, p)
	for i, l := range t.Lines {
		if t.Bars {
			t.bars(&b, p, l, i)
		} else {
			t.line(&b, p, l, i)
		}
	}
	if t.Level != nil {
		fmt.Fprintf(&b, `<line class="level" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1[3]f"/>`, left, plotWidth-right, p.py(*t.Level))
	}
	b.WriteString("</svg>")
	return b.String()
}

func (t *Plot) grid(b *strings.Builder, p plane) {
	for _, v := range p.y.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1[3]f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			left, plotWidth-right, p.py(v), left-6, p.py(v)+4, tick(v))
	}
	for _, v := range p.x.ticks() {
		label, at := tick(v), v
		if p.logX {
			if v != math.Trunc(v) {
				continue
			}
			at = math.Pow(10, v)
			label = tick(at)
		}
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1[1]f" y1="%.1f" y2="%.1f"/><text class="tick" x="%.1[1]f" y="%.1[4]f" text-anchor="middle">%[5]s</text>`,
			p.px(at), top, plotHeight-bottom, plotHeight-bottom+16, label)
	}
	fmt.Fprintf(b, `<text class="axis" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (left+plotWidth-right)/2, plotHeight-10, html.EscapeString(t.X))
	fmt.Fprintf(b, `<text class="axis" transform="translate(14 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (top+plotHeight-bottom)/2, html.EscapeString(t.Y))
}

func (t *Plot) line(b *strings.Builder, p plane, l Line, i int) {
	var path strings.Builder
	for _, at := range l.Points {
		if t.LogX && at[0] <= 0 {
			continue
		}
		fmt.Fprintf(&path, "%.1f,%.1f ", p.px(at[0]), p.py(at[1]))
	}
	fmt.Fprintf(b, `<polyline class="c%d" points="%s"><title>%s</title></polyline>`, i%colours, strings.TrimSpace(path.String()), html.EscapeString(l.Name))
}

func (t *Plot) bars(b *strings.Builder, p plane, l Line, i int) {
	width := t.step() / float64(len(t.Lines))
	for _, at := range l.Points {
		x := at[0] + float64(i)*width
		y := p.py(at[1])
		fmt.Fprintf(b, `<rect class="c%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %s</title></rect>`,
			i%colours, p.px(x)+0.5, y, max(p.px(x+width)-p.px(x)-1, 0.5), max(p.py(0)-y, 0), html.EscapeString(l.Name), tick(at[1]))
	}
}

// tick writes a number short.
func tick(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
