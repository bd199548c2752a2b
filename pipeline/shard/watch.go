package shard

import (
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const noSlot = math.MinInt64

// watch is what one rule keeps for one entity.
type watch struct {
	rule      *rule
	peers     *peerRule
	since     int64  // calls of the entity before the warm-up began
	slots     int64  // active slots closed, or sessions
	slot      int64  // the open slot, or noSlot
	latest    int64  // the greatest time of a call that matched
	sampled   int64  // when samples were last written, the calls' own time
	version   uint64 // hash of what Relearn names, at the last call; 0: none yet
	relearned int64  // when the baselines last began to relearn, the calls' own time
	quiet     quiet
	graded    escalation
	silent    bool    // the call under way falls into it
	settled   bool    // its baselines have seen enough to speak
	warm      bool    // and for long enough to judge it by
	counted   bool    // the peers know what it is like
	supposed  bool    // it believes what the peers are like
	band      Band    // of its evidence, when it was last weighed for a risk
	total     float64 // log evidence after the last call
	block     block
	firstBad  []byte // id of the call with which evidence began to rise
	features  []feature
	evidence  []evidence
	sessions  *sessions // nil where neither evidence nor a feature asks for them
}

func newWatch(r *rule, p *peerRule) watch {
	w := watch{
		rule: r, peers: p, slot: noSlot, latest: math.MinInt64, total: math.Inf(-1),
		features: make([]feature, len(r.Features)),
		evidence: make([]evidence, len(r.Evidence)),
	}
	for i, f := range r.Features {
		w.features[i] = newFeature(f, r.windowed[i])
	}
	for i := range r.Evidence {
		w.evidence[i] = newEvidence(r, i)
	}
	if r.sessions {
		w.sessions = newSessions()
	}
	return w
}

// quiet is the time after a detection in which the entity does not fire again, in the calls'
// own time and in that of the log. It is over when either has passed it: neither an agent that
// dates its calls back nor an import of history makes it last.
type quiet struct{ own, log int64 }

func (q quiet) holds(t, appended int64) bool { return t < q.own && appended < q.log }

// known reports whether the entity has been seen enough to be judged, or enough of its
// peers have.
func (w *watch) known(r *rule) bool {
	return (w.warm || r.WarmupPeers > 0 && w.peers.warm() >= r.WarmupPeers) && (!r.Within || w.seasoned(r))
}

// begin takes note of a call at t, before it is judged, and reports whether with it the
// entity has warmed up. All calls of the entity count, those too that the rule does not
// match: what an entity never did in a long past is known of it.
func (w *watch) begin(r *rule, e *entity, t int64) (warmed bool) {
	w.latest = max(w.latest, t)
	if w.warm {
		return false
	}
	if !w.settled {
		w.settled = e.calls-w.since > int64(r.WarmupCalls) && w.slots >= int64(r.WarmupSlots)
		if !w.settled {
			return false
		}
		w.calm() // what young baselines took for evidence is none
		w.block.begun = false
	}
	since := w.seenSince(e)
	if w.warm = since != never && w.latest-since >= int64(r.WarmupTime); w.warm {
		w.calm() // the slots before it was known accuse nobody
	}
	return w.warm
}

// calm forgets all evidence.
func (w *watch) calm() {
	w.total = math.Inf(-1)
	for i := range w.evidence {
		w.evidence[i].reset()
	}
}

// high reports whether evidence is so high that nothing may be learned from what goes on. As
// long as an entity is not known all is learned.
func (w *watch) high(r *rule) bool { return w.total > w.block.level/2 && w.known(r) }

// renew lets the baselines relearn where the call at t carries another version than the call
// before: what the entity now does it may never have done. It is not judged by its own past
// until it has been seen in as many calls and slots as at first, however long that takes. Once a
// day at most: versions are what an agent says of itself.
func (s *Shard) renew(r *rule, e *entity, w *watch, c *telemetry.Call, t int64) {
	h, ok := s.fieldHash(c, r.Relearn, r.relearn)
	if !ok {
		return
	}
	h |= 1
	was := w.version
	w.version = h
	now := max(w.latest, t) // by a call that is dated back no day has passed
	if was == 0 || was == h || w.relearned != 0 && now-w.relearned < int64(relearnAfter) {
		return
	}
	w.relearned = now
	w.since, w.slots, w.settled, w.warm = e.calls, 0, false, false
	w.calm()
	for i := range w.evidence {
		w.evidence[i].doubt()
	}
	for i := range w.features {
		if q := w.features[i].sequence; q != nil {
			q.doubt()
		}
	}
}

// observe takes a matching call in: first the evidence, from what the baselines predict,
// then what the models learn.
//
// A late call is evidence in the slot that is open when it comes. Its time is the word of
// whoever sends it: an agent that dates its calls back must not be judged the milder for it.
func (s *Shard) observe(r *rule, e *entity, w *watch, se *session, c *telemetry.Call, t int64) {
	known := w.known(r)
	high := w.high(r)
	if r.Within {
		high = se.fired
	}
	for i := range w.features {
		switch r.Features[i].Kind {
		case detector.KindNew, detector.KindSurprise:
			s.drawKind(r, e, w, i, c, t, known, high, w.silent)
		default:
			s.observeFeature(r, w, i, se, c, t)
		}
	}
	if !w.silent && !r.Within {
		w.weigh(r, c)
		if w.total > w.block.crest && r.FiresAt(w.latest) {
			w.block.crest = w.total
		}
	}
}

// drawKind takes the call's kind of feature i in.
func (s *Shard) drawKind(r *rule, e *entity, w *watch, i int, c *telemetry.Call, t int64, known, high, quiet bool) {
	f, spec := &w.features[i], &r.Features[i]
	f.value, f.kinds.counts = 0, false
	h, ok := s.hash(r, i, c)
	if !ok || quiet {
		return
	}
	surprise := spec.Kind == detector.KindSurprise
	learned := f.kinds.draw(h, t, surprise, high || surprise && known)
	if !surprise {
		f.kinds.compare(h, w.peers, i)
		if learned {
			s.tellKind(e, r, w, i, h)
		}
	}
	f.value = f.kinds.value(spec.Kind)
}

// ByEvidence is why a detector fires whose evidence reached its level.
const ByEvidence = "evidence"

// broken returns why the detector fires at this call: the text of its hard limit,
// "evidence", or "" if it does not.
func (w *watch) broken(r *rule) string {
	if r.When != nil {
		for i := range w.features {
			r.values[i] = w.features[i].value
		}
		if r.When.Eval(r.values) {
			return r.WhenText
		}
	}
	if len(r.Evidence) > 0 && w.total >= w.block.asked() && !w.silent && w.known(r) {
		return ByEvidence
	}
	return ""
}

func (w *watch) judgement(r *rule, e *entity, se *session, t int64, reason string) Judgement {
	for i := range w.features {
		r.values[i] = w.features[i].value
	}
	return Judgement{r.Compiled, e.key, w.known(r), w.total, w.block.asked(), r.values, r.index, judged{w, r, e, se, t, reason}}
}

// markFirstBad remembers the call with which the evidence began to rise, until it has
// fallen back.
func (w *watch) markFirstBad(r *rule, c *telemetry.Call) {
	rising := w.total > w.block.level/4
	switch {
	case !rising:
		w.firstBad = w.firstBad[:0]
	case len(w.firstBad) == 0:
		w.firstBad = append(w.firstBad, c.ID...)
	}
}

// close ends the open slot: what it held is learned unless evidence is high, for models must
// not learn from an attack.
func (s *Shard) close(r *rule, e *entity, w *watch) {
	begin := w.slot * int64(r.Slot)
	high := w.high(r)
	w.slots++
	for i := range w.evidence {
		ev := &w.evidence[i]
		if s.opt.PValue != nil && w.known(r) {
			if at, beyond, ok := ev.logTails(begin); ok {
				s.opt.PValue(r.ID, r.Features[r.Evidence[i].Feature].Name, at, beyond)
			}
		}
		if !high {
			ev.learn(begin)
		}
		ev.open, ev.draws, ev.weighed = 0, 0, false
		ev.detector.Close()
	}
	if high {
		return
	}
	for i := range w.features {
		if w.features[i].kinds != nil {
			s.settle(r, e, w, i, begin+int64(r.Slot))
		}
	}
}

// settle learns the kinds of feature i that were held back, at time t.
func (s *Shard) settle(r *rule, e *entity, w *watch, i int, t int64) {
	surprise := r.Features[i].Kind == detector.KindSurprise
	w.features[i].kinds.settle(t, surprise, func(h uint64) {
		if !surprise {
			s.tellKind(e, r, w, i, h)
		}
	})
}

// fired starts anew after a detection: what was seen under high evidence is forgotten, not learned.
func (w *watch) fired(until quiet, reason string) {
	switch {
	case reason != ByEvidence:
		w.quiet = until
	case w.rule.Within: // a session fires once, and the others of the entity are judged on
	default:
		w.quiet = until
		w.block.alarms = min(w.block.alarms+1, mostDoublings)
	}
	w.restart()
}

// restart forgets all evidence and what gave rise to it.
func (w *watch) restart() {
	w.calm()
	w.firstBad = w.firstBad[:0]
	for i := range w.evidence {
		w.evidence[i].open, w.evidence[i].draws, w.evidence[i].weighed = 0, 0, false
	}
	for i := range w.features {
		if k := w.features[i].kinds; k != nil {
			k.forget()
		}
	}
}
