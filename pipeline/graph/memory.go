package graph

import (
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// memory knows the calls of the interval by all that the graph takes of them, so that a call
// that came before in the same interval costs one look-up and a count, and not one for each of its
// names and edges. Its counts go to the edges before anything reads these; as they are
// whole numbers the result is the same as without it.
type memory struct {
	ids   *telemetry.Interner // by appendCallKey
	calls []remembered        // by number
	links []link
	key   []byte
}

// maxRemembered bounds the calls that are remembered; past it the memory begins anew.
const maxRemembered = 1 << 15

// remembered is a call that came before.
type remembered struct {
	again       uint32 // how often it came again, not yet counted at the edges
	first, last uint32 // its links
	dropped     uint32 // its nodes that do not fit
	parties
	shape models.ChainShape
}

// link is an edge that a call uses.
type link struct{ from, to uint32 }

func newMemory() memory { return memory{ids: telemetry.NewInterner(maxRemembered)} }

// find returns the number of the call, and whether it is new. ok is false where it is too long to
// be remembered, or the memory is full.
func (m *memory) find(c *telemetry.Call) (id uint32, fresh, ok bool) {
	m.key = appendCallKey(m.key[:0], c)
	return m.ids.Intern(m.key)
}

func (m *memory) full() bool { return m.ids.Len() >= maxRemembered }

// appendCallKey appends what the graph takes of a call. No NUL can stand in its strings.
func appendCallKey(b []byte, c *telemetry.Call) []byte {
	for _, field := range [...][]byte{c.Tenant, c.Agent, c.Identity, c.Action, c.Resource} {
		b = append(append(b, field...), 0)
	}
	for _, member := range c.Chain {
		b = append(append(b, member...), 0)
	}
	return b
}

// flush counts at the edges what the memory holds back.
func (r *Recorder) flush() {
	for i := range r.memory.calls {
		m := &r.memory.calls[i]
		if m.again == 0 {
			continue
		}
		for _, l := range r.memory.links[m.first:m.last] {
			r.count(l, m.again)
		}
		m.again = 0
	}
}

// forget begins the memory anew. It has to before the tick moves on.
func (r *Recorder) forget() {
	r.flush()
	r.memory.ids.Reset()
	r.memory.calls, r.memory.links = r.memory.calls[:0], r.memory.links[:0]
}
