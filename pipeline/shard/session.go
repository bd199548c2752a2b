package shard

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// sessions are the open sessions of an entity, and the scores of its closed ones. A rule
// that judges within sessions learns what the entity does and judges each session by itself:
// its evidence begins at nothing, and the level is what one in so many closed sessions
// reached.
type sessions struct {
	open  []session
	fired int              // how many of the open ones fired
	spare [][]float64      // logs of closed sessions, for new ones
	past  models.Conformal // the crests of closed sessions
}

// session is one open session.
type session struct {
	key      uint64
	last     int64 // the greatest time of its calls
	state    models.Session
	logs     []float64 // log evidence, by evidence
	crest    float64
	counts   bool   // the baselines had seen enough when it began
	fired    bool   // nothing more is learned from it, and it does not fire again
	firstBad []byte // id of the call with which evidence began to rise
}

const (
	// sessionIdle is how long a session has no call before it counts as ended.
	sessionIdle = int64(time.Hour)
	// mostSessions bounds the open sessions of an entity: the one without a call for longest ends.
	mostSessions = 32
	// keptSessions is among how many closed sessions an open one is ranked.
	keptSessions = 2048
	// leastSessions is from how many closed sessions on an entity is known.
	leastSessions = 30
	// sessionCap bounds what an entity remembers of the order of its calls.
	sessionCap = 128
)

func newSessions() *sessions { return &sessions{past: models.NewConformal(keptSessions)} }

// find returns the open session with a key, nil if there is none.
func (ss *sessions) find(key uint64) *session {
	for i := range ss.open {
		if ss.open[i].key == key {
			return &ss.open[i]
		}
	}
	return nil
}

// session returns the session of the call at t, begun if it is new. Then those that ended are closed.
func (s *Shard) session(r *rule, e *entity, w *watch, c *telemetry.Call, t int64) *session {
	key, _ := s.fieldHash(c, detector.FieldSession, "")
	se := w.sessions.find(key)
	if se != nil && t-se.last <= sessionIdle {
		se.last = max(se.last, t)
		return se
	}
	s.closeSessions(r, e, w, t)
	w.sessions.open = append(w.sessions.open, session{
		key: key, last: t, logs: w.sessions.logs(len(r.Evidence)), counts: w.settled,
	})
	return &w.sessions.open[len(w.sessions.open)-1]
}

// logs returns room for the log evidence of a new session.
func (ss *sessions) logs(n int) []float64 {
	if last := len(ss.spare) - 1; last >= 0 {
		logs := ss.spare[last]
		ss.spare = ss.spare[:last]
		clear(logs)
		return logs
	}
	return make([]float64, n)
}

// closeSessions closes those that had no call for long, and the one that had none for
// longest where there are too many.
func (s *Shard) closeSessions(r *rule, e *entity, w *watch, t int64) {
	kept := w.sessions.open[:0]
	oldest := 0
	for i := range w.sessions.open {
		se := &w.sessions.open[i]
		if t-se.last > sessionIdle {
			s.closeSession(r, e, w, se)
			continue
		}
		if len(kept) > 0 && se.last < kept[oldest].last {
			oldest = len(kept)
		}
		kept = append(kept, *se)
	}
	if len(kept) == mostSessions {
		s.closeSession(r, e, w, &kept[oldest])
		kept = append(kept[:oldest], kept[oldest+1:]...)
	}
	clear(w.sessions.open[len(kept):])
	w.sessions.open = kept
}

// closeSession learns how high the evidence of a session rose.
func (s *Shard) closeSession(r *rule, e *entity, w *watch, se *session) {
	w.sessions.spare = append(w.sessions.spare, se.logs)
	if !r.Within {
		return
	}
	w.slots++
	s.closeKinds(r, e, w, se)
	if se.counts {
		s.allow(r, w)
		crest := min(se.crest, w.block.level) // what fired counts as if just below
		s.learnCrest(r, e, w, crest, se.crest >= w.block.level)
		w.sessions.past.Add(crest)
		w.setLevel(r)
	}
}

// closeKinds forgets what was held back where the session fired, and learns it where none did
// that is still open: whose it was is not known.
func (s *Shard) closeKinds(r *rule, e *entity, w *watch, se *session) {
	if se.fired {
		w.sessions.fired--
	}
	for i := range w.features {
		switch k := w.features[i].kinds; {
		case k == nil:
		case se.fired:
			k.forget()
		case w.sessions.fired == 0:
			s.settle(r, e, w, i, se.last)
		}
	}
}

// level is the evidence that one in so many closed sessions of the entity reached, by a law, and
// where there are enough of them by their ranks too, and no less than what the budget asks of
// the evidence. There is none before some have closed.
func (ss *sessions) level(r *rule, w *watch) float64 {
	if !w.seasoned(r) {
		return models.MaxLogE
	}
	level := r.level(&w.block.past, w.peers)
	if rank := ss.past.Level(1 / r.Blocks); !math.IsInf(rank, 0) {
		level = max(level, rank)
	}
	return level
}

// seasoned reports whether enough sessions closed, of the entity or of its peers.
func (w *watch) seasoned(r *rule) bool {
	return w.sessions.past.N() >= leastSessions || r.WarmupPeers > 0 && w.peers.blocks().Slots() >= leastPeerBlocks
}

// restart lets the session's evidence begin anew, where nothing may fire on what it is.
func (se *session) restart() {
	clear(se.logs)
	se.crest, se.firstBad = 0, nil
}

// judgeSession judges the call at t within its session.
func (s *Shard) judgeSession(r *rule, e *entity, w *watch, c *telemetry.Call, t int64, src Source) {
	se := s.session(r, e, w, c, t)
	s.observe(r, e, w, se, c, t)
	w.total = math.Inf(-1)
	for i := range se.logs {
		f := &w.features[r.Evidence[i].Feature]
		switch r.Features[r.Evidence[i].Feature].Kind {
		case detector.KindSequence:
			se.logs[i] = max(se.logs[i], f.value)
		default:
			if f.kinds.counts {
				se.logs[i] = max(0, se.logs[i]+f.kinds.logE())
			}
		}
		w.total = logAddExp(w.total, r.logWeights[i]+se.logs[i])
	}
	se.crest = max(se.crest, w.total)
	if se.firstBad == nil && w.total > w.block.level/2 {
		se.firstBad = append(se.firstBad, c.ID...)
	}
	reason := w.broken(r)
	if s.opt.Judged != nil {
		s.opt.Judged(w.judgement(r, e, se, t, reason))
	}
	if reason == "" || se.fired || w.silent {
		return
	}
	if !r.FiresAt(w.latest) {
		se.restart()
		w.restart()
		return
	}
	w.firstBad = append(w.firstBad[:0], se.firstBad...)
	se.fired = true
	w.sessions.fired++
	for i := range w.evidence { // what the samples tell
		w.evidence[i].reset()
		w.evidence[i].detector.Mul(se.logs[i])
	}
	s.detect(r, e, w, c, t, src, reason)
}

// sequence is what an entity remembers of the order of its calls: of the whole calls, or of
// the values of one field.
type sequence struct {
	calls *models.SessionBaseline
	chain *models.Markov
}

func newSequence(f detector.Field) *sequence {
	if f == detector.FieldCall {
		calls := models.NewSessionBaseline(sessionCap)
		return &sequence{calls: &calls}
	}
	chain := models.NewMarkov(3, 4*sessionCap)
	return &sequence{chain: &chain}
}

// doubt takes from what was learned of the order of calls, so that it relearns soon.
func (q *sequence) doubt() {
	if q.chain != nil {
		q.chain.Doubt(priorMost)
		return
	}
	q.calls.Doubt(priorMost)
}

// follow returns how surprising the call is after the others of its session, in nats, and
// learns it unless the session has fired.
func (s *Shard) follow(r *rule, i int, q *sequence, se *session, c *telemetry.Call) float64 {
	if q.chain != nil {
		h, _ := s.hash(r, i, c)
		surprise := -q.chain.LogProb(se.state.History(), h, 0)
		if !se.fired {
			q.chain.Learn(se.state.History(), h)
		}
		se.state.Take(&models.SessionCall{Action: h, Value: h}, surprise)
		return surprise
	}
	s.tokens = appendTokens(s.tokens[:0], c.Resource)
	action, _ := s.fieldHash(c, detector.FieldAction, "")
	resource, _ := s.fieldHash(c, detector.FieldResource, "")
	sc := models.SessionCall{Action: action, Way: pairHash(action, uint64(c.Outcome)+1), Value: resource, Tokens: s.tokens}
	surprise := q.calls.Surprise(&se.state, &sc, nil)
	if !se.fired {
		q.calls.Learn(&se.state, &sc, nil)
	}
	se.state.Take(&sc, surprise)
	return surprise
}

// mostTokens bounds the work on one resource.
const mostTokens = 32

// appendTokens appends the hashes of the words and numbers in a resource: the runs of letters
// and of digits, after the parameter's name if it has one (key=value).
func appendTokens(to []uint64, resource []byte) []uint64 {
	for i, b := range resource {
		if b == '=' {
			resource = resource[i+1:]
			break
		}
	}
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3 // FNV-1a
	h, was := uint64(offset), byte(0)
	for i := 0; i <= len(resource); i++ {
		class, b := byte(0), byte(0)
		if i < len(resource) {
			b = resource[i]
			switch {
			case b >= 'A' && b <= 'Z':
				b += 'a' - 'A'
				class = 1
			case b >= 'a' && b <= 'z':
				class = 1
			case b >= '0' && b <= '9':
				class = 2
			}
		}
		if class != was && was != 0 {
			if to = append(to, pairHash(h, 0)); len(to) == mostTokens {
				return to
			}
			h = offset
		}
		if class != 0 {
			h = (h ^ uint64(b)) * prime
		}
		was = class
	}
	return to
}

func (ss *sessions) appendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(ss.open)))
	for i := range ss.open {
		se := &ss.open[i]
		b = binary.LittleEndian.AppendUint64(b, se.key)
		b = binary.AppendVarint(b, se.last)
		b = append(b, byte(truth(se.counts)), byte(truth(se.fired)))
		b = appendFloat(b, se.crest)
		for _, log := range se.logs {
			b = appendFloat(b, log)
		}
		b = binary.AppendUvarint(b, uint64(len(se.firstBad)))
		b = append(b, se.firstBad...)
		b, _ = se.state.AppendBinary(b) // the models never refuse
	}
	b, _ = ss.past.AppendBinary(b)
	return b
}

func (ss *sessions) load(r *reader, rule *rule) {
	for n := min(r.uvarint(), mostSessions); n > 0 && r.err == nil; n-- {
		se := session{key: r.uint64(), last: r.varint(), counts: r.uvarint() == 1, fired: r.uvarint() == 1}
		se.crest = r.float()
		for range rule.Evidence {
			se.logs = append(se.logs, r.float())
		}
		if id := r.bytes(r.uvarint()); len(id) > 0 {
			se.firstBad = append(se.firstBad, id...)
		}
		if r.err == nil {
			r.b, r.err = se.state.DecodeBinary(r.b)
		}
		ss.open = append(ss.open, se)
		if se.fired {
			ss.fired++
		}
	}
	if r.err == nil {
		r.b, r.err = ss.past.DecodeBinary(r.b)
	}
}
