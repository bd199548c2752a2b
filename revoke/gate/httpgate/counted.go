package httpgate

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// counted is a response that counts its bytes, and those of its request.
type counted struct {
	http.ResponseWriter
	status   int
	in, out  atomic.Int64
	hijacked bool // the connection has switched to another protocol
}

// count returns the request with a body that is counted.
func (c *counted) count(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	r = r.WithContext(r.Context()) // the caller's request stays as it is
	r.Body = &countedBody{r.Body, &c.in}
	return r
}

// countedBody counts the bytes of a request.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// WriteHeader sends the status.
func (c *counted) WriteHeader(status int) {
	if c.hijacked {
		return // there is no response any more
	}
	if c.status == 0 && status >= 200 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	if c.hijacked {
		return 0, http.ErrHijacked
	}
	n, err := c.ResponseWriter.Write(p)
	c.out.Add(int64(n))
	return n, err
}

// Hijack hands the connection over.
func (c *counted) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	c.hijacked = c.hijacked || err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
