package detector

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The keys of a correlation.
var (
	correlationKeys = []string{"of", "within", "condition"}
	conditionKeys   = []string{"count", "distinct"}
	distinctKeys    = []string{"field", "count"}
)

// The words of a correlation's condition.
var (
	orderWords = []string{"temporal", "ordered"}
	// signFields are what different values of detections can be counted of.
	signFields = []string{"detector", "agent", "identity", "session", "chain_root", "action", "resource"}
)

// The bounds of a correlation.
const (
	maxMembers    = 64
	maxSigns      = 100
	maxCorrelated = 7 * day
)

// CorrelationKind is what a correlation asks of the detections of one entity.
type CorrelationKind uint8

// The kinds of correlations.
const (
	CorrelateCount    CorrelationKind = iota // so many detections
	CorrelateDistinct                        // so many different values among them
	CorrelateAll                             // of each member one, in any order
	CorrelateOrdered                         // of each member one, in their order
)

// Correlation is what makes one detection out of several that have one entity in common.
type Correlation struct {
	Of     []string // the members: ids or tags of detectors
	Within time.Duration
	Kind   CorrelationKind
	Field  string // CorrelateDistinct
	Count  int    // CorrelateCount, CorrelateDistinct
	Text   string // of the condition, for explanations

	members   []uint64 // by index of Plan.Detectors: which members a detector is of, one bit for each
	exchanged bool
}

// Members returns the members that detector i is of, one bit for each; 0: none.
func (c *Correlation) Members(i int) uint64 { return c.members[i] }

// Exchanged reports whether the detections come to the correlation through the exchange, because one of
// its detectors groups by something else. All of them come that way then, so that they keep one order.
func (c *Correlation) Exchanged() bool { return c.exchanged }

// correlation reads what a correlation makes of the detections of others.
func (r *reader) correlation(o object, d *draft) {
	const what = "a correlation"
	for _, key := range []string{"match", "conditions", "baseline", "when"} {
		if k := o.keys[key]; k != nil {
			r.fail(k, "leave it out", "%s means nothing beside a correlation: its detectors have their own", key)
		}
	}
	o, ok := r.object(o.values["correlation"], what, correlationKeys)
	if !ok {
		return
	}
	c := &Correlation{}
	d.Correlation = c
	if v := r.need(o, what, "of"); v != nil {
		for _, item := range r.items(v, "of") {
			name, ok := r.text(item, "a detector")
			switch {
			case ok && slices.Contains(c.Of, name):
				r.fail(item, "take one out", "%q stands there twice", shorten(name))
			case ok && !idForm.MatchString(name) && !tagForm.MatchString(name):
				r.fail(item, "write the id or a tag of detectors", "%q is neither an id nor a tag", shorten(name))
			}
			c.Of = append(c.Of, name)
			d.ofNodes = append(d.ofNodes, item)
		}
		if len(c.Of) > maxMembers {
			r.fail(v, "", "of has %d detectors and tags, more than %d", len(c.Of), maxMembers)
		}
	}
	if v := r.need(o, what, "within"); v != nil {
		c.Within, _ = r.duration(v, "within", time.Second, maxCorrelated)
	}
	if v := r.need(o, what, "condition"); v != nil {
		r.combination(v, d.GroupBy, c)
		c.Text = fmt.Sprintf("%s within %s", c.Text, formatDuration(c.Within))
	}
}

// combination reads the condition of a correlation that groups by by.
func (r *reader) combination(n *yaml.Node, by Entity, c *Correlation) {
	const what = "the condition of a correlation"
	if n.Kind == yaml.ScalarNode {
		if i, ok := r.choice(n, what, orderWords); ok {
			c.Kind, c.Text = CorrelateAll+CorrelationKind(i), orderWords[i]
			if len(c.Of) < 2 {
				r.fail(n, `write {count: ">= 3"}, or name more of them`, "%s needs two detectors or tags at least", orderWords[i])
			}
		}
		return
	}
	o, ok := r.object(n, what, conditionKeys)
	if !ok {
		return
	}
	count, distinct := o.values["count"], o.values["distinct"]
	switch {
	case (count == nil) == (distinct == nil):
		r.fail(n, `write {count: ">= 3"} or {distinct: {field: detector, count: ">= 3"}}`, "%s must be one of count and distinct", what)
	case count != nil:
		c.Count = r.atLeast(count)
		c.Text = fmt.Sprintf("count >= %d", c.Count)
	default:
		c.Kind = CorrelateDistinct
		o, ok := r.object(distinct, "distinct", distinctKeys)
		if !ok {
			return
		}
		if v := r.need(o, "distinct", "field"); v != nil {
			if i, ok := r.choice(v, "field", signFields); ok {
				if c.Field = signFields[i]; by.names(c.Field) {
					r.fail(v, "count another field, or write another group_by, such as tenant",
						"distinct(%s) says nothing: the correlation groups by %s, so it is always the same", c.Field, by)
				}
			}
		}
		if v := r.need(o, "distinct", "count"); v != nil {
			c.Count = r.atLeast(v)
		}
		c.Text = fmt.Sprintf("distinct(%s) >= %d", c.Field, c.Count)
	}
}

// atLeast reads >= 3. Fewer than a number would be true of nothing at all.
func (r *reader) atLeast(n *yaml.Node) int {
	text, ok := r.text(n, "count")
	if !ok {
		return 0
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(text), ">=")
	count, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil || count < 2 || count > maxSigns {
		r.fail(n, fmt.Sprintf(`write ">= 3", from 2 to %d`, maxSigns), "count cannot be %q", shorten(text))
		return 0
	}
	return count
}

// unresolved returns what is wrong with the members that correlations name, each error in the file of its
// correlation.
func unresolved(all []*draft) Errors {
	var errs Errors
	for _, d := range all {
		if d.Correlation == nil {
			continue
		}
		for i, name := range d.Correlation.Of {
			if msg, hint := d.missing(name, all); msg != "" {
				if hint != "" {
					msg += " (" + hint + ")"
				}
				errs = append(errs, &Error{File: d.file, Line: d.ofNodes[i].Line, Column: d.ofNodes[i].Column, Msg: msg})
			}
		}
	}
	return errs
}

// missing says why a correlation cannot have a member, and how to mend it; empty where it can.
func (d *draft) missing(name string, all []*draft) (msg, hint string) {
	var ids []string
	others := ""
	for _, m := range all {
		if m.Canary || m.ID != name && !slices.Contains(m.Tags, name) {
			ids = append(ids, m.ID)
			continue
		}
		switch {
		case m.Correlation != nil:
			others = "a correlation cannot be made of the correlation " + strconv.Quote(m.ID)
		default:
			return "", ""
		}
	}
	if others != "" {
		return others, "name what that one is made of"
	}
	return fmt.Sprintf("no detector has the id or the tag %q", shorten(name)), didYouMean(name, ids)
}

// resolve finds the members of the correlations of a plan.
func (p *Plan) resolve() {
	for _, d := range p.Detectors {
		if d.Correlation == nil {
			continue
		}
		c := *d.Correlation
		c.members = make([]uint64, len(p.Detectors))
		for i, m := range p.Detectors {
			if m.Canary || m.Correlation != nil {
				continue
			}
			for bit, name := range c.Of {
				if m.ID == name || slices.Contains(m.Tags, name) {
					c.members[i] |= 1 << bit
					c.exchanged = c.exchanged || m.GroupBy != d.GroupBy
				}
			}
		}
		d.Correlation = &c
		for i := range d.Overrides {
			d.Overrides[i].Correlation = &c
		}
	}
}

// Complete reports whether the detections of an entity meet the condition, given in the order of their times: of which
// members each is, and a hash of the value that is counted.
func (c *Correlation) Complete(members, values []uint64) bool {
	switch c.Kind {
	case CorrelateCount:
		return len(members) >= c.Count
	case CorrelateDistinct:
		different := slices.Clone(values)
		slices.Sort(different)
		return len(slices.Compact(different)) >= c.Count
	case CorrelateAll:
		var all uint64
		for _, m := range members {
			all |= m
		}
		return bits.OnesCount64(all) == len(c.Of)
	}
	next := 0
	for _, m := range members {
		if next < len(c.Of) && m&(1<<next) != 0 {
			next++
		}
	}
	return next == len(c.Of)
}
