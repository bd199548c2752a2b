package shard

// An entity that makes no calls for a while rests: its state is kept as the bytes that a
// checkpoint would write, a fraction of what it takes ready for work. The next call wakes
// it. Reading back what was written is exact, as for a restart, so rest changes no detection.

// restTurn is the share of the entities that one checkpoint looks at, and restLeast the
// least number of them.
const (
	restTurn  = 64
	restLeast = 1024
)

// rest lets some of the entities rest that made no call for RestAfter. It goes on where the
// last call of rest ended.
func (s *Shard) rest() {
	all := s.entities.byID
	before := s.latest - int64(s.opt.RestAfter)
	for range min(len(all), max(restLeast, len(all)/restTurn)) {
		if s.resting >= len(all) {
			s.resting = 0
		}
		if e := all[s.resting]; !e.dirty && len(e.watches) > 0 && e.latest() < before {
			s.packing = e.appendState(s.packing[:0], nil)
			e.packed, e.watches = string(s.packing), nil
		}
		s.resting++
	}
}

// wake makes a resting entity ready for work.
func (s *Shard) wake(e *entity) {
	if e.packed == "" {
		return
	}
	if _, err := s.load(e, []byte(e.packed)); err != nil {
		panic("shard: cannot read what it packed: " + err.Error())
	}
}

// latest returns the greatest time of the entity's calls.
func (e *entity) latest() int64 {
	t := e.watches[0].latest
	for i := range e.watches {
		t = max(t, e.watches[i].latest)
	}
	return t
}
