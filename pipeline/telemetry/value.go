package telemetry

import "unicode/utf8"

// skip reads any value and checks that it is JSON. depth counts the arrays and objects
// around it.
func (s *scanner) skip(depth int) bool {
	switch c := s.peek(); c {
	case '"':
		return s.skipString()
	case '{', '[':
		if depth >= s.limits.MaxDepth {
			return s.fail(ReasonTooDeep)
		}
		s.i++
		if c == '{' {
			return s.skipObject(depth + 1)
		}
		return s.skipArray(depth + 1)
	default:
		_, ok := s.literal(c)
		return ok
	}
}

func (s *scanner) skipObject(depth int) bool {
	field := s.field
	for first := true; ; first = false {
		if _, more := s.member(first); !more {
			s.field = field
			return s.reason == ""
		}
		if !s.skip(depth) {
			return false
		}
	}
}

func (s *scanner) skipArray(depth int) bool {
	for first := true; s.element(first); first = false {
		if !s.skip(depth) {
			return false
		}
	}
	return s.reason == ""
}

// skipString reads a string and keeps nothing of it.
func (s *scanner) skipString() bool {
	start := s.i + 1
	for i := start; ; {
		i = special(s.b, i, 0)
		s.i = i
		if i >= len(s.b) {
			return s.syntax()
		}
		switch c := s.b[i]; c {
		case '"':
			s.i++
			return utf8.Valid(s.b[start:i]) || s.fail(ReasonInvalidUTF8)
		case '\\':
			r, ok := s.escape()
			if !ok {
				return false
			}
			if r == 0 && !s.lax {
				return s.fail(ReasonNullByte)
			}
			i = s.i
		default:
			return s.control(c)
		}
	}
}

// literal reads a number, true, false or null, which begins with c, and returns its text.
func (s *scanner) literal(c byte) ([]byte, bool) {
	start := s.i
	ok := false
	switch {
	case c == '-' || c >= '0' && c <= '9':
		_, ok = s.number()
	case c == 't':
		ok = s.word("true")
	case c == 'f':
		ok = s.word("false")
	case c == 'n':
		ok = s.word("null")
	default:
		ok = s.syntax()
	}
	return s.b[start:s.i:s.i], ok
}

func (s *scanner) word(w string) bool {
	for k := 0; k < len(w); k++ {
		if s.i >= len(s.b) || s.b[s.i] != w[k] {
			return s.syntax()
		}
		s.i++
	}
	return true
}

// text reads a string no longer than MaxField into dst; null leaves dst empty.
func (s *scanner) text(dst *[]byte) bool {
	switch c := s.peek(); c {
	case '"':
		t, ok := s.str()
		if !ok {
			return false
		}
		if len(t) > s.limits.MaxField {
			return s.fail(ReasonFieldTooLong)
		}
		*dst = t
		return true
	case 'n':
		*dst = nil
		return s.word("null")
	default:
		return s.wrongType()
	}
}

// wrongType reads the value that is there instead of the one that was expected, so that
// broken JSON is named as that.
func (s *scanner) wrongType() bool {
	return s.skip(1) && s.fail(ReasonWrongType)
}

// scalar reads a value as text: a string without its quotes, anything else as written.
// It returns nil for null.
func (s *scanner) scalar(depth int) ([]byte, bool) {
	c := s.peek()
	if c == '"' || c == 'n' {
		var t []byte
		ok := s.text(&t)
		return t, ok
	}
	start := s.i
	if !s.skip(depth) {
		return nil, false
	}
	if s.i-start > s.limits.MaxField {
		return nil, s.fail(ReasonFieldTooLong)
	}
	return s.b[start:s.i:s.i], true
}
