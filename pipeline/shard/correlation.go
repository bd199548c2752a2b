package shard

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
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
	place    callPlace
	detector string
	id       string
	firstBad string
	value    uint64 // hash of what is counted; 0 where nothing is
}

// callPlace says where the call of a sign stands in the logs of all agents: when it was appended, and where.
type callPlace struct {
	log       int64
	partition int32
	position
}

func placeOf(src Source) callPlace {
	return callPlace{src.Appended, src.Partition, position{src.Offset, int32(src.Index)}}
}

func (p callPlace) compare(q callPlace) int {
	return cmp.Or(cmp.Compare(p.log, q.log), cmp.Compare(p.partition, q.partition), p.position.compare(q.position))
}

// mostSigns bounds what a correlation keeps of one entity: the oldest goes.
const mostSigns = 128

// keptID is the id of a call as signs keep it. The state of an entity must fit into a record, whatever agents call
// their calls.
func keptID(id string) string {
	if len(id) <= mostKeptID {
		return id
	}
	return strings.ToValidUTF8(id[:mostKeptID], "") + "…"
}

const mostKeptID = 128 // bytes

// correlate gives the detections of the entity from the index on, which the call at t led to, to the correlations
// whose signs are all found here. Their time is the latest of the entity's calls: an agent that dates its calls back
// must not keep its detections apart by it.
func (s *Shard) correlate(e *entity, from int, c *telemetry.Call, t int64, src Source) {
	signs := s.Detections[from:]
	for _, r := range s.correlations[e.key[0]] {
		if r.Correlation.Exchanged() {
			continue
		}
		if len(r.overrides) > 0 {
			r = r.override(s.bits)
		}
		member := func(d Detected) bool { return r.Correlation.Members(d.Index) != 0 } // of canaries never
		if !slices.ContainsFunc(signs, member) || s.excepted(r, e, c, t) {
			continue
		}
		for i := range signs {
			if d := &signs[i]; member(*d) {
				s.sign(r, e, sign{at: e.last, detector: d.Detector, id: d.ID, firstBad: keptID(d.FirstBad)}, c, t, src)
			}
		}
	}
}

// sign takes in a sign that the call at t led to, and looks at the stretches of time that it lies in.
func (s *Shard) sign(r *rule, e *entity, sg sign, c *telemetry.Call, t int64, src Source) {
	k := e.correlated(r)
	k.latest = max(k.latest, sg.at)
	if !r.Correlation.Exchanged() {
		sg.at = k.latest
	}
	if k.quiet.holds(sg.at, src.Appended) {
		return
	}
	sg.place, sg.value = placeOf(src), signValue(r.Correlation, sg.detector, c)
	within := int64(r.Correlation.Within)
	for from, i, last := 0, s.insert(k, sg), 0; i+last < len(k.signs) && k.signs[i+last].at < k.signs[i].at+within; last++ {
		end := k.signs[i+last].at
		for k.signs[from].at <= end-within {
			from++
		}
		if some := k.signs[from : i+last+1]; s.complete(r, some) && r.FiresAt(end) {
			s.detectCorrelated(r, e, k, some, c, t, src)
			k.begin(i + last + 1)
			return
		}
	}
}

// insert puts a sign among the others, and returns its place.
//
// Signs from several partitions come in any order. They stand in that of their calls in the log, and none is older
// than one before it: a call that is dated back counts when it came. Those of the latest time are not all that
// count, for a partition may be behind. So what signs make together does not depend on which of them came first.
func (s *Shard) insert(k *correlated, sg sign) int {
	c, i := k.rule.Correlation, len(k.signs)
	for c.Exchanged() && i > 0 && s.precedes(&sg, &k.signs[i-1]) {
		i--
	}
	k.signs = slices.Insert(k.signs, i, sg)
	for j := max(i, 1); j < len(k.signs); j++ {
		k.signs[j].at = max(k.signs[j].at, k.signs[j-1].at)
	}
	kept, at := k.signs[:0], 0
	for j := range k.signs {
		if j == i {
			at = len(kept)
		} else if k.past(j) {
			continue
		}
		kept = append(kept, k.signs[j])
	}
	clear(k.signs[len(kept):])
	k.signs = kept
	switch {
	case len(kept) <= mostSigns:
	case at == 0:
		k.signs = slices.Delete(kept, 1, 2)
	default:
		k.signs, at = slices.Delete(kept, 0, 1), at-1
	}
	return at
}

// past reports whether sign i can count no more: whether no sign that comes can lie within the time of the
// correlation with it, or another one of the same value does wherever it does.
func (k *correlated) past(i int) bool {
	c, sg := k.rule.Correlation, &k.signs[i]
	if !c.Exchanged() && sg.at <= k.latest-int64(c.Within) {
		return true
	}
	return c.Kind == detector.CorrelateDistinct && slices.ContainsFunc(k.signs[i+1:], func(later sign) bool {
		return later.value == sg.value && later.at < sg.at+int64(c.Within)
	})
}

// begin begins anew after a detection with the signs from an index on, those that lie behind the time in which the
// entity does not fire.
func (k *correlated) begin(from int) {
	k.signs = slices.DeleteFunc(slices.Clone(k.signs[from:]), func(sg sign) bool { return k.quiet.holds(sg.at, sg.place.log) })
}

// precedes orders signs; of one call by what found them, as a shard does.
func (s *Shard) precedes(a, b *sign) bool {
	return cmp.Or(a.place.compare(b.place), cmp.Compare(s.indexes[a.detector], s.indexes[b.detector])) < 0
}

func (s *Shard) complete(r *rule, signs []sign) bool {
	var members, values []uint64
	for i := range signs {
		members = append(members, r.Correlation.Members(s.indexes[signs[i].detector]))
		values = append(values, signs[i].value)
	}
	return r.Correlation.Complete(members, values)
}

// signValue hashes what a correlation counts of a detection that a call led to.
func signValue(c *detector.Correlation, found string, call *telemetry.Call) uint64 {
	if c.Kind != detector.CorrelateDistinct {
		return 0
	}
	value := call.Agent
	switch c.Field {
	case "detector":
		return xxhash.Sum64String(found)
	case "identity":
		value = call.Identity
	case "session":
		value = call.Session
	case "action":
		value = call.Action
	case "resource":
		value = call.Resource
	case "chain_root":
		value = call.Root()
	}
	return xxhash.Sum64(value)
}

// detectCorrelated writes the detection that several make together.
func (s *Shard) detectCorrelated(r *rule, e *entity, k *correlated, signs []sign, c *telemetry.Call, t int64, src Source) {
	last := &signs[len(signs)-1]
	mode := r.foundIn(last.at)
	d := detection(r, e, mode, c, t, src)
	d.Reason, d.FirstBad, d.Features = r.Correlation.Text, signs[0].firstBad, []detector.Sample{}
	for _, sg := range signs {
		d.Signs = append(d.Signs, detector.Sign{ID: sg.id, Detector: sg.detector, Time: time.Unix(0, sg.at).UTC()})
	}
	still := k.graded.answer(r, mode, last.at, &d)
	k.quiet = quiet{last.at + still, last.place.log + still}
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
			b = binary.AppendVarint(binary.AppendVarint(b, sg.place.log), int64(sg.place.partition))
			b = appendPosition(b, sg.place.position)
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
			sg := sign{at: r.varint(), place: callPlace{r.varint(), int32(r.varint()), r.position()}}
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
