package shard

import (
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// column decides the conditions on one field once for each distinct value. A call then
// costs one table look-up and an OR, however many conditions name the field. Where they all
// ask only whether the field is there, it needs no table.
type column struct {
	field   detector.Field
	context string // the key, where field is a context entry
	words   int
	present []uint64 // conditions that every value meets but the empty one
	further bool     // there are other conditions
	values  *telemetry.Interner
	bits    []uint64 // words for each value, by id
}

func newColumns(plan *detector.Plan, max int) []column {
	var cs []column
	for _, f := range plan.Fields() {
		c := column{field: f, words: plan.Words, present: make([]uint64, plan.Words), values: telemetry.NewInterner(max)}
		c.further = plan.Presence(f, c.present)
		if f >= detector.FieldContext {
			c.context = plan.ContextKeys[f-detector.FieldContext]
		}
		cs = append(cs, c)
	}
	return cs
}

// of returns the conditions that hold for a value.
func (k *column) of(plan *detector.Plan, value []byte) []uint64 {
	if !k.further {
		if len(value) == 0 {
			return nil
		}
		return k.present
	}
	id, fresh, ok := k.values.Intern(value)
	if !ok { // full: what was remembered can be decided again
		k.values.Reset()
		k.bits = k.bits[:0]
		id, fresh, _ = k.values.Intern(value)
	}
	at := int(id) * k.words
	if fresh {
		for len(k.bits) < at+k.words {
			k.bits = append(k.bits, 0)
		}
		clear(k.bits[at : at+k.words])
		plan.Classify(k.field, string(value), k.bits[at:at+k.words])
	}
	return k.bits[at : at+k.words]
}

// classify sets the shard's bits to the conditions that hold for the call.
func (s *Shard) classify(c *telemetry.Call) {
	clear(s.bits)
	clear(s.hashes)
	s.shape = hashed{}
	for i := range s.columns {
		k := &s.columns[i]
		value, ok := fieldValue(c, k.field, k.context)
		if !ok {
			continue
		}
		for w, b := range k.of(s.plan, value) {
			s.bits[w] |= b
		}
	}
}

var outcomes = [...][]byte{[]byte("ok"), []byte("denied"), []byte("error")}

// fieldValue returns the value of a field of the call, and whether the call has it.
func fieldValue(c *telemetry.Call, f detector.Field, context string) ([]byte, bool) {
	switch f {
	case detector.FieldTenant:
		return c.Tenant, len(c.Tenant) > 0
	case detector.FieldAgent:
		return c.Agent, len(c.Agent) > 0
	case detector.FieldIdentity:
		return c.Identity, len(c.Identity) > 0
	case detector.FieldSession:
		return c.Session, len(c.Session) > 0
	case detector.FieldChainRoot:
		return c.Root(), true
	case detector.FieldAction:
		return c.Action, len(c.Action) > 0
	case detector.FieldResource:
		return c.Resource, len(c.Resource) > 0
	case detector.FieldOutcome:
		return outcomes[c.Outcome], true
	case detector.FieldParent:
		return c.Parent()
	}
	for i := range c.Context {
		if string(c.Context[i].Key) == context {
			return c.Context[i].Value, true
		}
	}
	return nil, false
}
