package shard

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// correlated is what one correlation keeps for one entity. Most entities never have a detection, and keep nothing.
type correlated struct {
	rule   *rule
	latest int64 // the greatest time of a sign
	quiet  quiet
	graded escalation
	signs  []sign // within the time of the correlation, by time
}

// sign is a detection that counts for a correlation.
type sign struct {
	at       int64
	detector string
	id       string
	firstBad string
	value    uint64 // hash of what is counted; 0 where nothing is
}

// mostSigns bounds what a correlation keeps of one entity: the oldest goes.
const mostSigns = 128

// correlate gives the detections of the entity from the index on, which the call at t led to, to the correlations.
func (s *Shard) correlate(e *entity, from int, c *telemetry.Call, t int64, src Source) {
	signs := s.Detections[from:]
	for _, r := range s.correlations[e.key[0]] {
		if len(r.overrides) > 0 {
			r = r.override(s.bits)
		}
		if s.excepted(r, e, c, t) {
			continue
		}
		for i := range signs {
			if r.Correlation.Members(signs[i].Index) != 0 { // of canaries never
				s.sign(r, e, &signs[i].Detection, c, t, src)
			}
		}
	}
}

// sign takes a detection in. Its time is the latest of the entity's calls: an agent that dates its calls back must not
// keep its detections apart by it.
func (s *Shard) sign(r *rule, e *entity, d *detector.Detection, c *telemetry.Call, t int64, src Source) {
	k := e.correlated(r)
	k.latest = max(k.latest, e.last)
	if k.quiet.holds(k.latest, src.Appended) {
		return
	}
	sg := sign{at: k.latest, detector: d.Detector, id: d.ID, firstBad: d.FirstBad, value: signValue(r.Correlation, d)}
	k.signs = slices.DeleteFunc(k.signs, func(old sign) bool {
		return old.at <= k.latest-int64(r.Correlation.Within) || r.Correlation.Kind == detector.CorrelateDistinct && old.value == sg.value
	})
	if len(k.signs) == mostSigns {
		k.signs = slices.Delete(k.signs, 0, 1)
	}
	k.signs = append(k.signs, sg)
	if s.complete(r, k) && r.FiresAt(k.latest) {
		s.detectCorrelated(r, e, k, c, t, src)
	}
}

func (s *Shard) complete(r *rule, k *correlated) bool {
	var members, values []uint64
	for _, sg := range k.signs {
		members = append(members, r.Correlation.Members(s.indexes[sg.detector]))
		values = append(values, sg.value)
	}
	return r.Correlation.Complete(members, values)
}

// signValue hashes what a correlation counts of a detection.
func signValue(c *detector.Correlation, d *detector.Detection) uint64 {
	if c.Kind != detector.CorrelateDistinct {
		return 0
	}
	value := d.Agent
	switch c.Field {
	case "detector":
		value = d.Detector
	case "identity":
		value = d.Identity
	case "session":
		value = d.Session
	case "action":
		value = d.Action
	case "resource":
		value = d.Resource
	case "chain_root":
		if len(d.Chain) > 0 {
			value = d.Chain[0]
		}
	}
	return xxhash.Sum64String(value)
}

// detectCorrelated writes the detection that several make together.
func (s *Shard) detectCorrelated(r *rule, e *entity, k *correlated, c *telemetry.Call, t int64, src Source) {
	mode := r.foundIn(k.latest)
	d := detection(r, e, mode, c, t, src)
	d.Reason, d.FirstBad, d.Features = r.Correlation.Text, k.signs[0].firstBad, []detector.Sample{}
	for _, sg := range k.signs {
		d.Signs = append(d.Signs, detector.Sign{ID: sg.id, Detector: sg.detector, Time: time.Unix(0, sg.at).UTC()})
	}
	still := k.graded.answer(r, mode, k.latest, &d)
	k.quiet, k.signs = quiet{k.latest + still, src.Appended + still}, nil
	s.found(d, r)
}

// correlated returns what the entity keeps for a correlation, begun if there is nothing yet.
func (e *entity) correlated(r *rule) *correlated {
	for i := range e.correlations {
		if e.correlations[i].rule == r {
			return &e.correlations[i]
		}
	}
	e.correlations = append(e.correlations, correlated{rule: r})
	return &e.correlations[len(e.correlations)-1]
}

func (e *entity) appendCorrelations(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.correlations)))
	for i := range e.correlations {
		k := &e.correlations[i]
		b = binary.LittleEndian.AppendUint64(b, k.rule.shape)
		b = binary.AppendVarint(b, k.latest)
		b = binary.AppendVarint(binary.AppendVarint(b, k.quiet.own), k.quiet.log)
		b = k.graded.appendState(b)
		b = binary.AppendUvarint(b, uint64(len(k.signs)))
		for _, sg := range k.signs {
			b = binary.AppendVarint(b, sg.at)
			for _, text := range []string{sg.detector, sg.id, sg.firstBad} {
				b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
			}
			b = binary.LittleEndian.AppendUint64(b, sg.value)
		}
	}
	return b
}

func (s *Shard) loadCorrelations(e *entity, r *reader) {
	e.correlations = nil
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		k := correlated{rule: ruleOf(s.correlations[e.key[0]], r.uint64(), tenantOf(e.key))}
		k.latest = r.varint()
		k.quiet = quiet{r.varint(), r.varint()}
		k.graded.load(r)
		for n := r.uvarint(); n > 0 && r.err == nil; n-- {
			sg := sign{at: r.varint()}
			for _, text := range []*string{&sg.detector, &sg.id, &sg.firstBad} {
				*text = string(r.bytes(r.uvarint()))
			}
			if sg.value = r.uint64(); len(k.signs) < mostSigns && s.counts(k.rule, sg.detector) {
				k.signs = append(k.signs, sg)
			}
		}
		if k.rule != nil && r.err == nil {
			e.correlations = append(e.correlations, k)
		}
	}
}

// counts reports whether a correlation counts the detections of a detector.
func (s *Shard) counts(r *rule, id string) bool {
	i, ok := s.indexes[id]
	return ok && r != nil && r.Correlation.Members(i) != 0
}

// reloadCorrelations goes over to the correlations of a new plan.
func (s *Shard) reloadCorrelations(e *entity) {
	kept := e.correlations[:0]
	for _, k := range e.correlations {
		if k.rule = ruleOf(s.correlations[e.key[0]], k.rule.shape, tenantOf(e.key)); k.rule != nil {
			k.signs = slices.DeleteFunc(k.signs, func(sg sign) bool { return !s.counts(k.rule, sg.detector) })
			kept = append(kept, k)
		}
	}
	clear(e.correlations[len(kept):])
	e.correlations = kept
}
