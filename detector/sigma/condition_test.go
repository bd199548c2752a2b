package sigma

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// String writes an expression with all its parentheses.
func (e *expression) String() string {
	var kids []string
	for _, kid := range e.kids {
		kids = append(kids, kid.String())
	}
	switch e.op {
	case opNamed:
		return e.name
	case opOneOf:
		return "1 of " + e.name
	case opAllOf:
		return "all of " + e.name
	case opNot:
		return "not " + kids[0]
	case opAnd:
		return "(" + strings.Join(kids, " and ") + ")"
	}
	return "(" + strings.Join(kids, " or ") + ")"
}

func TestConditionsBindAsTheSpecificationSays(t *testing.T) {
	for text, want := range map[string]string{
		"a":                               "a",
		"a or b and c":                    "(a or (b and c))",
		"not a and b":                     "(not a and b)",
		"not not a":                       "not not a",
		"(a or b) and not (c or d)":       "((a or b) and not (c or d))",
		"1 of sel* and not 1 of filter_*": "(1 of sel* and not 1 of filter_*)",
		"all of them or any of x*":        "(all of  or 1 of x*)",
		"1 of them":                       "1 of ",
		"A AND NOT B":                     "(A and not B)",
		"all and 1":                       "(all and 1)",
		"a or b or c":                     "(a or b or c)",
	} {
		got, how, err := parseCondition(text)
		if err != nil || how != nil || got.String() != want {
			t.Errorf("%s: %v, %v, %v, want %s", text, got, how, err, want)
		}
	}
}

func TestAggregationsOfSigma1AreRead(t *testing.T) {
	for text, want := range map[string]aggregation{
		"a | count() > 5":              {comparison: "gt", n: 5, offset: 4},
		"a | count() by user >= 10":    {by: "user", comparison: "gte", n: 10, offset: 4},
		"a|count(x.y) by u < 3":        {field: "x.y", by: "u", comparison: "lt", n: 3, offset: 2},
		"1 of them | count(x) by u= 3": {field: "x", by: "u", comparison: "eq", n: 3, offset: 12},
	} {
		_, how, err := parseCondition(text)
		if err != nil || how == nil || *how != want {
			t.Errorf("%s: %+v, %v", text, how, err)
		}
	}
}

func TestWrongConditionsNameTheCharacter(t *testing.T) {
	for text, want := range map[string]struct {
		offset int
		msg    string
	}{
		"":                                   {0, "ends too early"},
		"a and":                              {4, "ends too early"},
		"a b":                                {2, `"b" cannot stand here`},
		"(a or b":                            {6, "ends too early"},
		"a)":                                 {1, `")" cannot stand here`},
		"and a":                              {0, `"and" cannot stand here`},
		"2 of sel*":                          {0, `"2" of is not part of Sigma`},
		"1 of":                               {3, "ends too early"},
		"1 of (a)":                           {5, `"(" cannot stand here`},
		"a | sum(x) > 1":                     {4, `the aggregation "sum" of Sigma 1 has no counterpart`},
		"a | near b":                         {4, `the aggregation "near" of Sigma 1`},
		"a | count() by > 1":                 {15, `">" cannot stand here`},
		"a | count() > x":                    {14, `"x" cannot stand here`},
		"a | count() > 99999999999999999999": {14, "cannot stand here"},
		"a > 1":                              {2, `">" cannot stand here`},
		strings.Repeat("(", 40) + "a":        {32, "nests deeper than 32"},
		strings.Repeat("not ", 40) + "a":     {128, "nests deeper than 32"},
		strings.Repeat("a", 4097):            {0, "longer than 4096"},
	} {
		_, _, err := parseCondition(text)
		if err == nil || err.offset != want.offset || !strings.Contains(err.msg, want.msg) {
			t.Errorf("%.40s: %+v, want %+v", text, err, want)
		}
	}
}

func TestPatternsOfNames(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a*", "a", true}, {"a*", "ab", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*", "", true},
		{"a*b*c", "axbxc", true}, {"a*b*c", "acb", false}, {"a*a", "a", false}, {"a*ab", "aab", true}, {"a*ab", "ab", false}, {"a", "ab", false},
	} {
		if matchName(c.pattern, c.name) != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.name, !c.want)
		}
	}
}

// An expression that is written out and read again is the same expression.
func TestConditionsSurviveWritingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawExpression(t, 4)
		text := e.String()
		got, _, err := parseCondition(text)
		if err != nil || got.String() != text {
			t.Fatalf("%s: %v, %v", text, got, err)
		}
	})
}

// drawExpression draws an expression over the selections a, b and c in which no and or or stands directly
// in one of its like: written out, those are one.
func drawExpression(t *rapid.T, depth int) *expression {
	op := opNamed
	if depth > 0 {
		op = rapid.SampledFrom([]operator{opNamed, opNot, opAnd, opOr}).Draw(t, "op")
	}
	switch op {
	case opNamed:
		return &expression{op: op, name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")}
	case opNot:
		return &expression{op: op, kids: []*expression{drawExpression(t, depth-1)}}
	}
	e := &expression{op: op}
	for range rapid.IntRange(2, 3).Draw(t, "kids") {
		e.kids = append(e.kids, drawExpression(t, depth-1))
	}
	return e
}

// Whatever a condition says, it is an expression or an error within the text.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{"a and not 1 of b*", "all of them | count(x) by y >= 5", "((((", "not not", "1 of", "é or a", "a | count(", "\x00|=<"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, _, err := parseCondition(text)
		if (e == nil) == (err == nil) {
			t.Fatalf("%v and %v", e, err)
		}
		if n := len([]rune(text)); err != nil && (err.offset < 0 || err.offset > max(n, 1)) {
			t.Errorf("error at %d of %d: %s", err.offset, n, err.msg)
		}
	})
}
