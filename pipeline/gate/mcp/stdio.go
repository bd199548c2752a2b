package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sync"
	"time"
)

// DefaultGrace is how long a server has to end where nothing else is said.
const DefaultGrace = 2 * time.Second

// Stdio says how a server is started that talks over its standard input and output.
type Stdio struct {
	Argv []string  // the command of the server
	Env  []string  // its environment; nil: that of this process
	In   io.Reader // from the client
	Out  io.Writer // to the client; nothing but messages is written
	Err  *os.File  // gets what the server writes on its standard error; nil: nobody does
	// Grace is how long the server has to end once its input is closed, and again once it got
	// SIGTERM. 0: DefaultGrace.
	Grace time.Duration
}

// Exited says that the server ended with an exit code other than 0; that of a signal is 128
// and its number.
type Exited struct{ Code int }

// Error says how the server ended.
func (e Exited) Error() string { return fmt.Sprintf("the MCP server ended with exit code %d", e.Code) }

// Run starts a server and guards it for one client. It returns once the server and all that
// it started have ended: because the client has closed its side, because ctx ended, or by
// itself. The error wraps Exited where the server says that it failed.
func (g *Gate) Run(ctx context.Context, who Caller, o Stdio) error {
	if err := who.Check(); err != nil {
		return fmt.Errorf("cannot guard MCP server: %w", err)
	}
	if len(o.Argv) == 0 {
		return errors.New("cannot guard MCP server: no command")
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	p, err := start(o)
	if err != nil {
		return err
	}
	who = who.withAgent()
	s := &session{g: g, who: &who, book: newBook(g), client: &writer{w: o.Out}, server: &writer{w: p.in}}
	s.hangUp = p.closeInput
	go s.readClient(o.In)
	go func() {
		defer close(p.silent)
		s.readServer(p.out)
	}()
	code := p.wait(ctx, o.Grace)
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.failAll("the server has ended")
	}()
	within(drain, told) // unless the client does not read
	if code != 0 {
		return Exited{code}
	}
	return nil
}

// session is one client and its server.
type session struct {
	g      *Gate
	who    *Caller
	book   *book
	client *writer
	server *writer
	hangUp func() // closes the server's input
}

// writer writes whole messages.
type writer struct {
	mu sync.Mutex
	w  io.Writer
}

// write writes what f returns. Between f and the last byte nobody else writes.
func (w *writer) write(f func() []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := f()
	if len(b) == 0 {
		return nil
	}
	_, err := w.w.Write(b)
	return err
}

// line writes a message on a line of its own. Whoever is to read it may be gone, and then
// there is nobody to tell.
func (w *writer) line(message []byte) {
	if message != nil {
		_ = w.write(func() []byte { return append(message, '\n') })
	}
}

// readClient takes in what the client says until it says no more.
func (s *session) readClient(r io.Reader) {
	defer s.hangUp()
	for l := newLines(r, s.g.o.MaxMessage); ; {
		raw, err := l.next()
		switch {
		case errors.Is(err, errTooLarge):
			s.client.line(answer(nil, s.g.refuse(s.tooLarge())))
		case err != nil:
			if err != io.EOF {
				s.g.log.Warn("cannot read from the client", "error", err)
			}
			return
		default:
			s.fromClient(raw)
		}
	}
}

func (s *session) tooLarge() error {
	return fmt.Errorf("%w: more than %d bytes", errTooLarge, s.g.o.MaxMessage)
}

func (s *session) fromClient(raw []byte) {
	if len(bytes.TrimSpace(raw)) == 0 {
		_ = s.server.write(func() []byte { return raw }) // a server that is gone misses nothing
		return
	}
	x := s.g.screen(context.Background(), s.book, s.who, raw)
	for _, p := range x.pass {
		if r := p.request; r != nil && r.call != nil {
			context.AfterFunc(r.call.ctx, func() { s.cut(r) })
		}
	}
	// Under the lock of the writer: what is cut off after this follows the message, and what was
	// cut off before it is not sent.
	err := s.server.write(func() []byte { return x.forward(s.book.wanted) })
	s.client.line(x.reply())
	if err != nil {
		s.failAll("the server takes no more input")
	}
}

// cut ends a call in flight: the client and the server hear of it at once, whichever of them
// listens.
func (s *session) cut(r *request) {
	why := r.call.cutBy()
	if why == nil || !s.book.cut(r, *why) {
		return
	}
	s.g.log.Info("call cut off", "action", r.call.action, "agent", s.who.Agent, "revocation", why.Revocation, "reason", why.Reason)
	go s.server.line(cancelled(r.id, "estop: "+why.Reason))
	s.client.line(answer(r.id, why.failure()))
}

// failAll answers all that waits for the server.
func (s *session) failAll(reason string) {
	for _, r := range s.book.fail() {
		s.client.line(answer(r.id, failure{Code: CodeServer, Message: "estop: " + reason}))
	}
}

// readServer takes in what the server says until it says no more.
func (s *session) readServer(r io.Reader) {
	for l := newLines(r, s.g.o.MaxMessage); ; {
		raw, err := l.next()
		switch {
		case errors.Is(err, errTooLarge):
			// It may be the answer to any of them.
			s.g.log.Error("the server's message is too large: what waits for an answer fails", "most", s.g.o.MaxMessage)
			s.failAll(fmt.Sprintf("the server's message is larger than %d bytes", s.g.o.MaxMessage))
		case err != nil:
			return
		default:
			s.fromServer(raw)
		}
	}
}

func (s *session) fromServer(raw []byte) {
	keep := s.book.hear(raw)
	switch {
	case keep == nil:
		return
	case keep[len(keep)-1] != '\n' && &keep[0] != &raw[0]:
		keep = append(keep, '\n') // what is left of a batch
	}
	if err := s.client.write(func() []byte { return keep }); err != nil {
		s.hangUp() // the client is gone
	}
}
