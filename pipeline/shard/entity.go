package shard

import (
	"math"
	"strings"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// entity is the state of one agent, identity, session, chain root, tenant or resource, or of a pair of them.
type entity struct {
	key string // AppendEntityKey
	// position is the last call that this state reflects. Each entity is consistent by
	// itself: on a replay it takes only what comes after.
	position
	calls   int64 // so far
	first   int64 // the first call's own time
	last    int64 // the greatest time of a call
	told    int64 // when its risk was, in the calls' own time
	id      uint32
	dirty   bool
	idle    idle
	band    Band    // of its risk, as it was told
	peers   *peers  // its group's, once it has one, else its tenant's
	sketch  *sketch // of an agent's first calls, until it looks for its group
	watches []watch // one for each rule that the entity has met
	// correlations are what its detections add up to; most entities have none.
	correlations []correlated
	packed       string // what an entity keeps that rests; see rest.go
}

// position is a place in the shard's own log: the partition of calls, or of the exchange.
type position struct {
	offset int64
	index  int32 // of the call inside its record
}

// entities finds the state of an entity by its key.
type entities struct {
	ids   *telemetry.Interner
	byID  []*entity // nil: it is put away
	away  []int64   // by id: where its saved state lies, or nowhere
	dirty []*entity
	idlers
}

func newEntities(max int) entities {
	return entities{ids: telemetry.NewInterner(max)}
}

// entity returns the entity of a key, made if it is new and read back if it was put away, or nil where the shard is full.
func (s *Shard) entity(key []byte) *entity {
	id, ok := s.entities.id(key)
	if !ok {
		return nil
	}
	if e := s.entities.byID[id]; e != nil {
		return e
	}
	return s.fetch(id)
}

// id returns the number of a key; ok is false where it is new and the shard is full.
func (es *entities) id(key []byte) (id uint32, ok bool) {
	id, fresh, ok := es.ids.Intern(key)
	if fresh {
		es.byID, es.away = append(es.byID, nil), append(es.away, nowhere)
		es.used += nameBytes + int64(len(key))
	}
	return id, ok
}

// touch remembers that the entity changed since the last checkpoint.
func (es *entities) touch(e *entity) {
	if !e.dirty {
		e.dirty = true
		es.dirty = append(es.dirty, e)
		es.moveToFront(e)
	}
}

// advance moves the entity to the call at a position, or reports false if its state
// already reflects that call.
func (e *entity) advance(at position) bool {
	if at.offset < e.offset || at.offset == e.offset && at.index <= e.index {
		return false
	}
	e.position = at
	return true
}

// seenSince is from when on the watch's rule could see what the entity does: before it was loaded nobody
// looked. It is never where the peers were not told yet.
func (w *watch) seenSince(e *entity) int64 { return max(e.first, w.peers.widest().since) }

// abstained reports whether the call at t is the first that the rule matches in as long a past of the
// entity as the warm-up asks for, and none had to be seen.
func (w *watch) abstained(e *entity, t int64) bool {
	r, since := w.rule, w.seenSince(e)
	return r.WarmupSlots == 0 && !r.Within && e.calls > int64(r.WarmupCalls) && since != never && t-since >= int64(r.WarmupTime)
}

// never is later than any call.
const never = math.MaxInt64

// mostAbstained is how many blocks of a past without a matching call count. Crests forget older ones.
const mostAbstained = 60

// abstain begins the watch at t of an entity that abstained: in no block of its past was there evidence.
// Its peers are no guide here: some of them may do such things every day.
func (w *watch) abstain(e *entity, t int64) {
	w.supposed = true
	blocks := (t - w.seenSince(e)) / blockTime
	if calls := int64(w.rule.BlockCalls); calls > 0 {
		if blocks = e.calls / calls; w.seenSince(e) > e.first {
			blocks = 0 // some of them nobody saw
		}
	}
	for range min(blocks, mostAbstained) {
		w.block.past.Learn(0)
	}
}

// appear finds the peers of an entity that comes at t, and tells them which rules are there.
func (s *Shard) appear(e *entity, t int64) {
	e.peers = s.peersOf(e.key)
	for _, r := range s.rules[e.key[0]] {
		s.tellLoaded(e, r.of(tenantOf(e.key)), t)
	}
}

// tellLoaded tells the peers, once, that the rule is there from t on.
func (s *Shard) tellLoaded(e *entity, r *rule, t int64) {
	if e.peers.of(r).widest().since == never {
		s.tell(e, r, toldLoaded, 0, uint64(t))
	}
}

// watch returns the state that the entity keeps for a rule, nil if it has not met it. turn is where
// to look first; it becomes the place after the one found.
func (e *entity) watch(r *rule, turn *int) *watch {
	// Mostly they were met in the order of the rules, in which they are asked for.
	if i := *turn; i < len(e.watches) && e.watches[i].rule == r {
		*turn++
		return &e.watches[i]
	}
	for i := range e.watches {
		if e.watches[i].rule == r {
			*turn = i + 1
			return &e.watches[i]
		}
	}
	return nil
}

// AppendEntityKey appends the key of the call's entity, which is the record's key in the
// exchange: the kind of the entity, its tenant and its name, of a pair both names. A NUL cannot
// stand in a call's strings, so the parts cannot be confused.
func AppendEntityKey(b []byte, by detector.Entity, c *telemetry.Call) []byte {
	b = append(b, byte(by))
	b = append(b, c.Tenant...)
	if by == detector.ByTenant {
		return b
	}
	b = append(b, 0)
	if _, pair := by.Partner(); pair {
		b = append(append(b, c.Agent...), 0)
	}
	return append(b, entityValue(by, c)...)
}

// entityValue returns the part of the call that names its entity, of a pair what is beside the agent.
func entityValue(by detector.Entity, c *telemetry.Call) []byte {
	by, _ = by.Partner()
	switch by {
	case detector.ByIdentity:
		return c.Identity
	case detector.BySession:
		return c.Session
	case detector.ByChainRoot:
		return c.Root()
	case detector.ByTenant:
		return c.Tenant
	case detector.ByResource:
		return c.Resource
	case detector.ByParent:
		if parent, ok := c.Parent(); ok {
			return parent
		}
	}
	return c.Agent
}

// tenantOf returns the tenant of an entity, or of peers, with the given key.
func tenantOf(key string) string {
	tenant, _, _ := strings.Cut(key[1:], "\x00")
	return tenant
}

// splitEntityKey is the inverse of AppendEntityKey. The name of a pair is both names, with a comma.
func splitEntityKey(key string) (by detector.Entity, tenant, name string) {
	by = detector.Entity(key[0])
	rest := key[1:]
	for i := range len(rest) {
		if rest[i] == 0 {
			name = rest[i+1:]
			if _, pair := by.Partner(); pair {
				name = strings.Replace(name, "\x00", ", ", 1)
			}
			return by, rest[:i], name
		}
	}
	return by, rest, rest
}
