package detector

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// atom is one predicate on the value of one field. It is decided once for each distinct value.
type atom struct {
	field Field
	key   string // the context entry, where field is FieldContext or above
	name  string // canonical text: atoms of one name are one
	label string // the text for people, as in action|startswith: ["s3:Get"]
	holds predicate
	// presence says that it holds for every value that is not empty, and for no other.
	presence bool
}

type predicate func(value string) bool

// comparison turns one value of a match into a predicate. Where cased is false the value
// that is tested comes in lower case.
type comparison func(want string, cased bool) (predicate, error)

// comparisons are the modifiers that say how a value is compared; "" is the default, the
// whole value with wildcards.
var comparisons = map[string]comparison{
	"":           func(w string, cased bool) (predicate, error) { return pattern("", w, "", cased), nil },
	"contains":   func(w string, cased bool) (predicate, error) { return pattern("*", w, "*", cased), nil },
	"startswith": func(w string, cased bool) (predicate, error) { return pattern("", w, "*", cased), nil },
	"endswith":   func(w string, cased bool) (predicate, error) { return pattern("*", w, "", cased), nil },
	"in": func(w string, cased bool) (predicate, error) {
		w = fold(w, cased)
		return func(v string) bool { return v == w }, nil
	},
	"re":   regular,
	"cidr": network,
	"lt":   number(func(a, b float64) bool { return a < b }),
	"lte":  number(func(a, b float64) bool { return a <= b }),
	"gt":   number(func(a, b float64) bool { return a > b }),
	"gte":  number(func(a, b float64) bool { return a >= b }),
}

// foldable are the comparisons that ignore case unless the modifier cased is there.
func foldable(comparison string) bool {
	switch comparison {
	case "", "contains", "startswith", "endswith", "in":
		return true
	}
	return false
}

func fold(s string, cased bool) string {
	if cased {
		return s
	}
	return strings.ToLower(s)
}

// exists holds for a value that is there and not empty.
func exists(value string) bool { return value != "" }

func regular(want string, _ bool) (predicate, error) {
	const longest = 1024
	if len(want) > longest {
		return nil, fmt.Errorf("the expression is longer than %d bytes; it must be split into a list of shorter ones", longest)
	}
	re, err := regexp.Compile(want)
	if err != nil {
		return nil, fmt.Errorf("not an RE2 expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re.MatchString, nil
}

// expressionHints say how to mend an RE2 expression, by a part of what its parser says.
var expressionHints = []struct{ part, hint string }{
	{"unsupported Perl syntax", "RE2 knows no look-around; use a second entry with re|not"},
	{"invalid escape sequence", "RE2 knows no back-references; for a sign itself write \\ before it"},
	{"invalid repeat count", "repeat 1000 times at most, those within others multiplied"},
	{"missing closing", "close it, or write \\ before it for the sign itself"},
	{"unexpected )", "open it, or write \\ before it for the sign itself"},
	{"missing argument to repetition", "write \\ before it for the sign itself; .* stands for any text"},
	{"too large", "split it into a list of smaller ones"},
}

// expressionHint returns how to mend an expression, empty where nothing is known.
func expressionHint(err error) string {
	for _, h := range expressionHints {
		if strings.Contains(err.Error(), h.part) {
			return h.hint
		}
	}
	return ""
}

func network(want string, _ bool) (predicate, error) {
	prefix, err := netip.ParsePrefix(want)
	if err != nil {
		addr, addrErr := netip.ParseAddr(want)
		if addrErr != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", shorten(want))
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	return func(v string) bool {
		addr, err := netip.ParseAddr(v)
		return err == nil && prefix.Contains(addr.Unmap().WithZone(""))
	}, nil
}

func number(holds func(value, want float64) bool) comparison {
	return func(want string, _ bool) (predicate, error) {
		w, err := strconv.ParseFloat(want, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number such as 10 or 2.5", shorten(want))
		}
		return func(v string) bool {
			n, err := strconv.ParseFloat(v, 64)
			return err == nil && holds(n, w)
		}, nil
	}
}

// pattern compiles a Sigma value: * stands for any characters, ? for one, \*, \? and \\ for
// themselves.
func pattern(before, want, after string, cased bool) predicate {
	want = fold(want, cased)
	if before+after == "" && !strings.ContainsAny(want, `*?\`) {
		return func(v string) bool { return v == want }
	}
	// Each part by itself: a backslash at the end of what is wanted must not take hold of the * behind it.
	g := slices.Concat(parseGlob(before), parseGlob(want), parseGlob(after))
	return func(v string) bool { return g.match(v) }
}

// glob is a pattern of characters, anyOne and anyMany.
type glob []rune

const (
	anyOne  = -1
	anyMany = -2
)

func parseGlob(p string) glob {
	var g glob
	rs := []rune(p)
	for i := 0; i < len(rs); i++ {
		switch c := rs[i]; {
		case c == '\\' && i+1 < len(rs) && strings.ContainsRune(`*?\`, rs[i+1]):
			i++
			g = append(g, rs[i])
		case c == '*':
			if len(g) == 0 || g[len(g)-1] != anyMany {
				g = append(g, anyMany)
			}
		case c == '?':
			g = append(g, anyOne)
		default:
			g = append(g, c)
		}
	}
	return g
}

// match walks value and pattern together; at a mismatch the last * takes one character more.
// Time is at most length of value times length of pattern.
func (g glob) match(value string) bool {
	at, star, mark := 0, -1, 0
	for i := 0; i < len(value); {
		c, size := utf8.DecodeRuneInString(value[i:])
		switch {
		case at < len(g) && g[at] == anyMany:
			star, mark = at, i
			at++
		case at < len(g) && (g[at] == anyOne || g[at] == c):
			at++
			i += size
		case star >= 0:
			_, skip := utf8.DecodeRuneInString(value[mark:])
			mark += skip
			at, i = star+1, mark
		default:
			return false
		}
	}
	for at < len(g) && g[at] == anyMany {
		at++
	}
	return at == len(g)
}
