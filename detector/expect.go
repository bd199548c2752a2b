package detector

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// expectKeys are the keys of what a test expects.
var expectKeys = []string{"detections", "entities", "first_at", "first_bad", "entity", "agent", "mode", "steps", "response", "known"}

// noDetection is how detections says that none may come; exactly 0 says the same.
const noDetection = "none"

// Bound is how an expected number of detections is meant.
type Bound uint8

// The bounds.
const (
	Exactly Bound = iota
	AtLeast
	AtMost
)

var boundWords = []string{"exactly", "at_least", "at_most"}

// String returns the bound as it is written in tests.
func (b Bound) String() string { return word(boundWords, int(b)) }

// Number is an expected number of detections.
type Number struct {
	Bound Bound
	Count int
}

// Holds says whether a number of detections is as expected.
func (n Number) Holds(detections int) bool {
	switch n.Bound {
	case AtLeast:
		return detections >= n.Count
	case AtMost:
		return detections <= n.Count
	}
	return detections == n.Count
}

// String returns the number as it is written in tests.
func (n Number) String() string {
	if n == (Number{}) {
		return noDetection
	}
	return n.Bound.String() + " " + strconv.Itoa(n.Count)
}

// comes says whether there is a detection wherever the number holds.
func (n Number) comes() bool { return n.Bound != AtMost && n.Count > 0 }

// Span is a stretch of time from the start of a test, both ends included.
type Span struct{ From, To time.Duration }

// Has says whether an offset lies in the span.
func (s Span) Has(offset time.Duration) bool { return s.From <= offset && offset <= s.To }

// String returns the span as it is written in tests.
func (s Span) String() string {
	if s.From == s.To {
		return formatDuration(s.From)
	}
	return formatDuration(s.From) + ".." + formatDuration(s.To)
}

// EntityNumber is an expected number of detections of one entity.
type EntityNumber struct {
	Entity string
	Number
}

// Expect is what a test's calls must lead to. Of what it does not say, anything may be.
type Expect struct {
	Number                  // of detections
	Entities []EntityNumber // of some entities

	FirstAt  *Span // when the first detection comes
	FirstBad *Span // when the first bad call of the first detection came

	// Entity, Agent and Mode are those of the first detection; empty for any. Mode is as schedules
	// and overrides make it, Agent that of the breaking call.
	Entity, Agent, Mode string
	// Steps are those that the detections take of a graded answer, in order and from 1 on; nil for any.
	Steps []int
	// Response is what the first detection is answered with in enforce; 0 for anything.
	Response Action
	// Known is whether the baseline of the last call's entity has seen enough to speak by the
	// end; nil where the test does not say.
	Known *bool

	places map[string]place // of the keys
}

// Place returns where a key of the expectation stands in its file, the expectation itself where it lacks the key.
func (e *Expect) Place(key string) (line, column int) {
	p, ok := e.places[key]
	if !ok {
		p = e.places[""]
	}
	return p.line, p.column
}

// expect reads what a test expects.
func (r *reader) expect(n *yaml.Node) Expect {
	const what = "expect"
	var e Expect
	o, ok := r.object(n, what, expectKeys)
	if !ok {
		return e
	}
	e.places = map[string]place{"": {n.Line, n.Column}}
	for key, at := range o.keys {
		e.places[key] = place{at.Line, at.Column}
	}
	if v := r.need(o, what, "detections"); v != nil {
		e.Number = r.number(v, "detections")
	}
	if v := o.values["entities"]; v != nil {
		e.Entities = r.entityNumbers(v)
	}
	for key, to := range map[string]**Span{"first_at": &e.FirstAt, "first_bad": &e.FirstBad} {
		if v := o.values[key]; v != nil {
			*to = r.span(v, key)
		}
	}
	for key, to := range map[string]*string{"entity": &e.Entity, "agent": &e.Agent} {
		if v := o.values[key]; v != nil {
			*to, _ = r.text(v, key)
		}
	}
	r.choose(o, "mode", modeWords, func(i int) { e.Mode = modeWords[i] })
	r.choose(o, "response", actionWords[1:], func(i int) { e.Response = Action(i + 1) })
	if v := o.values["known"]; v != nil {
		if known, ok := r.boolean(v, "known"); ok {
			e.Known = &known
		}
	}
	if v := o.values["steps"]; v != nil {
		e.Steps = r.expectSteps(v, e.Number)
	}
	r.speaksOfOne(o, e.Number)
	return e
}

// ofTheFirst are the keys that speak of a detection, so that one must come.
var ofTheFirst = []string{"first_at", "first_bad", "entity", "agent", "mode", "response"}

func (r *reader) speaksOfOne(o object, n Number) {
	if n.comes() {
		return
	}
	for _, key := range ofTheFirst {
		if at := o.keys[key]; at != nil {
			r.fail(at, "write detections: at_least 1, or leave it out", "%s speaks of a detection, but none need come", key)
		}
	}
}

func (r *reader) expectSteps(n *yaml.Node, of Number) (steps []int) {
	for _, item := range r.items(n, "steps") {
		step, _ := r.integer(item, "a step", 1, maxSteps)
		steps = append(steps, int(step))
	}
	if of != (Number{Exactly, len(steps)}) {
		r.fail(n, "write one for each of so many", "steps needs detections: exactly %d beside it", len(steps))
	}
	return steps
}

// entityNumbers reads how many detections some entities have.
func (r *reader) entityNumbers(n *yaml.Node) (all []EntityNumber) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.fail(n, `write {support: exactly 1, "nightly-backup": none}`, "entities must be a mapping from entities to numbers of detections, not %s", kindWord(n))
		return nil
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, ok := r.text(n.Content[i], "an entity")
		if first, twice := lines[name]; twice && ok {
			r.fail(n.Content[i], "first on line "+strconv.Itoa(first), "the entity %q comes twice", shorten(name))
			continue
		}
		lines[name] = n.Content[i].Line
		all = append(all, EntityNumber{name, r.number(n.Content[i+1], "detections of an entity")})
	}
	return all
}

// number reads "exactly 1", "at_least 1", "at_most 1", "none", or a number, which is exact.
func (r *reader) number(n *yaml.Node, what string) Number {
	text, ok := r.text(n, what)
	if !ok || text == noDetection {
		return Number{}
	}
	words := strings.Fields(text)
	bound := Exactly
	if len(words) == 2 {
		i, ok := oneOf(boundWords, words[0])
		if !ok {
			r.fail(n, didYouMean(words[0], boundWords), "unknown bound %q", shorten(words[0]))
		}
		bound, words = Bound(i), words[1:]
	}
	count, err := strconv.Atoi(words[0])
	if err != nil || len(words) > 1 || count < 0 || count > maxTestCalls {
		r.fail(n, "write exactly 1, at_least 1, at_most 1 or none", "%s cannot be %q", what, shorten(text))
	}
	if bound == AtLeast && count == 0 {
		r.fail(n, "write at_least 1", "at_least 0 is always true")
	}
	return Number{bound, count}
}

// span reads 5m, or a range of times such as 5m..6m.
func (r *reader) span(n *yaml.Node, key string) *Span {
	text, ok := r.text(n, key)
	if !ok {
		return nil
	}
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		high = low
	}
	from, err1 := parseDuration(strings.TrimSpace(low))
	to, err2 := parseDuration(strings.TrimSpace(high))
	if err1 != nil || err2 != nil || from > to {
		r.fail(n, "write 5m, or 5m..6m", "%s cannot be %q", key, shorten(text))
		return nil
	}
	return &Span{from, to}
}
