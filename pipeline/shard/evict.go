package shard

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/estop-project/estop/detector"
)

// A shard has a bound for what its entities take. Past it those that have been idle longest are put away: they are
// dropped from memory, and what is left is the name and where the saved state lies. The next call reads it back, exactly
// as a restart would, so no detection depends on who was put away, or when.
//
// Which ones go matters for speed alone, and follows the second chance of Corbató (1968): in the order in which they
// last changed, but whoever has a long past is passed over once, so that a flood of new names pushes out its own kind
// and not the regulars. Whoever is under suspicion, or was just stopped, stays: the next call of such an agent is the
// one that must not wait for a disk. Where those alone are beyond the bound they go as well, for memory is a promise too.

// idle is where an entity stands among those that may be put away.
type idle struct {
	before, after *entity // the one that changed later, the one that changed earlier
	size          int64   // bytes, as footprint estimates them
	keep          int64   // until this time of the calls it is not to be put away
	spared        bool    // it has had its second chance since it last changed
}

// idlers are the entities in memory in the order in which they last changed, and what they take.
type idlers struct {
	latest, longest *entity
	used            int64 // bytes
	resident        int
	typical         int64 // bytes, of an entity that is not measured yet
	inVain          int   // how often one that is to be kept was passed over since the last that was put away
}

const (
	// nowhere says that the state of an entity is not safe as it is.
	nowhere = -1
	// regular is from how many calls on an entity has a second chance.
	regular = 32
	// nameBytes is what is left of an entity beside its key: its places in the tables of names and of states.
	nameBytes = 72
	// entityBytes is what an entity takes without its watches.
	entityBytes = int64(unsafe.Sizeof(entity{}))
)

// footprint estimates what the entity takes in memory, from the length of its encoded state: the models hold about as many
// bytes as they write, in slices of some reserve. A test holds it against the heap.
func (e *entity) footprint(encoded int) int64 {
	if e.packed != "" {
		return entityBytes + int64(len(e.packed))
	}
	n := entityBytes + modelShare*int64(encoded) + int64(cap(e.watches))*int64(unsafe.Sizeof(watch{}))
	for i := range e.watches {
		n += int64(cap(e.watches[i].features))*int64(unsafe.Sizeof(feature{})) + int64(cap(e.watches[i].evidence))*int64(unsafe.Sizeof(evidence{}))
	}
	return n
}

// modelShare is how many bytes of models there are for one of an encoded state: from 2 for agents that just came to 4 for
// those that are known.
const modelShare = 3

// Used returns how many bytes the shard's entities take, those that are put away with their names alone.
func (s *Shard) Used() int64 { return s.entities.used }

// Resident returns how many entities are in memory.
func (s *Shard) Resident() int { return s.entities.resident }

// Err returns why the shard cannot go on: the state of an entity that was put away cannot be read back. What it judged
// of the call at which that was found is not to be saved.
func (s *Shard) Err() error { return s.err }

// Evict puts entities away until the shard takes at most limit bytes, as far as their states are safe.
func (s *Shard) Evict(limit int64) {
	if s.opt.Fetch == nil {
		return
	}
	s.evictIdle(limit)
	if s.entities.inVain >= s.entities.resident {
		s.evictAny(limit)
	}
}

// mostPassedOver bounds what one call of Evict looks at in vain, so that a shard never pauses for long.
func (l *idlers) mostPassedOver() int { return 4096 + l.resident/16 }

// evictIdle puts away who was idle longest. Who is passed over waits behind the others.
func (s *Shard) evictIdle(limit int64) {
	es := &s.entities
	for passed := 0; es.used > limit && passed < es.mostPassedOver(); {
		e := es.longest
		if e == nil || !es.safe(e) { // who changed later is not safe either
			return
		}
		second := e.calls >= regular && !e.idle.spared
		if !second && e.idle.keep <= s.latest {
			es.drop(e)
			s.Stats.Evicted++
			es.inVain = 0
			continue
		}
		passed++
		if !second {
			es.inVain++
		}
		es.moveToFront(e)
		e.idle.spared = true
	}
}

// evictAny puts away whoever can be, where all that are left are to be kept.
func (s *Shard) evictAny(limit int64) {
	es := &s.entities
	e := es.longest
	for passed := 0; e != nil && es.used > limit && passed < es.mostPassedOver(); {
		later := e.idle.before
		if es.safe(e) {
			es.drop(e)
			s.Stats.Evicted++
		} else {
			passed++
		}
		e = later
	}
}

// safe reports whether the entity's state can be read back as it is.
func (es *entities) safe(e *entity) bool { return !e.dirty && es.away[e.id] != nowhere }

// keepUntil returns until when the entity is not to be put away.
func (s *Shard) keepUntil(e *entity) int64 {
	if detector.Entity(e.key[0]) == detector.ByTenant {
		return math.MaxInt64 // there are few, and they never rest
	}
	keep := int64(math.MinInt64)
	for i := range e.watches {
		w := &e.watches[i]
		if w.total > w.block.level/4 {
			return math.MaxInt64
		}
		keep = max(keep, w.quiet.own)
	}
	for i := range e.correlations {
		k := &e.correlations[i]
		if keep = max(keep, k.quiet.own); len(k.signs) > 0 {
			keep = max(keep, k.latest+int64(k.rule.Correlation.Within))
		}
	}
	return keep
}

// Stored says where the states that Dirty returned lie, now that they are safe. It is called before Dirty is called again.
func (s *Shard) Stored(states []EntityState, places []int64) {
	for i, st := range states {
		if !isEntity(st.Key) {
			continue
		}
		if id, ok := s.entities.ids.Lookup([]byte(st.Key)); ok {
			s.entities.away[id] = places[i]
		}
	}
}

// Places returns where the saved states lie, by the number of the entity; below 0 for those whose state is not safe.
func (s *Shard) Places() []int64 { return append([]int64(nil), s.entities.away...) }

// Moved says where the states lie that were at Places.
func (s *Shard) Moved(places []int64) { copy(s.entities.away, places) }

func isEntity(key string) bool { return len(key) >= 2 && int(key[0]) < groups }

// RestoreAway takes in that the state of an entity lies at a place: it is read back at the entity's next call. Of several
// states the last one counts. It reports false where the record is to be given to Restore, which any state may be.
func (s *Shard) RestoreAway(key, value []byte, place int64) (bool, error) {
	if len(key) < 2 || int(key[0]) >= groups {
		return false, nil
	}
	r, err := versioned(value)
	if err != nil {
		return false, fmt.Errorf("restore entity %q: %w", key, err)
	}
	id, ok := s.entities.id(key)
	if !ok {
		s.Stats.Unwatched++
		return true, nil
	}
	if r.version < stateVersion || s.entities.byID[id] != nil {
		return false, nil // it is written anew, in today's encoding
	}
	s.entities.away[id] = place
	r.position()
	r.uvarint()
	r.varint()
	r.varint()
	group, joined := r.group()
	told := r.told()
	if r.err != nil {
		return false, fmt.Errorf("restore entity %q: %w", key, r.err)
	}
	if len(told) == 0 || told[len(told)-1].at.offset < s.floor {
		return true, nil
	}
	p := s.peersOf(string(key))
	if joined {
		p = s.groupAt(p, group)
	}
	for ; p != nil; p = p.wide {
		s.await(p, told, true)
	}
	return true, nil
}

// group reads what appendGroup wrote, for the name of the group alone.
func (r *reader) group() (name uint32, joined bool) {
	switch r.uvarint() {
	case groupNone:
	case groupSought:
		r.sketch()
	case groupJoined:
		if b := r.bytes(4); b != nil {
			return binary.BigEndian.Uint32(b), true
		}
	default:
		r.err = errState
	}
	return 0, false
}

// RestoredBelow says that all states of the calls below an offset are restored, or were replaced by later ones: what was
// told below it the peers know.
func (s *Shard) RestoredBelow(next int64) {
	s.floor = next
	kept := s.awaited[:0]
	for _, a := range s.awaited {
		if !a.twice || a.at.offset >= next {
			kept = append(kept, a)
		}
	}
	s.awaited = kept
}

// fetch makes an entity that is new, or reads one back that was put away. It returns nil where that fails.
func (s *Shard) fetch(id uint32) *entity {
	es := &s.entities
	e := &entity{key: es.ids.String(id), id: id, position: position{offset: -1}}
	if place := es.away[id]; place != nowhere {
		st, err := s.opt.Fetch(place)
		if err == nil && st.Key != e.key {
			err = errState
		}
		if err == nil {
			_, err = s.load(e, st.Value)
		}
		if err != nil {
			s.err = fmt.Errorf("cannot read back entity %q, which was put away: %w", e.key, err)
			return nil
		}
		e.idle.size = e.footprint(len(st.Value))
		e.idle.keep = s.keepUntil(e)
		s.Stats.Fetched++
	} else {
		e.idle.size = max(es.typical, entityBytes)
		e.idle.keep = math.MinInt64
	}
	es.byID[id] = e
	es.insert(e)
	return e
}

// insert takes an entity that comes into memory in.
func (l *idlers) insert(e *entity) {
	l.used += e.idle.size
	l.resident++
	l.pushFront(e)
}

// drop lets an entity go.
func (es *entities) drop(e *entity) {
	es.unlink(e)
	es.used -= e.idle.size
	es.resident--
	es.byID[e.id] = nil
}

// resize takes in that an entity has another size.
func (l *idlers) resize(e *entity, size int64) {
	l.used += size - e.idle.size
	e.idle.size = size
	l.typical += (size - l.typical) / 64
}

// moveToFront takes in that an entity changed, or is passed over.
func (l *idlers) moveToFront(e *entity) {
	e.idle.spared = false
	if l.latest != e {
		l.unlink(e)
		l.pushFront(e)
	}
}

func (l *idlers) pushFront(e *entity) {
	e.idle.before, e.idle.after = nil, l.latest
	if l.latest != nil {
		l.latest.idle.before = e
	} else {
		l.longest = e
	}
	l.latest = e
}

func (l *idlers) unlink(e *entity) {
	if e.idle.before != nil {
		e.idle.before.idle.after = e.idle.after
	} else {
		l.latest = e.idle.after
	}
	if e.idle.after != nil {
		e.idle.after.idle.before = e.idle.before
	} else {
		l.longest = e.idle.before
	}
	e.idle.before, e.idle.after = nil, nil
}
