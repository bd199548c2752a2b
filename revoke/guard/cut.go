package guard

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// RevokedBy returns what cut the call of a context that Begin has given, or nil: nothing did.
func RevokedBy(ctx context.Context) *Revoked {
	var err *Revoked
	if errors.As(context.Cause(ctx), &err) {
		return err
	}
	return nil
}

// Serve runs next so that it cannot outlast a revocation of the request's context, which Begin has given, by not
// looking at it: reads of the body and writes of the response fail with *Revoked. If nothing was written by then,
// refuse tells the client why; else its connection breaks: half a response must not look like a whole one.
func Serve(w http.ResponseWriter, r *http.Request, next http.Handler, refuse func(http.ResponseWriter, *Revoked)) {
	ctx := r.Context()
	if r.Body != nil {
		r.Body = &cutBody{r.Body, ctx}
	}
	cw := &cutWriter{ResponseWriter: w, ctx: ctx}
	stop := context.AfterFunc(ctx, cw.wake)
	defer stop()
	next.ServeHTTP(cw, r)
	switch cut := RevokedBy(ctx); {
	case cut == nil:
	case cw.wrote.Load():
		panic(http.ErrAbortHandler)
	default:
		refuse(w, cut)
	}
}

// cutBody is a request's body that ends with the revocation.
type cutBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b *cutBody) Read(p []byte) (int, error) {
	if cut := RevokedBy(b.ctx); cut != nil {
		return 0, cut
	}
	n, err := b.ReadCloser.Read(p)
	if cut := RevokedBy(b.ctx); err != nil && cut != nil {
		err = cut // the deadline that wake set
	}
	return n, err
}

// cutWriter is a response that takes nothing more after the revocation.
type cutWriter struct {
	http.ResponseWriter
	ctx   context.Context
	wrote atomic.Bool // a final status or a byte
}

// wake ends reads and writes that wait for the client. Not every writer can do that.
func (w *cutWriter) wake() {
	if RevokedBy(w.ctx) == nil {
		return
	}
	past, c := time.Unix(1, 0), http.NewResponseController(w.ResponseWriter)
	_ = c.SetReadDeadline(past)
	if w.wrote.Load() {
		_ = c.SetWriteDeadline(past)
	}
}

// begin notes that something is written now, and returns what forbids it.
func (w *cutWriter) begin() *Revoked {
	if cut := RevokedBy(w.ctx); cut != nil {
		return cut
	}
	if !w.wrote.Swap(true) && RevokedBy(w.ctx) != nil {
		w.wake() // it came between the two, and found nothing written that had to end
	}
	return nil
}

// WriteHeader sends the status.
func (w *cutWriter) WriteHeader(status int) {
	if status < 200 && RevokedBy(w.ctx) == nil || status >= 200 && w.begin() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if cut := w.begin(); cut != nil {
		return 0, cut
	}
	n, err := w.ResponseWriter.Write(p)
	if cut := RevokedBy(w.ctx); err != nil && cut != nil {
		err = cut // the deadline that wake set
	}
	return n, err
}

// Flush sends what was written, where the writer below can.
func (w *cutWriter) Flush() {
	if w.begin() == nil {
		// A writer that cannot flush sends at the end.
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
