package report

import (
	"fmt"
	"strconv"
	"strings"
)

// Goal is what a figure is to be. The zero value is no goal: the figure informs.
// As text it is "at most 2", "at least 0.9" or "".
type Goal struct {
	kind  goalKind
	bound float64
}

type goalKind uint8

const (
	none goalKind = iota
	atMost
	atLeast
)

var goalWords = [...]string{none: "", atMost: "at most", atLeast: "at least"}

// AtMost is met by values up to the bound.
func AtMost(bound float64) Goal { return Goal{atMost, bound} }

// AtLeast is met by values from the bound on.
func AtLeast(bound float64) Goal { return Goal{atLeast, bound} }

// Met reports whether a value meets the goal; what is not a number meets none but no goal.
func (g Goal) Met(value float64) bool {
	switch g.kind {
	case atMost:
		return value <= g.bound
	case atLeast:
		return value >= g.bound
	}
	return true
}

// String returns the goal as text.
func (g Goal) String() string {
	if g.kind == none {
		return ""
	}
	return goalWords[g.kind] + " " + strconv.FormatFloat(g.bound, 'g', -1, 64)
}

// MarshalText returns the goal as text.
func (g Goal) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (g *Goal) UnmarshalText(text []byte) error {
	s := string(text)
	for kind, words := range goalWords {
		if kind == int(none) {
			continue
		}
		if number, ok := strings.CutPrefix(s, words+" "); ok {
			bound, err := strconv.ParseFloat(number, 64)
			*g = Goal{goalKind(kind), bound}
			return err
		}
	}
	if s != "" {
		return fmt.Errorf("not a goal: %q", s)
	}
	*g = Goal{}
	return nil
}
