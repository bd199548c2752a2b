package backtest

import "github.com/estop-project/estop/pipeline/telemetry"

// traffic counts how many calls have each value that an exception may name. It is nil where nobody asks.
type traffic struct {
	calls  int
	fields map[string]map[string]*int
}

// mostValues bounds the values of one field that are counted. What comes later is rare.
const mostValues = 1 << 16

func newTraffic() *traffic { return &traffic{fields: map[string]map[string]*int{}} }

func (t *traffic) take(c *telemetry.Call) {
	t.calls++
	t.add("agent", c.Agent)
	t.add("identity", c.Identity)
	t.add("action", c.Action)
	for i := range c.Context {
		t.addContext(c.Context[i].Key, c.Context[i].Value)
	}
}

func (t *traffic) add(field string, value []byte) {
	m := t.fields[field]
	if m == nil {
		m = map[string]*int{}
		t.fields[field] = m
	}
	if n := m[string(value)]; n != nil {
		*n++
	} else if len(m) < mostValues {
		one := 1
		m[string(value)] = &one
	}
}

// addContext counts an entry of the context under its key, which no field is called.
func (t *traffic) addContext(key, value []byte) {
	if len(key) < 64 {
		var buf [80]byte
		field := append(append(buf[:0], contextPrefix...), key...)
		if t.fields[string(field)] != nil || len(t.fields) < 256 {
			t.add(string(field), value)
		}
	}
}

const contextPrefix = "context."

// merge adds the calls of other tenants.
func (t *traffic) merge(o *traffic) {
	t.calls += o.calls
	for field, values := range o.fields {
		for v, n := range values {
			t.add(field, []byte(v))
			if m := t.fields[field][v]; m != nil {
				*m += *n - 1
			}
		}
	}
}

// common reports whether a condition holds for more than half of the calls: an exception that names only
// such things blinds the detector.
func (t *traffic) common(c condition) bool {
	n := t.fields[c.field][c.value]
	return n != nil && *n*2 > t.calls
}
