package detector

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// limit warns of a hard limit that is never true or always. It works on ranges: what each feature
// can be, and what the operations make of that.
func (l *linter) limit() {
	if l.detector.When == nil {
		return
	}
	a := analysis{features: l.detector.Features}
	top := a.run(l.detector.When)
	n := l.values["when"]
	for _, r := range a.remarks {
		l.warn(n, "dead-limit", r.hint, "%s", r.text)
	}
	if len(a.remarks) > 0 {
		return
	}
	switch top.truth {
	case never:
		l.warn(n, "dead-limit", "change a bound", "the limit is never true: its parts exclude each other")
	case always:
		l.warn(n, "dead-limit", "change a bound", "the limit is true at every call")
	}
}

// interval is what a number can be, both ends included.
type interval struct{ low, high float64 }

var anything = interval{math.Inf(-1), math.Inf(1)}

// values returns what a feature can be at a call. The call itself counts.
func (f Feature) values() interval {
	switch f.Kind {
	case KindNew:
		return interval{0, 1}
	case KindDepth:
		return interval{1, math.Inf(1)}
	case KindCount:
		if f.Measure == MeasureCalls {
			return interval{1, math.Inf(1)}
		}
	case KindRate:
		if f.Measure == MeasureCalls {
			return interval{1 / f.Window.Seconds(), math.Inf(1)}
		}
	}
	return interval{0, math.Inf(1)}
}

// truths of a condition.
type truths uint8

const (
	sometimes truths = iota
	never
	always
)

// operand is what is known of a number or of a condition in the midst of a program.
type operand struct {
	text    string
	binds   int // how strongly the text's last operation binds
	numbers interval
	truth   truths
	feature int // its index where the operand is a feature, else -1
	// Comparisons of one feature with one number that must all hold, or of which one must.
	all, any []bound
}

// bound is a feature's range under a comparison.
type bound struct {
	feature int
	in      interval
	text    string
}

type remark struct{ text, hint string }

// analysis runs a program on ranges.
type analysis struct {
	features []Feature
	remarks  []remark
}

func (a *analysis) run(p *Program) operand {
	var stack []operand
	for _, in := range p.code {
		switch in.op {
		case opLoad:
			f := a.features[in.index]
			stack = append(stack, operand{text: f.Name, binds: 9, numbers: f.values(), feature: int(in.index)})
		case opNumber:
			stack = append(stack, operand{text: number64(in.value), binds: 9, numbers: interval{in.value, in.value}, feature: -1})
		case opNegate:
			v := stack[len(stack)-1]
			stack[len(stack)-1] = operand{text: "-" + v.in(8), binds: 8, numbers: interval{-v.numbers.high, -v.numbers.low}, feature: -1}
		case opNot:
			v := stack[len(stack)-1]
			stack[len(stack)-1] = operand{text: "not " + v.in(8), binds: 8, truth: [...]truths{sometimes, always, never}[v.truth], feature: -1}
		default:
			x, y := stack[len(stack)-2], stack[len(stack)-1]
			stack = append(stack[:len(stack)-2], a.binary(in.op, x, y))
		}
	}
	return stack[0]
}

func number64(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// in returns the text as an operand of what binds so strongly.
func (v operand) in(binds int) string {
	if v.binds < binds {
		return "(" + v.text + ")"
	}
	return v.text
}

// signs are the operators as they are written, and how strongly they bind.
var signs = map[opcode]struct {
	text  string
	binds int
}{
	opAdd: {"+", 5}, opSub: {"-", 5}, opMul: {"*", 6}, opDiv: {"/", 6},
	opLess: {"<", 4}, opLessEqual: {"<=", 4}, opGreater: {">", 4}, opGreaterEqual: {">=", 4}, opEqual: {"==", 4}, opNotEqual: {"!=", 4},
	opAnd: {"and", 2}, opOr: {"or", 1},
}

func (a *analysis) binary(op opcode, x, y operand) operand {
	sign := signs[op]
	v := operand{text: x.in(sign.binds) + " " + sign.text + " " + y.in(sign.binds+1), binds: sign.binds, feature: -1}
	switch op {
	case opAdd:
		v.numbers = interval{x.numbers.low + y.numbers.low, x.numbers.high + y.numbers.high}
	case opSub:
		v.numbers = interval{x.numbers.low - y.numbers.high, x.numbers.high - y.numbers.low}
	case opMul:
		v.numbers = hull(x.numbers, y.numbers, func(a, b float64) float64 { return a * b })
	case opDiv:
		v.numbers = a.quotient(x, y)
	case opAnd:
		a.and(&v, x, y)
	case opOr:
		a.or(&v, x, y)
	default:
		a.compare(&v, op, x, y)
	}
	if math.IsNaN(v.numbers.low) || math.IsNaN(v.numbers.high) {
		v.numbers = anything
	}
	return v
}

// hull is what an operation can give that is monotonic in each operand; zero times infinity is zero.
func hull(x, y interval, op func(a, b float64) float64) interval {
	out := interval{math.Inf(1), math.Inf(-1)}
	for _, a := range []float64{x.low, x.high} {
		for _, b := range []float64{y.low, y.high} {
			r := op(a, b)
			if math.IsNaN(r) {
				r = 0
			}
			out.low, out.high = min(out.low, r), max(out.high, r)
		}
	}
	return out
}

// quotient is what x/y can be where y is not 0: then it is unknown. A share of calls is 1 at most.
func (a *analysis) quotient(x, y operand) interval {
	if x.feature >= 0 && y.feature >= 0 && isShare(a.features[x.feature], a.features[y.feature]) {
		return interval{0, 1}
	}
	switch d := y.numbers; {
	case d.low > 0 || d.high < 0:
		return hull(x.numbers, d, func(a, b float64) float64 { return a / b })
	case d.low == 0 && x.numbers.low >= 0:
		return interval{x.numbers.low / max(d.high, math.SmallestNonzeroFloat64), math.Inf(1)}
	}
	return anything
}

// isShare says whether f counts some of the calls that of counts all of.
func isShare(f, of Feature) bool {
	counts := f.Kind == KindCount || f.Kind == KindRate
	return counts && f.Kind == of.Kind && f.Window == of.Window && of.Measure == MeasureCalls && f.Measure <= MeasureDenied
}

func (a *analysis) compare(v *operand, op opcode, x, y operand) {
	p, q := x.numbers, y.numbers
	switch op {
	case opGreater, opGreaterEqual:
		p, q = q, p
	}
	switch op {
	case opLess, opGreater:
		v.truth = judge(p.high < q.low, p.low >= q.high)
	case opLessEqual, opGreaterEqual:
		v.truth = judge(p.high <= q.low, p.low > q.high)
	case opEqual, opNotEqual:
		apart := p.high < q.low || q.high < p.low
		same := p.low == p.high && p == q
		v.truth = judge(same, apart)
		if op == opNotEqual {
			v.truth = judge(apart, same)
		}
	}
	if v.truth != sometimes {
		a.decided(v, x, y)
		return
	}
	if b, ok := bounded(op, x, y); ok {
		b.text = v.text
		v.all, v.any = []bound{b}, []bound{b}
	}
}

func judge(holds, fails bool) truths {
	switch {
	case holds:
		return always
	case fails:
		return never
	}
	return sometimes
}

// decided remarks a comparison that says the same at every call.
func (a *analysis) decided(v *operand, x, y operand) {
	subject := x
	if x.numbers.low == x.numbers.high {
		subject = y
	}
	what := "never true"
	if v.truth == always {
		what = "always true"
	}
	a.remarks = append(a.remarks, remark{fmt.Sprintf("%s is %s: %s is %s", v.text, what, subject.text, subject.numbers), "change the bound"})
}

// String says an interval in words.
func (i interval) String() string {
	switch {
	case i.low == i.high:
		return "always " + number64(i.low)
	case math.IsInf(i.low, -1) && math.IsInf(i.high, 1):
		return "any number"
	case math.IsInf(i.high, 1):
		return number64(i.low) + " or more"
	case math.IsInf(i.low, -1):
		return number64(i.high) + " or less"
	}
	return "from " + number64(i.low) + " to " + number64(i.high)
}

// bounded returns what a comparison of a feature with a number leaves of the feature's range.
func bounded(op opcode, x, y operand) (bound, bool) {
	turned := map[opcode]opcode{opLess: opGreater, opGreater: opLess, opLessEqual: opGreaterEqual, opGreaterEqual: opLessEqual, opEqual: opEqual}
	if x.feature < 0 {
		x, y = y, x
		op = turned[op]
	}
	if x.feature < 0 || y.numbers.low != y.numbers.high {
		return bound{}, false
	}
	at := y.numbers.low
	in := x.numbers
	switch op {
	case opLess:
		in.high = min(in.high, math.Nextafter(at, math.Inf(-1)))
	case opLessEqual:
		in.high = min(in.high, at)
	case opGreater:
		in.low = max(in.low, math.Nextafter(at, math.Inf(1)))
	case opGreaterEqual:
		in.low = max(in.low, at)
	case opEqual:
		in = interval{at, at}
	default:
		return bound{}, false
	}
	return bound{feature: x.feature, in: in}, true
}

func (a *analysis) and(v *operand, x, y operand) {
	switch {
	case x.truth == never || y.truth == never:
		v.truth = never
	case x.truth == always && y.truth == always:
		v.truth = always
	}
	v.all = slices.Concat(x.all, y.all)
	if v.truth != sometimes {
		return
	}
	for _, b := range x.all {
		for _, c := range y.all {
			switch {
			case b.feature != c.feature:
			case b.in.high < c.in.low || c.in.high < b.in.low:
				v.truth = never
				a.remarks = append(a.remarks, remark{fmt.Sprintf("%s and %s are never true together", b.text, c.text), "write or, or change a bound"})
				return
			case c.in.low <= b.in.low && b.in.high <= c.in.high:
				a.adds(c, b, "holds wherever")
			case b.in.low <= c.in.low && c.in.high <= b.in.high:
				a.adds(b, c, "holds wherever")
			}
		}
	}
}

// adds remarks a comparison that changes nothing beside another.
func (a *analysis) adds(idle, beside bound, how string) {
	a.remarks = append(a.remarks, remark{fmt.Sprintf("%s adds nothing: it %s %s does", idle.text, how, beside.text), "take it out, or change a bound"})
}

func (a *analysis) or(v *operand, x, y operand) {
	switch {
	case x.truth == always || y.truth == always:
		v.truth = always
	case x.truth == never && y.truth == never:
		v.truth = never
	}
	v.any = slices.Concat(x.any, y.any)
	if v.truth != sometimes {
		return
	}
	for _, b := range x.any {
		for _, c := range y.any {
			switch {
			case b.feature != c.feature:
			case b.in.low <= c.in.low && c.in.high <= b.in.high:
				a.adds(c, b, "holds only where")
			case c.in.low <= b.in.low && b.in.high <= c.in.high:
				a.adds(b, c, "holds only where")
			default:
				if whole := a.features[b.feature].values(); min(b.in.low, c.in.low) <= whole.low && max(b.in.high, c.in.high) >= whole.high &&
					math.Nextafter(min(b.in.high, c.in.high), math.Inf(1)) >= max(b.in.low, c.in.low) {
					v.truth = always
					a.remarks = append(a.remarks, remark{fmt.Sprintf("of %s and %s one is always true", b.text, c.text), "write and, or change a bound"})
					return
				}
			}
		}
	}
}
