package detector

import "slices"

// linker joins drafts into one plan: equal atoms become one, and each gets its bit.
type linker struct {
	plan     *Plan
	contexts map[string]Field
	atoms    map[string]step
	// The exceptions of the detector under way, and of which trees.
	excused []Exception
	excuses **tree
}

// link makes a plan of drafts without errors.
func link(drafts []*draft) *Plan {
	l := linker{plan: &Plan{}, contexts: map[string]Field{}, atoms: map[string]step{}}
	for _, d := range drafts {
		l.excuses, l.excused = nil, nil
		compiled, enforcer := l.compile(d)
		enforcers := []Enforcer{enforcer}
		for _, o := range d.overrides {
			o.Version = d.Version
			c, enforcer := l.compile(o.draft)
			compiled.Overrides = append(compiled.Overrides, Override{c, l.formula(o.tenants), o.tenants.atom.holds})
			enforcers = append(enforcers, enforcer)
		}
		l.plan.Detectors = append(l.plan.Detectors, compiled)
		l.plan.enforcers = append(l.plan.enforcers, enforcers)
	}
	l.plan.Words = (len(l.plan.atoms) + 63) / 64
	l.plan.index()
	l.plan.resolve()
	return l.plan
}

// compile gives a draft its place in the plan. The Enforcer is zero where the detector never enforces.
func (l *linker) compile(d *draft) (*Compiled, Enforcer) {
	compiled := d.Compiled
	compiled.Match = l.formula(d.match)
	compiled.Features = l.features(d.features)
	compiled.Exceptions = l.exceptions(d)
	if compiled.HasRelearn && compiled.Relearn == FieldContext {
		compiled.Relearn = l.context(d.relearn)
	}
	if compiled.Canary || !compiled.enforces() {
		return &compiled, Enforcer{}
	}
	return &compiled, Enforcer{Compiled: &compiled, responses: d.responses}
}

// exceptions gives the exceptions of a draft their formulas. Overrides that add none share the detector's.
func (l *linker) exceptions(d *draft) []Exception {
	if n := len(d.excuses); n > 0 && n == len(l.excused) && &d.excuses[0] == l.excuses {
		return l.excused
	}
	all := slices.Clone(d.Exceptions)
	for i, t := range d.excuses {
		all[i].Match = l.formula(t)
	}
	if len(d.excuses) > 0 && l.excuses == nil {
		l.excuses, l.excused = &d.excuses[0], all
	}
	return all
}

// features gives the context entries among a detector's features their fields.
func (l *linker) features(fs features) []Feature {
	list := slices.Clone(fs.list)
	for i := range list {
		if list[i].Field == FieldContext {
			list[i].Field = l.context(fs.keys[i])
		}
	}
	return list
}

// context returns the field of a context entry.
func (l *linker) context(key string) Field {
	f, ok := l.contexts[key]
	if !ok {
		f = FieldContext + Field(len(l.plan.ContextKeys))
		l.contexts[key] = f
		l.plan.ContextKeys = append(l.plan.ContextKeys, key)
	}
	return f
}

// formula numbers the atoms of a condition; nil, which matches every call, stays nil.
func (l *linker) formula(t *tree) Formula {
	if t == nil {
		return nil
	}
	return l.emit(nil, t)
}

func (l *linker) emit(f Formula, t *tree) Formula {
	if t.op == stepAtom {
		return append(f, stepAtom|l.atom(t.atom))
	}
	for i, kid := range t.kids {
		f = l.emit(f, kid)
		if i > 0 || t.op == stepNot {
			f = append(f, t.op)
		}
	}
	return f
}

func (l *linker) atom(a atom) step {
	if i, ok := l.atoms[a.name]; ok {
		return i
	}
	if a.field == FieldContext {
		a.field = l.context(a.key)
	}
	i := step(len(l.plan.atoms))
	l.atoms[a.name] = i
	l.plan.atoms = append(l.plan.atoms, a)
	return i
}

// index groups the atoms by field.
func (p *Plan) index() {
	p.byField = make([][]uint32, int(FieldContext)+len(p.ContextKeys))
	for i, a := range p.atoms {
		p.byField[a.field] = append(p.byField[a.field], uint32(i))
	}
}

// Fields returns the fields that some condition tests, in order. Only these need Classify.
func (p *Plan) Fields() []Field {
	var fields []Field
	for f, atoms := range p.byField {
		if len(atoms) > 0 {
			fields = append(fields, Field(f))
		}
	}
	return fields
}

// Presence sets the bits of the conditions on field f that hold for every value that is not
// empty, and for no other. It reports whether there are further conditions on f, which take
// Classify.
func (p *Plan) Presence(f Field, bits []uint64) (further bool) {
	if int(f) >= len(p.byField) {
		return false
	}
	for _, i := range p.byField[f] {
		if p.atoms[i].presence {
			bits[i>>6] |= 1 << (i & 63)
		} else {
			further = true
		}
	}
	return further
}

// FieldName returns a field as it is written in a match: context.KEY for a context entry.
func (p *Plan) FieldName(f Field) string {
	if i := int(f) - int(FieldContext); i >= 0 && i < len(p.ContextKeys) {
		return contextPrefix + p.ContextKeys[i]
	}
	return f.String()
}

// Classify sets the bits of all conditions on field f that hold for value. It is called once for
// each distinct value, and may be slow; bits holds Words words, and bits that are set stay set.
//
// A context entry that a call does not have is not classified at all, so no condition on it
// holds; "exists: false" and "not" are negations of that and do.
func (p *Plan) Classify(f Field, value string, bits []uint64) {
	if int(f) >= len(p.byField) {
		return
	}
	for _, i := range p.byField[f] {
		if p.atoms[i].holds(value) {
			bits[i>>6] |= 1 << (i & 63)
		}
	}
}
