package mcp

import (
	"bufio"
	"errors"
	"io"
)

// keepLine is how large a buffer may be that is kept for the next line.
const keepLine = 1 << 20

// lines reads the lines of a stream. It holds no more of one than max bytes.
type lines struct {
	r   *bufio.Reader
	max int
	buf []byte
}

func newLines(r io.Reader, max int) *lines {
	return &lines{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// next returns the next line with its line break, which the last one may lack. It is valid
// until the next call. A line that is too long is read to its end, and gives errTooLarge;
// the next call goes on behind it.
func (l *lines) next() ([]byte, error) {
	if cap(l.buf) > keepLine {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	large := false
	for {
		part, err := l.r.ReadSlice('\n')
		if large = large || len(l.buf)+len(part) > l.max; !large {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case large && (err == nil || err == io.EOF):
			return nil, errTooLarge
		case err == io.EOF && len(l.buf) > 0:
			return l.buf, nil
		}
		return l.buf, err
	}
}
