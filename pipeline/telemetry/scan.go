package telemetry

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner reads JSON in one pass, in place. Its methods return false where the bytes are
// not what was asked for, and keep the first reason why; they never panic. Text without
// escapes is returned as a slice of the input, text with escapes in the scanner's arena.
type scanner struct {
	b      []byte
	i      int
	arena  []byte
	limits Limits
	// lax lets an escaped U+0000 pass in values that are skipped: other people's formats
	// carry binary data that nobody here reads.
	lax bool

	reason string
	field  []byte // the key whose value is being read
}

func (s *scanner) reset(b []byte) {
	if cap(s.arena) > keepBytes {
		s.arena = nil
	}
	s.b, s.i, s.arena = b, 0, s.arena[:0]
	s.reason, s.field, s.lax = "", nil, false
}

// fail keeps the first reason, and returns false.
func (s *scanner) fail(reason string) bool {
	if s.reason == "" {
		s.reason = reason
	}
	return false
}

// syntax fails at the current byte: truncated at the end of the input, else bad.
func (s *scanner) syntax() bool {
	if s.i >= len(s.b) {
		return s.fail(ReasonTruncatedJSON)
	}
	return s.fail(ReasonBadJSON)
}

// peek skips white space and returns the next byte, 0 at the end of the input.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c > ' ' {
			return c
		}
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
		s.i++
	}
	return 0
}

// expect reads the byte c after white space.
func (s *scanner) expect(c byte) bool {
	if s.peek() != c {
		return s.syntax()
	}
	s.i++
	return true
}

// end tells whether nothing but white space is left.
func (s *scanner) end() bool {
	s.peek()
	return s.i >= len(s.b)
}

// member reads the key and the colon of the next member of an object whose opening brace
// is read. It returns false after the closing brace, and where it fails.
func (s *scanner) member(first bool) (key []byte, more bool) {
	if s.reason != "" {
		return nil, false
	}
	c := s.peek()
	if c == '}' {
		s.i++
		return nil, false
	}
	if !first {
		if c != ',' {
			return nil, s.syntax()
		}
		s.i++
		c = s.peek()
	}
	if c != '"' {
		return nil, s.syntax()
	}
	key, ok := s.str()
	if !ok {
		return nil, false
	}
	s.field = key
	return key, s.expect(':')
}

// element moves to the next element of an array whose opening bracket is read. It returns
// false after the closing bracket, and where it fails.
func (s *scanner) element(first bool) (more bool) {
	if s.reason != "" {
		return false
	}
	c := s.peek()
	if c == ']' {
		s.i++
		return false
	}
	if first {
		return c != 0 || s.syntax()
	}
	if c != ',' {
		return s.syntax()
	}
	s.i++
	if s.peek() == ']' {
		return s.syntax()
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special returns the index of the next byte at or after i that ends a run of plain text:
// a quote, a backslash, a control character, and, while ascii is all ones, a byte above
// 127. It looks at eight bytes at once; only the lowest set bit of the masks is exact,
// and only that one is used.
func special(b []byte, i int, ascii uint64) int {
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		m := (quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w | w&ascii
		if m &= highs; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' || c > 127 && ascii != 0 {
			return i
		}
	}
	return i
}

// str reads a string at its opening quote.
func (s *scanner) str() ([]byte, bool) {
	start := s.i + 1
	ascii := ^uint64(0)
	for i := start; ; i++ {
		i = special(s.b, i, ascii)
		if i >= len(s.b) {
			s.i = i
			return nil, s.syntax()
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			text := s.b[start:i:i]
			if ascii == 0 && !utf8.Valid(text) {
				return nil, s.fail(ReasonInvalidUTF8)
			}
			return text, true
		case c == '\\':
			return s.unescape(start, i)
		case c < ' ':
			s.i = i
			return nil, s.control(c)
		default:
			ascii = 0
		}
	}
}

func (s *scanner) control(c byte) bool {
	if c == 0 {
		return s.fail(ReasonNullByte)
	}
	return s.fail(ReasonBadJSON)
}

// unescape reads the string that begins at start and has its first backslash at i.
func (s *scanner) unescape(start, i int) ([]byte, bool) {
	from := len(s.arena)
	s.arena = append(s.arena, s.b[start:i]...)
	for {
		run := i
		i = special(s.b, i, 0)
		s.arena = append(s.arena, s.b[run:i]...)
		s.i = i
		if i >= len(s.b) {
			return nil, s.syntax()
		}
		switch c := s.b[i]; c {
		case '"':
			s.i++
			text := s.arena[from:len(s.arena):len(s.arena)]
			if !utf8.Valid(text) {
				return nil, s.fail(ReasonInvalidUTF8)
			}
			return text, true
		case '\\':
			r, ok := s.escape()
			if !ok {
				return nil, false
			}
			if r == 0 {
				return nil, s.fail(ReasonNullByte)
			}
			s.arena = utf8.AppendRune(s.arena, r)
			i = s.i
		default:
			return nil, s.control(c)
		}
	}
}

// escape reads one escape at its backslash. A surrogate without its partner is U+FFFD, as
// in encoding/json: programs that cut text in half write such, and the call is still one.
func (s *scanner) escape() (rune, bool) {
	s.i++
	if s.i >= len(s.b) {
		return 0, s.syntax()
	}
	c := s.b[s.i]
	if c == 'u' {
		return s.unicode()
	}
	r := rune(0)
	switch c {
	case '"', '\\', '/':
		r = rune(c)
	case 'b':
		r = '\b'
	case 'f':
		r = '\f'
	case 'n':
		r = '\n'
	case 'r':
		r = '\r'
	case 't':
		r = '\t'
	default:
		return 0, s.syntax()
	}
	s.i++
	return r, true
}

// unicode reads uXXXX, and the second half of a surrogate pair if it follows.
func (s *scanner) unicode() (rune, bool) {
	r, ok := s.hex4(s.i + 1)
	if !ok {
		return 0, false
	}
	s.i += 5
	if r < 0xd800 || r >= 0xe000 {
		return r, true
	}
	if r < 0xdc00 && s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
		low, ok := s.hex4(s.i + 2)
		if !ok {
			return 0, false
		}
		if low >= 0xdc00 && low < 0xe000 {
			s.i += 6
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, true
		}
	}
	return utf8.RuneError, true
}

func (s *scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.b) {
		return 0, s.fail(ReasonTruncatedJSON)
	}
	var r rune
	for _, c := range s.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.fail(ReasonBadJSON)
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
