package fleet

import (
	"iter"
	"math"
	"time"
)

// Stream makes the calls of one agent, honest or bad, one after the other, with those of
// the agents that it delegates to between them.
type stream struct {
	source
	fleet *Fleet
	agent *agent
	order int   // among streams whose next calls have the same time
	until int64 // no call at or after it
	now   int64 // when the next call is
	call  Call
	step  func(*stream) // makes call, and sets now to the time of the call after it

	// What follows is of honest.
	alone   bool // does not delegate
	stack   [3]frame
	depth   int
	session string
	trace   [32]byte // hex

	job   *job   // of the eventful fleet; nil in the plain one
	crime *crime // nil: honest
}

// Next makes the next call, and says whether there is one before until.
func (s *stream) next() bool {
	if s.now >= s.until {
		return false
	}
	at := s.now
	s.step(s)
	s.call.Time = time.Unix(0, at).UTC()
	s.now = max(s.now, at+1)
	return true
}

// Own returns the stream of an agent's honest work from a time on.
func (f *Fleet) own(a *agent, from, until int64) *stream {
	if a.role.plan != nil {
		return f.eventful(a, from, until)
	}
	return f.honest(a, from, until)
}

// Calls returns the calls of all agents with from <= time < to, in the order of time. A zero
// from means Options.Start, a zero to means without end; times before 1970 do not work. The attacks' calls are woven in; where an attack replaces its
// agent's work, the agent begins no honest session after the attack's start.
//
// The calls depend on the options, from, and the attacks, and not on what was asked for
// before: a history that ends at t and a present that begins at t go together, but sessions
// end at t. Memory is bounded by the number of agents.
func (f *Fleet) Calls(from, to time.Time, attacks ...Attack) iter.Seq[Call] {
	if from.IsZero() {
		from = f.opts.Start
	}
	return func(yield func(Call) bool) {
		end := endOf(to)
		var q queue
		for _, a := range f.agents {
			q.add(f.own(a, from.UnixNano(), min(end, replacedAt(a, attacks))))
		}
		for i, a := range attacks {
			q.add(a.stream(len(f.agents)+i, end))
		}
		q.order()
		for len(q) > 0 && yield(q[0].call) {
			q.advance()
		}
	}
}

func endOf(to time.Time) int64 {
	if to.IsZero() {
		return math.MaxInt64
	}
	return to.UnixNano()
}

func replacedAt(a *agent, attacks []Attack) int64 {
	at := int64(math.MaxInt64)
	for _, attack := range attacks {
		if attack.Replaces && attack.Agent == a.name {
			at = min(at, attack.begins)
		}
	}
	return at
}

// Queue is a heap of streams whose call is made, the earliest first.
type queue []*stream

func (q *queue) add(s *stream) {
	if s.next() {
		*q = append(*q, s)
	}
}

func (q queue) order() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.sink(i)
	}
}

// Advance moves the first stream to its next call, or takes it out.
func (q *queue) advance() {
	h := *q
	if !h[0].next() {
		last := len(h) - 1
		h[0], h[last] = h[last], nil
		*q = h[:last]
	}
	q.sink(0)
}

func (q queue) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if right := child + 1; right < len(q) && q[right].before(q[child]) {
			child = right
		}
		if !q[child].before(q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

func (s *stream) before(t *stream) bool {
	if a, b := s.call.Time, t.call.Time; !a.Equal(b) {
		return a.Before(b)
	}
	return s.order < t.order
}
