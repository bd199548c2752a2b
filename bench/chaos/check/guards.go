package check

import (
	"maps"
	"slices"
	"time"
)

// force is when a target was stopped.
type force struct {
	id           string
	since, until time.Time
}

// guards holds what guards answered against what the stream had.
func (v *violations) guards(h *History) {
	stopped := map[string]force{}
	for _, s := range h.Stored {
		f, ok := stopped[s.Target]
		if !ok || s.Seen.Before(f.since) {
			f.id, f.since = s.ID, s.Seen
		}
		if s.Until.After(f.until) {
			f.until = s.Until
		}
		stopped[s.Target] = f
	}
	breached := map[string]bool{}
	for _, d := range h.Reference {
		breached[d.Target] = true
	}
	for _, g := range h.Guards {
		spans := map[string][]Span{}
		for _, s := range g.Spans {
			spans[s.Target] = append(spans[s.Target], s)
		}
		for _, target := range slices.Sorted(maps.Keys(spans)) {
			f, ok := stopped[target]
			if ok {
				v.bound(&g, target, spans[target], f)
			} else if !breached[target] {
				v.honest(&g, target, spans[target])
			}
		}
	}
}

// bound checks that a guard enforces what is stopped, from the bound on and to the end.
func (v *violations) bound(g *Guard, target string, spans []Span, f force) {
	var denied *Span
	for i := range spans {
		s := &spans[i]
		if s.Answer == Denied {
			denied = s
		}
		if s.Answer != Allowed || !s.First.Before(f.until) {
			continue
		}
		if late := earlier(s.Last, f.until).Sub(f.since); late > g.Bound {
			v.add(AllowedLate, target, "guard %s allowed it %v after the stream was seen to have revocation %s; the bound is %v",
				g.Name, late, f.id, g.Bound)
		}
		if denied != nil {
			v.add(LetGo, target, "guard %s denied it by revocation %s until %v, and allowed it at %v",
				g.Name, denied.Revocation, stamp(denied.Last), stamp(s.First))
		}
	}
	if last := spans[len(spans)-1]; last.Answer != Denied && last.Last.Before(f.until) {
		v.add(NotEnforced, target, "guard %s had revocation %s to enforce, and %s it at the end", g.Name, f.id, last.Answer)
	}
}

// honest checks that nobody is stopped for whom there is no breach.
func (v *violations) honest(g *Guard, target string, spans []Span) {
	for _, s := range spans {
		if s.Answer == Denied {
			v.add(HonestStopped, target, "guard %s denied it by revocation %s at %v", g.Name, s.Revocation, stamp(s.First))
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }
