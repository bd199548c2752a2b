package mcp

import (
	"bytes"
	"context"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// screened is what the gate made of what a client sent.
type screened struct {
	raw     []byte // all of it, as it came
	batch   bool
	pass    []passing
	answers [][]byte // of the gate, to what does not pass
	dropped int      // notifications that do not pass
	broken  bool     // nothing of it can be read
}

// passing is a message for the server.
type passing struct {
	raw     []byte
	request *request // nil: nobody answers it
}

// screen decides what a client sent. Calls that pass are in the book, and begun.
func (g *Gate) screen(ctx context.Context, b *book, who *Caller, raw []byte) screened {
	s := screened{raw: raw}
	list, batch, err := split(raw)
	if err != nil {
		var id []byte
		if len(list) == 1 && !batch {
			id = list[0].id
		}
		s.broken = true
		s.answers = append(s.answers, answer(id, g.refuse(err)))
		return s
	}
	s.batch = batch
	for i := range list {
		s.add(ctx, g, b, who, &list[i])
	}
	return s
}

func (s *screened) add(ctx context.Context, g *Gate, b *book, who *Caller, m *message) {
	p := passing{raw: m.raw}
	var c *call
	if g.decides(m.method) {
		var f *failure
		if c, f = g.begin(ctx, who, m); f != nil {
			s.refuse(m, *f)
			return
		}
	}
	switch {
	case m.method == methodCancelled:
		b.abandon(member(m.params, "requestId"))
	case m.notification() && c != nil:
		g.end(c, telemetry.OutcomeOK, 0) // nobody will say how it ended
	case m.method != "" && m.id != nil:
		var err error
		if p.request, err = b.open(m, c); err != nil {
			if c != nil {
				g.abort(c)
			}
			s.refuse(m, g.refuse(err))
			return
		}
	}
	s.pass = append(s.pass, p)
}

func (s *screened) refuse(m *message, f failure) {
	if m.id == nil {
		s.dropped++
		return
	}
	s.answers = append(s.answers, answer(m.id, f))
}

// forward returns what the server gets: the bytes as they came where all of them pass.
func (s *screened) forward(wanted func(*request) bool) []byte {
	var keep [][]byte
	for _, p := range s.pass {
		if p.request == nil || wanted(p.request) {
			keep = append(keep, p.raw)
		}
	}
	switch {
	case len(keep) == len(s.pass) && len(s.answers)+s.dropped == 0:
		return s.raw
	case len(keep) == 0:
		return nil
	case s.batch:
		return append(join(keep), '\n')
	}
	return append(bytes.Clone(keep[0]), '\n')
}

// reply returns what the client gets at once, or nil.
func (s *screened) reply() []byte {
	switch {
	case len(s.answers) == 0:
		return nil
	case s.batch:
		return join(s.answers)
	}
	return s.answers[0]
}
