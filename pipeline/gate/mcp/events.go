package mcp

import (
	"bytes"
	"errors"
	"io"
)

// events reads the events of a text/event-stream. It holds no more of one than max bytes.
type events struct {
	lines *lines
	max   int
}

// next returns the next event as it came, with the empty line behind it, and its data. The last
// event may lack its end; it comes with io.EOF.
func (s *events) next() (raw, data []byte, err error) {
	for {
		line, err := s.lines.next()
		if err == nil && len(raw)+len(line) > s.max {
			err = errTooLarge
		}
		if err != nil {
			return raw, nil, err
		}
		raw = append(raw, line...)
		content := bytes.TrimRight(line, "\r\n")
		if len(content) == 0 {
			return raw, data, nil
		}
		if d, ok := bytes.CutPrefix(content, []byte("data:")); ok {
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(d, []byte(" "))...)
		}
	}
}

// event writes a message as an event.
func event(message []byte) []byte {
	b := append([]byte("event: message\ndata: "), message...)
	return append(b, "\n\n"...)
}

// eventFilter is a response of events with what is for the client.
type eventFilter struct {
	e      *exchange
	body   io.Closer
	events events
	out    bytes.Buffer
	end    error
}

func newEventFilter(e *exchange, body io.ReadCloser) *eventFilter {
	most := e.h.g.o.MaxMessage
	f := &eventFilter{e: e, body: body, events: events{newLines(body, most), most}}
	if told := e.said.reply(); told != nil { // of a batch, some was denied
		f.out.Write(event(told))
	}
	return f
}

// Read gives whole events, however the client reads them. A stream that is cut off ends with the
// answers to its calls, and well.
func (f *eventFilter) Read(p []byte) (int, error) {
	for f.out.Len() == 0 {
		if f.end != nil {
			return 0, f.end
		}
		f.next()
	}
	return f.out.Read(p)
}

func (f *eventFilter) next() {
	raw, data, err := f.events.next()
	switch {
	case err == nil:
		f.pass(raw, data)
	case cutBy(f.e.ctx) != nil:
		f.end = io.EOF
		if told := f.e.cut(); told != nil {
			f.out.Write(event(told))
		}
	case errors.Is(err, errTooLarge):
		f.end = io.EOF
		f.e.h.g.log.Error("the server's message is too large: what waits for an answer fails", "most", f.events.max)
		for _, r := range f.e.book.fail() {
			f.out.Write(event(answer(r.id, failure{Code: CodeServer, Message: "estop: the server's message is too large"})))
		}
	default:
		f.out.Write(raw)
		f.end = err
	}
}

func (f *eventFilter) pass(raw, data []byte) {
	if len(data) == 0 {
		f.out.Write(raw)
		return
	}
	keep := f.e.hear(data)
	switch {
	case keep == nil:
	case &keep[0] == &data[0]:
		f.out.Write(raw)
	default:
		f.out.Write(event(keep))
	}
}

// Close ends the server's side.
func (f *eventFilter) Close() error { return f.body.Close() }
