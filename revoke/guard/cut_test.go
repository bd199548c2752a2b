package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// slowClient is a response whose writes wait for ever, unless their deadline passes.
type slowClient struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (c *slowClient) SetReadDeadline(time.Time) error { return nil }
func (c *slowClient) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

// lateRevocation is a context that is asked once before it is revoked, and then at once is.
type lateRevocation struct {
	context.Context
	asked  bool
	revoke func()
}

func (c *lateRevocation) Value(key any) any {
	if !c.asked {
		return nil
	}
	return c.Context.Value(key)
}

func (c *lateRevocation) Err() error {
	if !c.asked {
		c.asked = true
		c.revoke()
		return nil
	}
	return c.Context.Err()
}

func TestARevocationAtTheVeryFirstByteEndsAWriteThatWaitsForTheClient(t *testing.T) {
	for name, write := range map[string]func(*cutWriter){
		"status": func(w *cutWriter) { w.WriteHeader(http.StatusOK) },
		"body":   func(w *cutWriter) { _, _ = w.Write([]byte("a")) },
		"flush":  func(w *cutWriter) { w.Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			client := &slowClient{ResponseRecorder: httptest.NewRecorder()}
			ctx, cancel := context.WithCancelCause(context.Background())
			w := &cutWriter{ResponseWriter: client}
			w.ctx = &lateRevocation{Context: ctx, revoke: func() {
				cancel(&Revoked{Reason: "test"})
				w.wake()
			}}
			write(w)
			if RevokedBy(w.ctx) == nil || client.deadline.IsZero() {
				t.Errorf("revoked by %v; the write waits until %v", RevokedBy(w.ctx), client.deadline)
			}
		})
	}
}
