package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/gzip"
)

// Raw is one call of a stream, not yet decoded: what Decoder.Start takes.
type Raw struct {
	// Bytes are valid until the next turn of the loop. Of a bad call they are its
	// beginning, at most headBytes long.
	Bytes  []byte
	Format Format
	Line   int // where it begins, from 1
}

const (
	readBytes = 64 << 10 // read at a time
	headBytes = 1 << 10  // kept of a bad call
)

// Split takes a stream of calls apart: JSON lines, JSON texts one behind the other, an
// array of them, a CloudTrail file {"Records":[…]}, and gzip of each. It holds one call at
// a time and never more than MaxBytes of it. With Auto, each call's format is told by its
// bytes.
//
// A *BadCall stands for bytes that are no call: too large, cut off, not JSON. Its detail
// names the line, and the loop goes on behind it, at the latest with the next line that
// begins with a brace. Any other error is the last: the stream cannot be read further.
func Split(r io.Reader, f Format, l Limits) iter.Seq2[Raw, error] {
	return func(yield func(Raw, error) bool) {
		s := splitter{r: r, format: f, limits: l.withDefaults(), line: 1}
		s.scan.limits = s.limits
		if err := s.open(); err != nil {
			yield(Raw{Line: 1}, err)
			return
		}
		for {
			raw, err := s.next()
			if err == io.EOF || !yield(raw, err) {
				return
			}
			if _, bad := err.(*BadCall); err != nil && !bad {
				return
			}
			s.consume(s.used)
		}
	}
}

// splitter holds a window of the stream that begins with the bytes not yet consumed.
type splitter struct {
	r      io.Reader
	format Format
	limits Limits
	scan   scanner // to sniff

	buf   []byte // the window is buf[from:]
	from  int
	err   error // that ended the stream, io.EOF or another
	line  int   // of the window's first byte
	start int   // line where the call begins
	used  int   // bytes of the window that next returned
	index int

	head    []byte // the beginning of what is being discarded
	inArray bool   // among the elements of an array
	wrapped bool   // the array is that of {"Records":[…]}
}

// open looks behind gzip and a byte order mark.
func (s *splitter) open() error {
	if s.format == Protobuf {
		return errors.New("cannot split protobuf: its messages have no bounds of their own")
	}
	for len(s.window()) < 3 && s.fill() {
	}
	if gzipped(s.window()) {
		zr, err := gzip.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(s.window())), s.r))
		if err != nil {
			return fmt.Errorf("cannot read gzip: %w", err)
		}
		s.r, s.buf, s.from, s.err = zr, s.buf[:0], 0, nil
	}
	for len(s.window()) < 3 && s.fill() {
	}
	if bytes.HasPrefix(s.window(), []byte("\ufeff")) {
		s.consume(3)
	}
	return nil
}

func (s *splitter) window() []byte { return s.buf[s.from:] }

// fill makes the window longer. It returns false at the end of the stream.
func (s *splitter) fill() bool {
	if s.err != nil {
		return false
	}
	if s.from > 0 && cap(s.buf)-len(s.buf) < readBytes {
		s.buf = s.buf[:copy(s.buf, s.window())]
		s.from = 0
	}
	if cap(s.buf)-len(s.buf) < readBytes {
		s.buf = append(s.buf, make([]byte, readBytes)...)[:len(s.buf)]
	}
	n := 0
	for range 100 { // as bufio: a reader that gives nothing for so long is broken
		n, s.err = s.r.Read(s.buf[len(s.buf) : len(s.buf)+readBytes])
		if n > 0 || s.err != nil {
			break
		}
	}
	if n == 0 && s.err == nil {
		s.err = io.ErrNoProgress
	}
	s.buf = s.buf[:len(s.buf)+n]
	return n > 0
}

func (s *splitter) consume(n int) {
	s.line += bytes.Count(s.window()[:n], []byte{'\n'})
	s.from += n
	s.used = 0
}

// next returns the next call, which the caller consumes.
func (s *splitter) next() (Raw, error) {
	for {
		c, ok := s.skipSpace()
		switch {
		case !ok:
			return s.end()
		case c == '[' && !s.inArray:
			s.consume(1)
			s.inArray = true
		case c == ',' && s.inArray:
			s.consume(1)
		case c == ']' && s.inArray:
			s.consume(1)
			s.inArray = false
			if s.wrapped {
				s.wrapped = false
				if raw, err := s.value(1); err != nil {
					return raw, err
				}
				s.consume(s.used)
				s.index-- // what closes the file is no call
			}
		case c != '{':
			return s.garbage()
		default:
			if n := s.recordsPrefix(); n > 0 && !s.inArray {
				s.consume(n)
				s.inArray, s.wrapped = true, true
				continue
			}
			return s.value(0)
		}
	}
}

// skipSpace consumes white space, and the record separator of RFC 7464.
func (s *splitter) skipSpace() (c byte, ok bool) {
	for {
		for i, c := range s.window() {
			switch c {
			case ' ', '\t', '\r', '\n', 0x1e:
			default:
				s.consume(i)
				return c, true
			}
		}
		s.consume(len(s.window()))
		if !s.fill() {
			return 0, false
		}
	}
}

// end says how the stream ended, once.
func (s *splitter) end() (Raw, error) {
	if s.inArray {
		s.begin()
		s.inArray = false
		return s.bad(0, ReasonTruncatedJSON, "the array has no end")
	}
	if s.err != io.EOF {
		return Raw{Line: s.line}, fmt.Errorf("cannot read on in line %d: %w", s.line, s.err)
	}
	return Raw{}, io.EOF
}

// recordsPrefix returns the length of {"Records":[ if the window begins with that. It reads
// no further than it must: a stream that is written as it goes may not go on for hours.
func (s *splitter) recordsPrefix() int {
	const longest = 256 // white space included
	for {
		n, undecided := matchRecords(s.window())
		if !undecided || len(s.window()) >= longest || !s.fill() {
			return n
		}
	}
}

// matchRecords returns the length of {"Records":[ where w begins with that, and whether
// more bytes are needed to tell.
func matchRecords(w []byte) (n int, undecided bool) {
	for _, token := range []string{`{`, `"Records"`, `:`, `[`} {
		rest := bytes.TrimLeft(w[n:], " \t\r\n")
		if !bytes.HasPrefix(rest, []byte(token)) {
			return 0, bytes.HasPrefix([]byte(token), rest)
		}
		n = len(w) - len(rest) + len(token)
	}
	return n, false
}

// bad makes a bad call of the first n bytes of the window and what was discarded before.
func (s *splitter) bad(n int, reason, detail string) (Raw, error) {
	s.keepHead(n)
	s.used = n
	e := &BadCall{Reason: reason, Detail: fmt.Sprintf("line %d: %s", s.start, detail), Index: s.index}
	s.index++
	return Raw{Bytes: s.head, Format: s.format, Line: s.start}, e
}

// begin marks the window's first byte as the beginning of a call.
func (s *splitter) begin() { s.start, s.head = s.line, s.head[:0] }

// discard consumes n bytes of a call that is not kept.
func (s *splitter) discard(n int) {
	s.keepHead(n)
	s.consume(n)
}

func (s *splitter) keepHead(n int) {
	n = min(n, headBytes-len(s.head))
	s.head = append(s.head, s.window()[:n]...)
}

// garbage takes a line that does not begin as a call does.
func (s *splitter) garbage() (Raw, error) {
	s.begin()
	for {
		if i := bytes.IndexByte(s.window(), '\n'); i >= 0 {
			return s.bad(i, ReasonBadJSON, "not an object")
		}
		if len(s.window()) >= headBytes {
			s.discard(len(s.window()))
		}
		if !s.fill() {
			return s.bad(len(s.window()), ReasonBadJSON, "not an object")
		}
	}
}

// found makes a call of the first n bytes of the window.
func (s *splitter) found(n int) (Raw, error) {
	s.used = n
	s.index++
	raw := Raw{Bytes: s.window()[:n:n], Format: s.format, Line: s.start}
	switch {
	case raw.Format != Auto:
	case s.wrapped:
		raw.Format = CloudTrail
	default:
		raw.Format = s.scan.sniff(raw.Bytes)
	}
	return raw, nil
}
