package coverage

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

const (
	// keep is how long a revocation is remembered after it was heard of, at least: a repetition of it
	// is no new one.
	keep = time.Minute
	// takeover is how much later than its deadline a revocation is raised by a process whose turn it is
	// not: then the one whose turn it was is gone.
	takeover = time.Second
	maxOpen  = 1 << 16
	// maxEarly bounds the acknowledgements that may come before what they acknowledge.
	maxEarly = maxOpen / 2
)

// Watch follows revocations until all guards that were known when they came have acknowledged them. It is
// not safe for concurrent use.
type Watch struct {
	register *Register
	deadline time.Duration
	open     map[string]*watched // by revocation
	targets  map[string]string   // the last revocation of each NATS subject
}

type watched struct {
	revocation revoke.Revocation
	message    *nats.Msg // nil: an acknowledgement came before it
	heard      time.Time
	due        time.Time
	mine       bool
	over       bool // confirmed, raised, or of no interest any more
	raised     bool
	expected   int
	missing    map[string]struct{}
	early      map[string]time.Time
}

// NewWatch returns one in which all must have acknowledged within a deadline.
func NewWatch(r *Register, deadline time.Duration) *Watch {
	return &Watch{register: r, deadline: deadline, open: make(map[string]*watched), targets: make(map[string]string)}
}

// Outcome is what came of a revocation.
type Outcome struct {
	Revocation revoke.Revocation
	Message    *nats.Msg     // as it was published
	Expected   int           // guards that were known when it came; 0: nobody can confirm it
	Missing    []string      // of those, the ones that have not acknowledged; none: it is confirmed
	Took       time.Duration // until now
	Mine       bool          // it was this process's turn
	Late       bool          // confirmed after it had been raised
}

// Heard begins to watch a revocation, unless it is known. mine says that it is this process that raises it
// if it is not confirmed; it may be said later. The outcome is there at once where no guard is known, or all
// were quicker than the message.
func (w *Watch) Heard(r revoke.Revocation, m *nats.Msg, mine bool, now time.Time) (Outcome, bool) {
	p := w.open[r.ID]
	if p == nil {
		if len(w.open) >= maxOpen {
			return Outcome{}, false
		}
		p = &watched{heard: now}
		w.open[r.ID] = p
	}
	if mine && !p.mine {
		p.mine = true
		p.due = p.heard.Add(w.deadline)
	}
	if p.message != nil {
		return Outcome{}, false
	}
	p.revocation, p.message, p.heard = r, m, now
	p.due = now.Add(w.deadline)
	if !p.mine {
		p.due = p.due.Add(takeover)
	}
	if !w.last(r, m.Subject) {
		p.over = true // guards do not acknowledge what another message has taken the place of
		return Outcome{}, false
	}
	p.missing = make(map[string]struct{})
	for _, guard := range w.register.Serving(Concerned(r), now) {
		p.expected++
		if _, ok := p.early[guard]; !ok {
			p.missing[guard] = struct{}{}
		}
	}
	p.early = nil
	return w.settle(p, now)
}

// last makes r the last message of its target, and reports whether it is.
func (w *Watch) last(r revoke.Revocation, subject string) bool {
	if old := w.open[w.targets[subject]]; old != nil && old.message != nil && old.revocation.ID != r.ID {
		if r.IssuedAt.Before(old.revocation.IssuedAt) {
			return false
		}
		old.over = true
	}
	w.targets[subject] = r.ID
	return true
}

func (w *Watch) settle(p *watched, now time.Time) (Outcome, bool) {
	if p.message == nil || len(p.missing) > 0 || p.over && !p.raised {
		return Outcome{}, false
	}
	late := p.raised
	p.over, p.raised = true, false
	return w.outcome(p, late, now), true
}

func (w *Watch) outcome(p *watched, late bool, now time.Time) Outcome {
	return Outcome{
		Revocation: p.revocation, Message: p.message, Expected: p.expected, Missing: slices.Sorted(maps.Keys(p.missing)),
		Took: now.Sub(p.heard), Mine: p.mine, Late: late,
	}
}

// Acked takes an acknowledgement, and gives the outcome if it was the last one that was missing.
func (w *Watch) Acked(a revoke.Ack, now time.Time) (Outcome, bool) {
	if a.Report() {
		return Outcome{}, false
	}
	p := w.open[a.Revocation]
	switch {
	case p == nil && len(w.open) < maxEarly:
		w.open[a.Revocation] = &watched{heard: now, early: map[string]time.Time{a.Guard: now}}
		return Outcome{}, false
	case p == nil:
		return Outcome{}, false
	case p.message == nil:
		if len(p.early) < maxGuards {
			p.early[a.Guard] = now
		}
		return Outcome{}, false
	}
	if _, ok := p.missing[a.Guard]; !ok {
		return Outcome{}, false
	}
	delete(p.missing, a.Guard)
	w.register.acked(a.Guard, now.Sub(p.heard), now)
	return w.settle(p, now)
}

// Closed says that a guard has ended in good order: nobody waits for it any more.
func (w *Watch) Closed(guard string, now time.Time) []Outcome {
	var all []Outcome
	for _, p := range w.open {
		if _, ok := p.missing[guard]; !ok {
			continue
		}
		delete(p.missing, guard)
		if o, ok := w.settle(p, now); ok {
			all = append(all, o)
		}
	}
	return all
}

// Raised says that another process has raised a revocation.
func (w *Watch) Raised(id string) {
	if p := w.open[id]; p != nil && !p.over {
		p.over, p.raised = true, true
	}
}

// Due returns the revocations that are past their deadline and not confirmed, each once, and forgets what
// is over.
func (w *Watch) Due(now time.Time) []Outcome {
	var all []Outcome
	for id, p := range w.open {
		if age := now.Sub(p.heard); age > max(keep, 2*w.deadline) {
			delete(w.open, id)
			if p.message != nil && w.targets[p.message.Subject] == id {
				delete(w.targets, p.message.Subject)
			}
			continue
		}
		if p.over || p.message == nil || now.Before(p.due) {
			continue
		}
		p.over, p.raised = true, true
		if now.Before(p.revocation.Until) { // one that has ended stops nothing any more
			all = append(all, w.outcome(p, false, now))
		}
	}
	slices.SortFunc(all, func(a, b Outcome) int { return cmp.Compare(a.Revocation.ID, b.Revocation.ID) })
	return all
}
