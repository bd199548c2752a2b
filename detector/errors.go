package detector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a detector file, and where.
type Error struct {
	File   string
	Line   int // from 1; 0 where the file as a whole is meant
	Column int // from 1, in characters
	Msg    string
	Hint   string // the nearest right word, or what to write instead; may be empty
}

// Error returns file:line:column: message, with the hint in parentheses.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": " + e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors are all that is wrong with a set of files, in the order of the text.
// A nil Errors means that nothing is; convert it with Err, not by assignment.
type Errors []*Error

// Error returns the errors, one a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the errors as an error, nil if there are none.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

// Unwrap gives errors.As and errors.Is each single error.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// in reports whether one of the errors is in a file.
func (errs Errors) in(file string) bool {
	return slices.ContainsFunc(errs, func(e *Error) bool { return e.File == file })
}
