package detector

import (
	"slices"
	"strings"
)

// The words of the language, each list indexed by the constants of its type.
var (
	fieldWords    = namesOf(fields)
	entityWords   = namesOf(entities)
	measureWords  = namesOf(measures)
	scopeWords    = []string{"agent", "identity", "session", "chain", "tenant"}
	actionWords   = []string{"", "throttle", "restrict", "revoke"} // actions begin at 1
	modeWords     = []string{"observe", "alert", "enforce"}
	severityWords = []string{"low", "medium", "high", "critical"}
	outcomeWords  = []string{"ok", "denied", "error"}
)

// contextPrefix begins the name of a context entry in a match.
const contextPrefix = "context."

// matchFields are the fields that a match can test: all before the chain, the shape and the call,
// which are values for features only.
var matchFields = fieldWords[:FieldChain]

// featureFields are the fields that are for features only, with what to write in a match instead.
var featureFields = map[string]string{
	"chain": "write chain_root, parent or agent",
	"shape": "write resource",
	"call":  "write action and resource",
}

// fieldNamed returns the field of a name that is among the known ones, or context.KEY.
func fieldNamed(name string, known []string) (f Field, key string, ok bool) {
	if key, ok := strings.CutPrefix(name, contextPrefix); ok {
		return FieldContext, key, key != ""
	}
	if !slices.Contains(known, name) {
		return 0, "", false
	}
	i, ok := oneOf(fieldWords, name)
	return Field(i), "", ok
}

// entityFields are the fields that hold each entity.
var entityFields = []Field{FieldAgent, FieldIdentity, FieldSession, FieldChainRoot, FieldTenant, FieldResource, FieldParent}

// String returns the field as it is written in detectors; all context entries are "context",
// Plan.FieldName knows which.
func (f Field) String() string {
	if f >= FieldContext {
		return "context"
	}
	return fieldWords[f]
}

// String returns the entity as it is written after group_by, and agent-resource of a pair.
func (e Entity) String() string {
	if partner, ok := e.Partner(); ok {
		return "agent-" + partner.String()
	}
	return word(entityWords, int(e))
}

// Field returns the field of a call that holds the entity, of a pair that which holds what is beside the agent.
func (e Entity) Field() Field {
	e, _ = e.Partner()
	return entityFields[e]
}

// String returns the measure as it is written in features.
func (m Measure) String() string { return word(measureWords, int(m)) }

// String returns the scope as it is written in responses.
func (s Scope) String() string { return word(scopeWords, int(s)) }

// String returns the action as it is written in responses; the zero Action, which does nothing, is empty.
func (a Action) String() string { return word(actionWords, int(a)) }

// String returns the mode as it is written in detectors.
func (m Mode) String() string { return word(modeWords, int(m)) }

func word(words []string, i int) string {
	if i >= len(words) {
		return "unknown"
	}
	return words[i]
}

// oneOf returns the index of a word among the known ones; the empty word is none.
func oneOf(words []string, w string) (int, bool) {
	if w == "" {
		return 0, false
	}
	i := slices.Index(words, w)
	return i, i >= 0
}
