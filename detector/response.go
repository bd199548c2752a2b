package detector

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// answer reads the schedule, the response and quiet. A response may stand in any mode, so that promotion to
// enforce changes one word; only an enforcing detector needs one, and only it keeps it.
func (r *reader) answer(o object, d *draft) {
	d.Quiet = defaultQuiet
	r.respond(o, false, d)
}

// respond reads what o says of the answer; what it leaves out stays as it is in d. hasQuiet says that
// quiet was written there and does not follow the response.
func (r *reader) respond(o object, hasQuiet bool, d *draft) {
	schedule := o.values["schedule"]
	if schedule != nil {
		r.schedule(schedule, d)
	}
	if v := o.values["response"]; v != nil {
		if steps, ok := r.steps(v); ok {
			d.responses = steps
			if !hasQuiet {
				d.Quiet = steps[0].For
			}
		}
	} else if n := cmp.Or(o.values["mode"], schedule); n != nil && len(d.responses) == 0 && d.enforces() {
		r.fail(n, "add response: {action: revoke, scope: agent, for: 15m}", "mode enforce needs a response")
	}
	if v := o.values["quiet"]; v != nil {
		if q, ok := r.duration(v, "quiet", time.Second, maxResponse); ok {
			d.Quiet, hasQuiet = q, true
		}
	}
	r.escalate(o, hasQuiet, d)
}

func (r *reader) response(n *yaml.Node) (Response, bool) {
	const what = "a response"
	before := len(r.errs)
	o, ok := r.object(n, what, responseKeys)
	if !ok {
		return Response{}, false
	}
	var response Response
	if v := r.need(o, what, "action"); v != nil {
		if i, ok := r.choice(v, "action", actionWords[1:]); ok {
			response.Action = Action(i + 1)
		}
	}
	if v := r.need(o, what, "scope"); v != nil {
		i, _ := r.choice(v, "scope", scopeWords)
		response.Scope = Scope(i)
	}
	if v := r.need(o, what, "for"); v != nil {
		response.For, _ = r.duration(v, "for", time.Second, maxResponse)
	}
	return response, len(r.errs) == before
}

// exceptions reads what lets calls pass.
func (r *reader) exceptions(n *yaml.Node, d *draft) {
	for _, item := range r.items(n, "exceptions") {
		r.exception(item, d)
	}
}

func (r *reader) exception(n *yaml.Node, d *draft) {
	const what = "an exception"
	o, ok := r.object(n, what, exceptionKeys)
	if !ok {
		return
	}
	var e Exception
	if v := r.need(o, what, "reason"); v != nil {
		e.Reason, _ = r.text(v, "reason")
	}
	if v := o.values["owner"]; v != nil {
		e.Owner, _ = r.text(v, "owner")
	}
	if v := o.values["until"]; v != nil {
		e.Until = r.end(v)
	}
	v := r.need(o, what, "match")
	if v == nil {
		return
	}
	before := len(r.errs)
	t := matcher{reader: r, exact: true}.match(v, "the match of an exception")
	if len(r.errs) == before && (t.holds(false) || t.holds(true)) {
		r.fail(v, "name values that the calls have", "the exception could excuse every call: it holds for calls that have none of its values")
	}
	d.Exceptions = append(d.Exceptions, e)
	d.excuses = append(d.excuses, t)
}

// end reads a date, which is included, or a time.
func (r *reader) end(n *yaml.Node) time.Time {
	text, ok := r.text(n, "until")
	if !ok {
		return time.Time{}
	}
	if t, err := time.Parse(time.DateOnly, strings.TrimSpace(text)); err == nil {
		return t.AddDate(0, 0, 1)
	}
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil || t.IsZero() {
		r.fail(n, "write 2027-01-31, the last day", "until cannot be %q", shorten(text))
	}
	return t
}

// Holds says whether the exception is in force at a call's own time, in Unix nanoseconds.
// Its Match says which calls it excuses.
func (e *Exception) Holds(at int64) bool {
	return e.Until.IsZero() || at < e.Until.UnixNano()
}

// holds says whether a condition is true of a call that has none of the values it names. there says
// whether the fields it asks after are there.
func (t *tree) holds(there bool) bool {
	switch t.op {
	case stepAtom:
		return t.vague && there
	case stepNot:
		return !t.kids[0].holds(there)
	case stepOr:
		return slices.ContainsFunc(t.kids, func(kid *tree) bool { return kid.holds(there) })
	}
	return !slices.ContainsFunc(t.kids, func(kid *tree) bool { return !kid.holds(there) })
}
