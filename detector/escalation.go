package detector

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// steps reads a response, or a list of them from the weakest to the strongest.
func (r *reader) steps(n *yaml.Node) ([]Response, bool) {
	before := len(r.errs)
	items := r.items(n, "response")
	if len(items) > maxSteps {
		r.fail(n, "", "the response has %d steps, more than %d", len(items), maxSteps)
		return nil, false
	}
	var steps []Response
	for _, item := range items {
		response, ok := r.response(item)
		if last := len(steps) - 1; ok && last >= 0 && response.Action < steps[last].Action {
			r.fail(item, "write the weakest step first", "after %s, the step %s would do less", steps[last].Action, response.Action)
		}
		steps = append(steps, response)
	}
	return steps, len(r.errs) == before
}

// escalate reads what leads from one step to the next. What o leaves out stays as it is in d. hasQuiet says that quiet
// does not follow the steps.
func (r *reader) escalate(o object, hasQuiet bool, d *draft) {
	v := o.values["escalate"]
	if v != nil {
		d.Escalate = r.escalation(v)
	}
	d.Steps = nil
	if len(d.responses) < 2 {
		switch {
		case v == nil:
		case len(d.responses) == 1:
			r.fail(o.keys["escalate"], "make response a list of steps, or leave it out", "escalate means nothing for one response")
		case o.values["response"] == nil: // else it is wrong already
			r.fail(o.keys["escalate"], "add response: a list of steps, or leave it out", "escalate means nothing without a response")
		}
		d.Escalate = 0
		return
	}
	if v == nil && d.Escalate == 0 {
		r.fail(o.values["response"], "add escalate: {within: 1h}", "a response of several steps needs the key %q beside it", "escalate")
	}
	for _, step := range d.responses {
		if hasQuiet {
			step.For = d.Quiet
		}
		d.Steps = append(d.Steps, step.For)
	}
}

func (r *reader) escalation(n *yaml.Node) (within time.Duration) {
	const what = "escalate"
	if o, ok := r.object(n, what, escalateKeys); ok {
		if v := r.need(o, what, "within"); v != nil {
			within, _ = r.duration(v, "within", time.Second, maxResponse)
		}
	}
	return within
}

// Supposed says what a response would do. It is for rehearsals such as backtests: it is no Response, and none can be had
// from it, so whatever a detector that does not enforce is supposed to do, nobody is stopped by it.
type Supposed struct{ response Response }

// suppose returns what the steps of a response would do.
func suppose(steps []Response) []Supposed {
	var all []Supposed
	for _, r := range steps {
		all = append(all, Supposed{r})
	}
	return all
}

// SupposedOf returns what answers a detection of detector i in the mode in which it was found, and whether
// anything does: what production does, for those who rehearse it.
func (p *Plan) SupposedOf(i int, found *Detection) (Supposed, bool) {
	e, ok := p.EnforcerOf(i, found)
	return Supposed{e.Response()}, ok
}

// SupposedOf returns what would answer a detection of detector i if it enforced, and whether its file, or what
// its tenant has instead, says anything of it.
func (s *Set) SupposedOf(i int, found *Detection) (Supposed, bool) {
	d := s.drafts[i]
	if j := d.OverrideOf(found.Tenant); j >= 0 {
		d = d.overrides[j].draft
	}
	if len(d.responses) == 0 {
		return Supposed{}, false
	}
	return Supposed{d.responses[min(max(found.Step-1, 0), len(d.responses)-1)]}, true
}

// Action returns what would be done.
func (s Supposed) Action() Action { return s.response.Action }

// Scope returns what it would be done to.
func (s Supposed) Scope() Scope { return s.response.Scope }

// For returns for how long.
func (s Supposed) For() time.Duration { return s.response.For }
