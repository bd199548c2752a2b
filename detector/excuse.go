package detector

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// exceptions warns of exceptions that nobody keeps in order.
func (l *linter) exceptions(v *yaml.Node) {
	if v == nil {
		return
	}
	items := v.Content
	if v.Kind == yaml.MappingNode {
		items = []*yaml.Node{v}
	}
	var inForce []*yaml.Node
	for _, n := range items {
		reason := shorten(valueOf(n, "reason").Value)
		if valueOf(n, "owner") == n {
			l.warn(n, "exception-without-owner", "add owner: who can say whether it is still needed", "nobody answers for the exception (%s)", reason)
		}
		until := valueOf(n, "until")
		if until == n {
			l.warn(n, "exception-without-end", "add until: "+l.Now.AddDate(0, 3, 0).Format(time.DateOnly)+", the last day", "the exception never ends (%s)", reason)
		} else if x := (Exception{Until: (&reader{}).end(until)}); !x.Holds(l.Now.UnixNano()) {
			l.warn(until, "dead-exception", "take it out, or renew it", "the exception has ended: its last day was %s", x.Until.Add(-time.Nanosecond).UTC().Format(time.DateOnly))
			continue
		}
		inForce = append(inForce, valueOf(n, "match"))
		l.excuse(n)
	}
	l.together(inForce)
}

// together warns where several exceptions of which none excuses all do so together: each value that
// the match takes is one that some exception names alone.
func (l *linter) together(excused []*yaml.Node) {
	match := l.values["match"]
	if match == nil || match.Kind != yaml.MappingNode || len(excused) < 2 {
		return
	}
	for _, taken := range clauses(match).terms {
		if taken.not || taken.opaque || taken.all || len(taken.values) == 0 {
			continue
		}
		if !slices.ContainsFunc(taken.values, func(w want) bool { return !excuses(w, taken, excused) }) {
			l.warn(excused[len(excused)-1], "shut-out", "name what tells the excused calls from the others",
				"together the exceptions excuse every call that has %s, so the detector never fires", taken)
			return
		}
	}
}

// excuses says whether an exception excuses all calls with a value of a term.
func excuses(w want, of term, excused []*yaml.Node) bool {
	one := of
	one.values = []want{w}
	return slices.ContainsFunc(excused, func(n *yaml.Node) bool {
		let := clauses(n)
		return n.Kind == yaml.MappingNode && len(let.terms) == 1 && len(let.others) == 0 && one.within(let.terms[0])
	})
}

// excuse compares what an exception excuses with what the match takes.
func (l *linter) excuse(n *yaml.Node) {
	match := l.values["match"]
	excused := valueOf(n, "match")
	if match == nil || match.Kind != yaml.MappingNode || excused.Kind != yaml.MappingNode {
		return
	}
	taken, let := clauses(match), clauses(excused)
	if taken.within(let) {
		l.warn(excused, "shut-out", "name what tells the excused calls from the others", "the exception excuses every call that the match takes, so the detector never fires")
		return
	}
	for _, x := range let.terms {
		for _, m := range taken.terms {
			if m.excludes(x) {
				l.warn(x.key, "dead-exception", "take it out, or name values that the match takes", "no call that the match takes has %s", x)
				return
			}
		}
	}
}

// valueOf returns the value of a key of a mapping, the mapping itself where it is not there.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if i := slices.IndexFunc(n.Content, func(k *yaml.Node) bool { return k.Value == key }); i >= 0 && i%2 == 0 && i+1 < len(n.Content) {
		return n.Content[i+1]
	}
	return n
}
