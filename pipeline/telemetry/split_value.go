package telemetry

import "bytes"

// value takes the JSON object at the beginning of the window, by its brackets alone: what
// is between them is the decoder's to judge. depth is 1 inside of the object already.
//
// An object that is cut off must not take the calls behind it along. So a line that begins
// with a brace where JSON allows none ends it, and one where JSON does allow it is
// remembered (mark): if no end is found, the object ends there.
func (s *splitter) value(depth int) (Raw, error) {
	s.begin()
	if n := oneLine(s.window(), depth, s.limits.MaxBytes); n > 0 {
		return s.found(n)
	}
	v := valueScan{splitter: s, depth: depth}
	for {
		if v.i >= s.limits.MaxBytes { // asked first: it must not matter how much is there to be read
			if v.mark > 0 {
				return v.broken(v.mark, ReasonTooLarge, "longer than a call may be")
			}
			v.drop()
		}
		for v.i >= len(s.window()) {
			if !s.fill() {
				return v.broken(len(s.window()), ReasonTruncatedJSON, "the stream ends inside of a call")
			}
		}
		if v.inString {
			if !v.text() {
				return v.broken(v.i, ReasonTruncatedJSON, "the line ends inside of a string")
			}
			continue
		}
		switch v.step() {
		case whole:
			if v.large {
				return s.bad(v.i, ReasonTooLarge, "longer than a call may be")
			}
			return s.found(v.i)
		case cut:
			return v.broken(v.i, ReasonTruncatedJSON, "another call begins inside of it")
		}
	}
}

// oneLine returns the length of a value that ends in w, on its first line, as most do; 0 where it must be looked at
// more closely.
func oneLine(w []byte, depth, limit int) int {
	w = w[:min(len(w), limit)]
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case '"':
			i = special(w, i+1, 0)
			for i < len(w) && w[i] != '"' {
				switch w[i] {
				case '\\':
					i++
				case '\n':
					return 0
				}
				i = special(w, i+1, 0)
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '\n':
			return 0
		}
	}
	return 0
}

// valueScan is the state of value.
type valueScan struct {
	*splitter
	i        int // how far the window is looked at
	depth    int
	mark     int  // where the first line after the first begins with a brace; 0 is nowhere
	before   byte // the last byte that is not white space
	newline  bool // the byte before is a line break
	inString bool
	large    bool // what is before the window was discarded
}

type step uint8

const (
	going step = iota
	whole
	cut
)

// step looks at one byte outside of strings.
func (v *valueScan) step() step {
	c := v.window()[v.i]
	switch c {
	case '"':
		v.inString = true
	case '{':
		if v.newline && v.depth > 0 {
			if v.large || bytes.IndexByte([]byte(":,["), v.before) < 0 {
				return cut
			}
			if v.mark == 0 {
				v.mark = v.i
			}
		}
		v.depth++
	case '[':
		v.depth++
	case '}', ']':
		v.depth--
	}
	v.i++
	v.newline = c == '\n'
	if c > ' ' {
		v.before = c
	}
	if v.depth == 0 {
		return whole
	}
	return going
}

// text looks at a string up to its next special byte. It returns false behind a line
// break, which no string has.
func (v *valueScan) text() bool {
	w := v.window()
	v.i = special(w, v.i, 0)
	if v.i >= len(w) {
		return true
	}
	switch w[v.i] {
	case '"':
		v.inString, v.before, v.newline = false, '"', false
	case '\\':
		v.i++ // the byte behind it means nothing here
	case '\n':
		v.i++
		return false
	}
	v.i++
	return true
}

// drop discards what was looked at of a call that is too large.
func (v *valueScan) drop() {
	n := min(v.i, len(v.window()))
	v.discard(n)
	v.i -= n
	v.large = true
}

// broken ends a call that has no end of its own after n bytes, or earlier at its mark.
func (v *valueScan) broken(n int, reason, detail string) (Raw, error) {
	if v.mark > 0 {
		n = v.mark
	}
	if v.large {
		reason, detail = ReasonTooLarge, "longer than a call may be"
	}
	return v.bad(n, reason, detail)
}
