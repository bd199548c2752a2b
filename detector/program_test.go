package detector_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
)

// when compiles a condition. In it c stands for count(calls, 1m), e for
// count(errors, 1m) and b for sum(bytes_out, 1m); they are its features in that order.
func when(t testing.TB, text string) *detector.Program {
	t.Helper()
	features := map[string]string{"c": "count(calls, 1m)", "e": "count(errors, 1m)", "b": "sum(bytes_out, 1m)"}
	var out strings.Builder
	for i, r := range text {
		long, isFeature := features[string(r)]
		alone := !(i > 0 && isLetter(text[i-1])) && !(i+1 < len(text) && isLetter(text[i+1]))
		if isFeature && alone {
			out.WriteString(long)
		} else {
			out.WriteRune(r)
		}
	}
	// The first three terms give the features their order, and change nothing.
	yaml := "id: x\ntitle: x\nwhen: >-\n  (count(calls, 1m) < -1 or count(errors, 1m) < -1 or sum(bytes_out, 1m) < -1)\n  or (" + out.String() + ")\n"
	return load(t, yaml).Plan.Detectors[0].When
}

func isLetter(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

func TestConditions(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		when   string
		values [3]float64
		want   bool
	}{
		{"c > 5", [3]float64{6, 0, 0}, true},
		{"c > 5", [3]float64{5, 0, 0}, false},
		{"c >= 5", [3]float64{5, 0, 0}, true},
		{"c < 5", [3]float64{5, 0, 0}, false},
		{"c <= 5", [3]float64{5, 0, 0}, true},
		{"c == 5", [3]float64{5, 0, 0}, true},
		{"c != 5", [3]float64{5, 0, 0}, false},
		{"c + e * 2 > 10", [3]float64{5, 3, 0}, true},
		{"(c + e) * 2 > 16", [3]float64{5, 3, 0}, false},
		{"c - e - 1 == 1", [3]float64{5, 3, 0}, true},
		{"c / e / 2 == 2", [3]float64{12, 3, 0}, true},
		{"-c < -5", [3]float64{6, 0, 0}, true},
		{"+c > 5", [3]float64{6, 0, 0}, true},
		{"c > 5 and e > 1", [3]float64{6, 1, 0}, false},
		{"c > 5 && e > 1", [3]float64{6, 2, 0}, true},
		{"c > 5 or e > 1", [3]float64{0, 2, 0}, true},
		{"c > 5 || e > 1", [3]float64{0, 0, 0}, false},
		{"not (c > 5)", [3]float64{5, 0, 0}, true},
		{"!(c > 5) and e > 1", [3]float64{6, 2, 0}, false},
		{"1 < c < 7", [3]float64{6, 0, 0}, true},
		{"1 < c < 7", [3]float64{8, 0, 0}, false},
		{"b > 5MiB", [3]float64{0, 0, 5<<20 + 1}, true},
		{"b > 5MiB", [3]float64{0, 0, 5 << 20}, false},
		{"b > 1.5KB", [3]float64{0, 0, 1501}, true},
		{"b > 1e3", [3]float64{0, 0, 1001}, true},
		{"b > 0x10", [3]float64{0, 0, 17}, true},
		{"b > 1_000", [3]float64{0, 0, 1001}, true},

		// What is not known never fires, on its own or under "not".
		{"c > 5", [3]float64{nan, 0, 0}, false},
		{"not (c > 5)", [3]float64{nan, 0, 0}, false},
		{"c != 5", [3]float64{nan, 0, 0}, false},
		{"e / c > 0.5", [3]float64{0, 1, 0}, false},
		{"not (e / c > 0.5)", [3]float64{0, 0, 0}, false},
		{"c > 5 or e > 1", [3]float64{nan, 2, 0}, true},
		{"e > 1 or c > 5", [3]float64{nan, 0, 0}, false},
		{"not (c > 5 and e > 1)", [3]float64{nan, 0, 0}, true},
		{"c > 5 and e > 1", [3]float64{nan, 2, 0}, false},
	} {
		if got := when(t, c.when).Eval(c.values[:]); got != c.want {
			t.Errorf("%s of %v is %v, want %v", c.when, c.values, got, c.want)
		}
	}
}

// expression is a random expression with its value for c=6, e=2, b=0.
type expression struct {
	Text  string
	Value float64
}

func number(depth int) *rapid.Generator[expression] {
	return rapid.Custom(func(t *rapid.T) expression {
		if depth == 0 || rapid.Bool().Draw(t, "leaf") {
			return rapid.SampledFrom([]expression{{"c", 6}, {"e", 2}, {"(b / 1B)", 0}, {"3", 3}, {"0.5", 0.5}}).Draw(t, "value")
		}
		x, y := number(depth-1).Draw(t, "x"), number(depth-1).Draw(t, "y")
		op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op")
		value := map[string]float64{"+": x.Value + y.Value, "-": x.Value - y.Value, "*": x.Value * y.Value, "/": x.Value / y.Value}[op]
		if op == "/" && y.Value == 0 {
			value = math.NaN()
		}
		return expression{fmt.Sprintf("(%s %s %s)", x.Text, op, y.Text), value}
	})
}

// truth is a random condition; Value is 1, 0, or NaN where it is not known.
func truth(depth int) *rapid.Generator[expression] {
	return rapid.Custom(func(t *rapid.T) expression {
		if depth == 0 || rapid.Bool().Draw(t, "leaf") {
			x, y := number(2).Draw(t, "x"), number(2).Draw(t, "y")
			e := expression{fmt.Sprintf("(%s > %s)", x.Text, y.Text), 0}
			if math.IsNaN(x.Value) || math.IsNaN(y.Value) {
				e.Value = math.NaN()
			} else if x.Value > y.Value {
				e.Value = 1
			}
			return e
		}
		x, y := truth(depth-1).Draw(t, "x"), truth(depth-1).Draw(t, "y")
		switch rapid.SampledFrom([]string{"and", "or", "not"}).Draw(t, "op") {
		case "and":
			value := math.Min(x.Value, y.Value)
			if x.Value == 0 || y.Value == 0 {
				value = 0
			}
			return expression{fmt.Sprintf("(%s and %s)", x.Text, y.Text), value}
		case "or":
			value := math.Max(x.Value, y.Value)
			if x.Value == 1 || y.Value == 1 {
				value = 1
			}
			return expression{fmt.Sprintf("(%s or %s)", x.Text, y.Text), value}
		}
		return expression{"not " + x.Text, 1 - x.Value}
	})
}

func TestAnyConditionMeansWhatArithmeticSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := truth(3).Draw(rt, "condition")
		if strings.Count(e.Text, "c")+strings.Count(e.Text, "e")+strings.Count(e.Text, "b") > 60 {
			rt.Skip("longer than a condition may be")
		}
		if got := when(t, e.Text).Eval([]float64{6, 2, 0}); got != (e.Value == 1) {
			rt.Fatalf("%s is %v, want %v", e.Text, got, e.Value)
		}
	})
}

func TestEvaluationDoesNotAllocate(t *testing.T) {
	p := when(t, "c / 60 > 500 or (e / c > 0.5 and not (b < 5MiB))")
	values := []float64{3000, 2000, 6 << 20}
	plan := load(t, head+"match: {action: x, not: {agent: y}}\n").Plan
	bits := bitsOf(plan, call{"action": "x"})
	if n := testing.AllocsPerRun(100, func() {
		if !p.Eval(values) || !plan.Detectors[0].Match.Eval(bits) {
			t.Error("does not hold")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkProgram(b *testing.B) {
	p := load(b, "id: x\ntitle: x\nwhen: rate(calls, 1s) > 500 or distinct(resource, 1m) > 300\n").Plan.Detectors[0].When
	values := []float64{100, 200}
	b.ReportAllocs()
	for b.Loop() {
		if p.Eval(values) {
			b.Fatal("fires")
		}
	}
}
