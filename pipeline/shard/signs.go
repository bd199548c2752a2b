package shard

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Sign is a detection on its way to the correlations of another entity.
type Sign struct {
	Detector string // its id
	ID       string // of the detection
	FirstBad string
	At       int64 // the latest time of the calls of its entity
}

// Signs are the detections that one call led to, for the correlations that group by By.
type Signs struct {
	By    detector.Entity
	Signs []Sign
}

// address notes which detections a correlation is to be sent.
func (s *Shard) address(d *detector.Compiled) {
	if !d.Correlation.Exchanged() {
		return
	}
	for i := range s.sends {
		if d.Correlation.Members(i) != 0 {
			s.sends[i] |= 1 << d.GroupBy
		}
	}
}

// addSigns puts out the detections of the entity from the index on, which the call led to, for the correlations that
// are judged elsewhere. A call that names nobody whom they group by is a sign of nobody.
func (s *Shard) addSigns(e *entity, from int, c *telemetry.Call) {
	for i := from; i < len(s.Detections); i++ {
		d := &s.Detections[i]
		for by := range s.sends[d.Index].All() {
			if len(entityValue(by, c)) > 0 {
				out := s.signsFor(by)
				out.Signs = append(out.Signs, Sign{d.Detector, d.ID, keptID(d.FirstBad), e.last})
			}
		}
	}
}

func (s *Shard) signsFor(by detector.Entity) *Signs {
	for i := range s.Signs {
		if s.Signs[i].By == by {
			return &s.Signs[i]
		}
	}
	s.Signs = append(s.Signs, Signs{By: by})
	return &s.Signs[len(s.Signs)-1]
}

// Correlate gives detections that the call led to in another shard to the correlations that group by by, and reach
// this one at an offset of the exchange. Src is where the call stands in the topic of calls.
func (s *Shard) Correlate(by detector.Entity, c *telemetry.Call, signs []Sign, src Source, offset int64) {
	rules := s.correlations[by]
	if len(rules) == 0 {
		return
	}
	s.classify(c)
	s.key = AppendEntityKey(s.key[:0], by, c)
	e := s.entity(s.key)
	if e == nil {
		s.Stats.Unwatched++
		return
	}
	if !e.advance(position{offset, 0}) {
		return
	}
	s.wake(e)
	s.entities.touch(e)
	limit := src.Appended + int64(s.opt.MaxAhead)
	t := min(c.Time, limit)
	for _, r := range rules {
		if !r.Correlation.Exchanged() {
			continue
		}
		if len(r.overrides) > 0 {
			r = r.override(s.bits)
		}
		member := func(sg Sign) bool { return s.counts(r, sg.Detector) }
		if !slices.ContainsFunc(signs, member) || s.excepted(r, e, c, t) {
			continue
		}
		for _, sg := range signs {
			if member(sg) {
				s.sign(r, e, sign{at: min(sg.At, limit), detector: sg.Detector, id: sg.ID, firstBad: keptID(sg.FirstBad)}, c, t, src)
			}
		}
	}
}

// mostSent bounds the signs that ParseSigns reads.
const mostSent = 1 << 12

// errSigns says that signs are cut or garbled.
var errSigns = errors.New("garbled signs")

// AppendSigns writes what ParseSigns reads.
func AppendSigns(b []byte, signs []Sign) []byte {
	b = binary.AppendUvarint(b, uint64(len(signs)))
	for i := range signs {
		sg := &signs[i]
		for _, text := range [...]string{sg.Detector, sg.ID, sg.FirstBad} {
			b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
		}
		b = binary.AppendVarint(b, sg.At)
	}
	return b
}

// ParseSigns reads signs off bytes that are not trusted.
func ParseSigns(b []byte) ([]Sign, error) {
	r := reader{b: b}
	n := r.uvarint()
	if n > mostSent || n > uint64(len(b)) {
		return nil, errSigns
	}
	signs := make([]Sign, 0, n)
	for range n {
		var sg Sign
		for _, text := range [...]*string{&sg.Detector, &sg.ID, &sg.FirstBad} {
			*text = string(r.bytes(r.uvarint()))
		}
		sg.At = r.varint()
		signs = append(signs, sg)
	}
	if r.err != nil || len(r.b) > 0 {
		return nil, errSigns
	}
	return signs, nil
}
