package clickhouse

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// answerBuffer is how much of an answer is held back before the status line goes out. A
// query that fails before then gets a status of its own; one that ends before then gets a
// length and a complete summary.
const answerBuffer = 256 << 10

// answer writes the result of one query to the client: buffered at first, then streamed,
// compressed as the request asks.
type answer struct {
	w   http.ResponseWriter
	req *request

	encoding string // HTTP content encoding, or empty
	held     bytes.Buffer
	spool    *spool // the whole answer, where the engine wrote it to a file
	encoder  io.WriteCloser
	out      io.Writer // frames over encoder; nil until the status line went out
	tag      string    // marks an exception in mid-stream as the server's own
}

func newAnswer(w http.ResponseWriter, r *http.Request, req *request) *answer {
	a := &answer{w: w, req: req, tag: rand.Text()[:16]}
	if req.httpEncoding && !req.compress {
		a.encoding = acceptedEncoding(r.Header.Get("Accept-Encoding"))
	}
	return a
}

// started tells whether the status line went out.
func (a *answer) started() bool { return a.out != nil }

// Write takes a piece of the result.
func (a *answer) Write(p []byte) (int, error) {
	switch {
	case a.started():
		return a.send(p)
	case a.held.Len()+len(p) <= answerBuffer:
		return a.held.Write(p)
	}
	if err := a.start(); err != nil {
		return 0, err
	}
	return a.send(p)
}

// send passes p on at once, so that a slow query's rows are seen as they come.
func (a *answer) send(p []byte) (int, error) {
	n, err := a.out.Write(p)
	if err != nil {
		return n, err
	}
	if a.encoding == "" {
		http.NewResponseController(a.w).Flush()
	}
	return n, nil
}

// start sends the status line, the headers and what was held back.
func (a *answer) start() error {
	if a.encoding != "" {
		a.w.Header().Set("Content-Encoding", a.encoding)
	}
	a.w.Header().Set("X-ClickHouse-Exception-Tag", a.tag)
	a.w.WriteHeader(http.StatusOK)
	encoder, err := encodeAnswer(a.w, a.encoding)
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	a.encoder, a.out = encoder, encoder
	if a.req.compress {
		a.out = newFramer(encoder, a.req.method)
	}
	_, err = a.out.Write(a.held.Bytes())
	a.held = bytes.Buffer{}
	return err
}

// finish ends an answer that has gone well.
func (a *answer) finish(counted stats) error {
	if a.started() {
		return a.encoder.Close()
	}
	a.w.Header().Set("X-ClickHouse-Summary", counted.summary())
	rest, length := io.Reader(strings.NewReader("")), int64(a.held.Len())
	if a.spool != nil {
		var err error
		if rest, length, err = a.spool.whole(); err != nil {
			return err
		}
	}
	// clickhouse-go takes a length of zero for an answer without columns, and an encoded
	// nothing for a broken block.
	if length == 0 {
		a.encoding = ""
	}
	if a.encoding == "" && (!a.req.compress || length == 0) {
		a.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if err := a.start(); err != nil {
		return err
	}
	if _, err := io.Copy(a.out, rest); err != nil {
		return fmt.Errorf("cannot send the answer: %w", err)
	}
	return a.encoder.Close()
}

// fail tells the client what went wrong: by a status while none was sent, else by an
// exception block in the stream, after which the connection is broken off so that no client
// takes what came for the whole answer.
func (a *answer) fail(e *Exception) {
	if a.started() {
		a.out.Write(exceptionBlock(a.tag, e.Message))
		a.encoder.Close()
		http.NewResponseController(a.w).Flush()
		panic(http.ErrAbortHandler)
	}
	writeException(a.w, e)
}

func (a *answer) close() {
	if a.spool != nil {
		a.spool.close()
	}
}

// writeException answers with the status of e and its text.
func writeException(w http.ResponseWriter, e *Exception) {
	header := w.Header()
	header.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	header.Del("Content-Encoding")
	if e.Code == codeAuthentication {
		header.Set("WWW-Authenticate", `Basic realm="ClickHouse"`)
	}
	w.WriteHeader(e.Status())
	io.WriteString(w, strings.TrimRight(e.Message, "\n")+"\n")
}

// maxExceptionBlock bounds the block, as clients look for it in the last 16 KiB only.
const maxExceptionBlock = 16 << 10

// exceptionBlock frames an exception as ClickHouse does in the midst of an answer: marker,
// tag, text, length and tag, marker.
func exceptionBlock(tag, message string) []byte {
	const marker = "\r\n__exception__\r\n"
	if room := maxExceptionBlock - 2*len(marker) - 2*len(tag) - 32; len(message) > room {
		message = message[:room]
	}
	message += "\n"
	return fmt.Appendf(nil, "%s%s\r\n%s%d %s%s", marker, tag, message, len(message), tag, marker)
}
