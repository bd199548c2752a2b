package faultproxy

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// maxFrame bounds a message.
const maxFrame = 64 << 20

// frames cuts what a NATS server sends into its frames.
type frames struct{ r *bufio.Reader }

func newFrames(r io.Reader) *frames { return &frames{bufio.NewReaderSize(r, 64<<10)} }

// next returns the next frame whole, and whether it carries a message.
func (f *frames) next() (frame []byte, message bool, err error) {
	line, err := f.r.ReadSlice('\n')
	if err != nil {
		return nil, false, err
	}
	frame = append([]byte{}, line...)
	if !bytes.HasPrefix(line, []byte("MSG ")) && !bytes.HasPrefix(line, []byte("HMSG ")) {
		return frame, false, nil
	}
	words := bytes.Fields(line)
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || size < 0 || size > maxFrame {
		return nil, false, errFrame
	}
	head := len(frame)
	frame = append(frame, make([]byte, size+len("\r\n"))...)
	if _, err := io.ReadFull(f.r, frame[head:]); err != nil {
		return nil, false, err
	}
	return frame, true, nil
}
