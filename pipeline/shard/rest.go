package shard

import "github.com/klauspost/compress/s2"

// An entity that makes no calls for a while rests: its state is kept as the bytes that a
// checkpoint would write, compressed, a fraction of what it takes ready for work. The next call
// wakes it. Its detectors saw the same calls at the same times, so compression saves a third, for some
// microseconds at that call. Reading back what was written is exact, as for a restart, so rest
// changes no detection.

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
		if e := all[s.resting]; e != nil && !e.dirty && len(e.watches) > 0 && e.latest() < before {
			s.packing = e.appendState(s.packing[:0], nil)
			s.compressed = s2.EncodeBetter(s.compressed[:cap(s.compressed)], s.packing)
			e.packed, e.watches, e.correlations, e.sketch = string(s.compressed), nil, nil, nil
			s.entities.resize(e, entityBytes+int64(len(e.packed)))
		}
		s.resting++
	}
}

// wake makes a resting entity ready for work.
func (s *Shard) wake(e *entity) {
	if e.packed == "" {
		return
	}
	at := e.position // that of the call that wakes it; what was packed has an earlier one
	s.compressed = append(s.compressed[:0], e.packed...)
	var err error
	if s.packing, err = s2.Decode(s.packing[:cap(s.packing)], s.compressed); err == nil {
		_, err = s.load(e, s.packing)
	}
	if err != nil {
		panic("shard: cannot read what it packed: " + err.Error())
	}
	e.position = at
}

// latest returns the greatest time of the entity's calls.
func (e *entity) latest() int64 {
	t := e.watches[0].latest
	for i := range e.watches {
		t = max(t, e.watches[i].latest)
	}
	return t
}
