package httpgate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// revokedBy is what cut the call of a context that the guard has given; nil: nothing did.
func revokedBy(ctx context.Context) *guard.Revoked {
	var err *guard.Revoked
	if errors.As(context.Cause(ctx), &err) {
		return err
	}
	return nil
}

// serve runs a handler so that it cannot outlast a revocation of the request's context, as guard.HTTP does,
// which asks no policies and tells nobody what it decided. If nothing was written by then the client is
// told why, else its connection breaks: half a response must not look like a whole one.
func serve(w http.ResponseWriter, r *http.Request, h http.Handler) {
	ctx := r.Context()
	if r.Body != nil {
		r.Body = &cutBody{r.Body, ctx}
	}
	cw := &cutWriter{ResponseWriter: w, ctx: ctx}
	stop := context.AfterFunc(ctx, cw.wake)
	defer stop()
	h.ServeHTTP(cw, r)
	switch cut := revokedBy(ctx); {
	case cut == nil:
	case cw.wrote.Load():
		panic(http.ErrAbortHandler)
	default:
		refuse(w, http.StatusForbidden, gate.Revoked(cut))
	}
}

// cutBody is a request's body that ends with the revocation.
type cutBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b *cutBody) Read(p []byte) (int, error) {
	if cut := revokedBy(b.ctx); cut != nil {
		return 0, cut
	}
	n, err := b.ReadCloser.Read(p)
	if cut := revokedBy(b.ctx); err != nil && cut != nil {
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
	if revokedBy(w.ctx) == nil {
		return
	}
	past, c := time.Unix(1, 0), http.NewResponseController(w.ResponseWriter)
	_ = c.SetReadDeadline(past)
	if w.wrote.Load() {
		_ = c.SetWriteDeadline(past)
	}
}

// begin notes that something is written now, and returns what forbids it.
func (w *cutWriter) begin() *guard.Revoked {
	if cut := revokedBy(w.ctx); cut != nil {
		return cut
	}
	if !w.wrote.Swap(true) && revokedBy(w.ctx) != nil {
		w.wake() // it came between the two, and found nothing written that had to end
	}
	return nil
}

// WriteHeader sends the status.
func (w *cutWriter) WriteHeader(status int) {
	if status < 200 && revokedBy(w.ctx) == nil || status >= 200 && w.begin() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if cut := w.begin(); cut != nil {
		return 0, cut
	}
	n, err := w.ResponseWriter.Write(p)
	if cut := revokedBy(w.ctx); err != nil && cut != nil {
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
