// Package shard turns calls into detections. A shard owns the entities of one partition:
// one goroutine touches it, so it has no locks, and on the way of a call it does not
// allocate, read a clock or call through an interface.
//
// The same log gives the same detections: a shard's only inputs are the calls, their
// offsets and the append times that stand in the log.
package shard

import (
	"iter"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Source says where in the topic of calls a call stands. Detections are named after it.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
	Index     int   // of the call inside its record; most records hold one call
	Appended  int64 // the record's timestamp, Unix nanoseconds
}

// Groups is a set of entities, one bit for each.
type Groups uint16

// Has reports whether the set holds e.
func (g Groups) Has(e detector.Entity) bool { return g&(1<<e) != 0 }

// All gives the entities of the set.
func (g Groups) All() iter.Seq[detector.Entity] {
	return func(yield func(detector.Entity) bool) {
		for e := detector.ByAgent; int(e) < groups; e++ {
			if g.Has(e) && !yield(e) {
				return
			}
		}
	}
}

// Options bound a shard.
type Options struct {
	// MaxAhead is how far a call's time may lie after its append; later times are held
	// to that bound and counted. Default 1 minute.
	MaxAhead time.Duration
	// SampleEvery is the least time between two samples of one entity's features, in the
	// calls' own time. Default 1 minute.
	SampleEvery time.Duration
	// MaxValues bounds the distinct values that are remembered for each field; past it
	// the memory of that field starts anew. Default 1<<20.
	MaxValues int
	// MaxEntities bounds the entities of a shard. Calls of further ones are counted in
	// Stats.Unwatched and not judged. Default 1<<22.
	MaxEntities int
	// RestAfter is how long an entity makes no call, in the calls' own time, before its
	// state is packed. Default 10 minutes.
	RestAfter time.Duration
	// Fetch reads a saved state back; see Stored. Nil: no entity is ever put away.
	Fetch func(place int64) (EntityState, error)
	// GroupAfter is after how many calls an agent joins its peer group, at most 255. Default 200.
	GroupAfter uint8
	// Risk makes the shard tell the risks of agents.
	Risk bool
	// PValue, if not nil, is given the predictive tails of each closed slot of a baseline of
	// counts or sizes, for measuring how well they are calibrated: log P(N ≥ n) and log P(N > n)
	// where n is what the slot held.
	PValue func(detector, feature string, logAtLeast, logBeyond float64)
	// Judged, if not nil, is given every judgement of a call, for measuring.
	Judged func(Judgement)
}

// Judgement is what a detector thinks of an entity after a call.
type Judgement struct {
	Detector *detector.Compiled
	Entity   string    // its key, as AppendEntityKey writes it; valid as long as the shard
	Known    bool      // whether it has been seen enough
	Evidence float64   // log evidence, -Inf without any
	Level    float64   // log evidence at which the detector fires
	Values   []float64 // of the features after the call; valid until the function returns

	Index int // of the detector in the plan

	at judged // for Explain
}

func (o Options) withDefaults() Options {
	if o.MaxAhead == 0 {
		o.MaxAhead = time.Minute
	}
	if o.SampleEvery == 0 {
		o.SampleEvery = time.Minute
	}
	if o.MaxValues == 0 {
		o.MaxValues = 1 << 20
	}
	if o.MaxEntities == 0 {
		o.MaxEntities = 1 << 22
	}
	if o.RestAfter == 0 {
		o.RestAfter = 10 * time.Minute
	}
	if o.GroupAfter == 0 {
		o.GroupAfter = groupAfter
	}
	return o
}

// Stats counts what a shard saw. All of it but what was put away and read back can be recomputed from the log.
type Stats struct {
	Calls      uint64 // judged
	Replayed   uint64 // already in the state of their entity
	Ahead      uint64 // held to MaxAhead
	Late       uint64 // older than the open slot of their entity
	Unwatched  uint64 // of entities past MaxEntities
	Evicted    uint64 // entities that were put away
	Fetched    uint64 // entities that were read back
	Detections uint64
}

// Shard holds the entities of one partition.
type Shard struct {
	plan  *detector.Plan
	opt   Options
	rules [groups][]*rule // detectors by what they group by
	// Of the same plan: those that judge detections, and the places of the others in it, by id.
	correlations [groups][]*rule
	indexes      map[string]int
	sends        []Groups // by place: the groupings of the correlations in other shards that count its detections
	// matching is how many of them match every call.
	matching [groups]int
	columns  []column // fields that conditions test, classified by value
	bits     []uint64 // of the call under way
	key      []byte
	turn     int      // of its entity's watches
	hashes   []hashed // of the fields of the call under way
	shape    hashed   // of its resource's shape
	scratch  []byte
	tokens   []uint64

	entities entities
	peers    map[string]*peers // by key
	// What was told since the last checkpoint, and what a restored state holds back.
	told       []told
	dirtyPeers []*peers
	awaited    []awaited
	sorted     bool     // awaited is in the order of the log
	at         position // of the last call
	latest     int64    // the greatest time of a call
	resting    int      // where rest goes on
	polled     int      // where Agents goes on
	floor      int64    // what was told below this offset the restored peers know
	err        error    // see Err
	packing    []byte   // scratch of rest and wake
	compressed []byte   // likewise

	// Detections, Signs, Samples and Risks are the shard's output. Whoever drains them truncates them.
	Detections []Detected
	Signs      []Signs // of one call; there are none without detections
	Samples    []detector.Sample
	Risks      []Risk
	Stats      Stats
	// Allowed is how many false alarms the budgets allowed in what has ended of them, the days, sessions or calls of
	// entities that are known, by the detector's index in the plan. Whoever drains it clears it, before a Reload at
	// the latest.
	Allowed []float64
	// Excepted is how many calls exceptions let pass, of correlations how often the calls of detections, likewise;
	// Excuses are the first of each exception, entity and day.
	Excepted []uint64
	Excuses  []Excuse
	excuses  excuses
}

const groups = detector.Entities

// Detected is a detection and the index in the plan of the detector that made it.
type Detected struct {
	detector.Detection
	Index int
}

// New returns an empty shard that computes what the plan names.
func New(plan *detector.Plan, opt Options) *Shard {
	opt = opt.withDefaults()
	s := &Shard{opt: opt, entities: newEntities(opt.MaxEntities), peers: map[string]*peers{}, at: position{offset: -1}}
	s.setPlan(plan)
	return s
}

func (s *Shard) setPlan(plan *detector.Plan) {
	s.plan = plan
	s.Allowed = make([]float64, len(plan.Detectors))
	s.Excepted, s.excuses = make([]uint64, len(plan.Detectors)), excuses{}
	s.bits = make([]uint64, plan.Words)
	s.columns = newColumns(plan, s.opt.MaxValues)
	s.hashes = make([]hashed, int(detector.FieldContext)+len(plan.ContextKeys))
	s.rules, s.matching = [groups][]*rule{}, [groups]int{}
	s.correlations, s.indexes, s.sends = [groups][]*rule{}, map[string]int{}, make([]Groups, len(plan.Detectors))
	for i, d := range plan.Detectors {
		if !d.Canary {
			s.indexes[d.ID] = i
		}
		if d.Correlation != nil {
			s.correlations[d.GroupBy] = append(s.correlations[d.GroupBy], newRule(i, d, plan.ContextKeys))
			s.address(d)
			continue
		}
		if len(d.Match) == 0 {
			s.matching[d.GroupBy]++
		}
		s.rules[d.GroupBy] = append(s.rules[d.GroupBy], newRule(i, d, plan.ContextKeys))
	}
	for g := range s.rules {
		partCanaries(s.rules[g])
		partCanaries(s.correlations[g])
	}
}

// Call judges a call against the detectors that group by agent, or by a pair with the agent. It
// returns the other groups that have a detector whose match the call meets: their entities live in
// the shards of the exchange topic.
func (s *Shard) Call(c *telemetry.Call, src Source) Groups {
	s.classify(c)
	for by := detector.ByAgent; int(by) < groups; by++ {
		if by == detector.ByAgent || by.Local() && s.met(by, c) {
			// Each judgement of a call has a place of its own, so that what one tells is not taken for what another told.
			s.judge(by, c, src, position{src.Offset, int32(src.Index*groups + int(by))})
		}
	}
	return s.forward(c, false)
}

// Stray returns all groups that a call must be sent to which stands in a partition that is
// not its agent's, because it was sent without its key.
func (s *Shard) Stray(c *telemetry.Call) Groups {
	s.classify(c)
	return s.forward(c, true)
}

// forward returns the groups that have a detector whose match the call meets, those too that are judged
// in the agent's own partition if stray.
func (s *Shard) forward(c *telemetry.Call, stray bool) Groups {
	var forward Groups
	for g := detector.ByAgent; int(g) < groups; g++ {
		if (stray || !g.Local()) && s.met(g, c) {
			forward |= 1 << g
		}
	}
	return forward
}

// met reports whether the call has an entity of the group and meets the match of one of its detectors.
func (s *Shard) met(by detector.Entity, c *telemetry.Call) bool {
	for _, r := range s.rules[by] {
		if r.Match.Eval(s.bits) {
			return len(entityValue(by, c)) > 0
		}
	}
	return false
}

// Grouped judges a call that reached this shard at an offset of the exchange, against the
// detectors that group by by. Src is where the call stands in the topic of calls.
func (s *Shard) Grouped(by detector.Entity, c *telemetry.Call, src Source, offset int64) {
	s.classify(c)
	s.judge(by, c, src, position{offset, 0})
}

// judge applies the rules of one group to the call's entity.
func (s *Shard) judge(by detector.Entity, c *telemetry.Call, src Source, at position) {
	rules := s.rules[by]
	if len(rules) == 0 {
		return
	}
	s.key = AppendEntityKey(s.key[:0], by, c)
	e := s.entity(s.key)
	if e == nil {
		s.Stats.Unwatched++
		return
	}
	advanced := e.advance(at)
	if len(s.awaited) > 0 {
		s.hear(at, !advanced)
	}
	s.at = at
	_, pair := by.Partner() // of whose call its agent's judgement is the one that counts
	if !advanced {
		if !pair {
			s.Stats.Replayed++
		}
		return
	}
	if e.packed != "" {
		s.wake(e)
	}
	if !pair {
		s.Stats.Calls++
	}
	s.entities.touch(e)
	t := c.Time
	if limit := src.Appended + int64(s.opt.MaxAhead); t > limit {
		t = limit
		if !pair {
			s.Stats.Ahead++
		}
	}
	s.latest = max(s.latest, t)
	e.last = max(e.last, t)
	if e.calls++; e.calls == 1 {
		e.first, e.last = t, t
		if by == detector.ByAgent {
			e.sketch = new(sketch)
		}
		s.appear(e, t)
	}
	if e.sketch != nil {
		s.seek(e, c)
	}
	s.turn = 0
	from := len(s.Detections)
	for _, r := range rules {
		if !r.Match.Eval(s.bits) {
			continue
		}
		if len(r.overrides) > 0 {
			r = r.override(s.bits)
		}
		if s.excepted(r, e, c, t) {
			continue
		}
		s.apply(r, e, c, t, src)
	}
	if len(s.Detections) > from {
		s.addSigns(e, from, c)
		s.correlate(e, from, c, t, src)
	}
}

// apply takes one matching call into the state that a rule keeps for an entity.
func (s *Shard) apply(r *rule, e *entity, c *telemetry.Call, t int64, src Source) {
	w := e.watch(r, &s.turn)
	if w == nil {
		w = s.meet(r, e, t)
	}
	if w.block.budget != r.Level { // the analyst wrote another one
		w.setLevel(r)
	}
	if r.HasRelearn {
		s.renew(r, e, w, c, t)
	}
	if w.begin(r, e, t) && !w.counted {
		w.counted = true
		s.tellMeans(e, r, w)
	}
	if !w.settled && !w.supposed {
		w.suppose()
	}
	w.silent = w.quiet.holds(t, src.Appended)
	if r.Within {
		s.judgeSession(r, e, w, c, t, src)
		return
	}
	s.turnBlock(r, e, w)
	slot := floorDiv(t, int64(r.Slot))
	switch {
	case slot > w.slot:
		s.closeSlot(r, e, w, slot)
	case slot < w.slot:
		s.Stats.Late++
	}
	var se *session
	if r.sessions {
		se = s.session(r, e, w, c, t)
	}
	s.observe(r, e, w, se, c, t)
	reason := w.broken(r)
	w.markFirstBad(r, c)
	if s.opt.Risk && r.bearsRisk {
		if b := w.weight(r); b != w.band || t >= e.told+tellAgain {
			w.band = b
			s.tellRisk(e, t)
		}
	}
	if s.opt.Judged != nil {
		s.opt.Judged(w.judgement(r, e, se, t, reason))
	}
	if reason == "" || w.silent {
		return
	}
	if !r.FiresAt(w.latest) {
		w.restart()
		return
	}
	s.detect(r, e, w, c, t, src, reason)
}

// meet begins what the entity keeps for a rule.
func (s *Shard) meet(r *rule, e *entity, t int64) *watch {
	s.tellLoaded(e, r, t)
	if len(e.watches) == cap(e.watches) { // exactly: most entities meet all that match every call, and no more
		e.watches = append(make([]watch, 0, max(len(e.watches)+1, s.matching[e.key[0]])), e.watches...)
	}
	e.watches = append(e.watches, newWatch(r, e.peers.of(r)))
	w := &e.watches[len(e.watches)-1]
	if w.abstained(e, t) {
		w.abstain(e, t)
	} else {
		w.suppose()
	}
	w.setLevel(r)
	s.tell(e, r, toldAppeared, 0, 0)
	return w
}

// closeSlot ends the open slot of a watch: its baselines learn from it, unless evidence
// is high, and a sample is written if the last one is old enough.
func (s *Shard) closeSlot(r *rule, e *entity, w *watch, next int64) {
	if w.slot != noSlot {
		end := (w.slot + 1) * int64(r.Slot)
		if end-w.sampled >= int64(s.opt.SampleEvery) && !r.Canary { // they would stand among those of the live one
			w.sampled = end
			s.Samples = w.appendSamples(s.Samples, r, e, end)
		}
		s.close(r, e, w)
	}
	w.slot = next
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Known reports whether the detector with that key has seen enough of the call's entity to judge it.
// What is not known is never called normal.
func (s *Shard) Known(detectorKey string, by detector.Entity, c *telemetry.Call) bool {
	key := AppendEntityKey(nil, by, c)
	if _, ok := s.entities.ids.Lookup(key); !ok {
		return false
	}
	e := s.entity(key)
	if e == nil {
		return false
	}
	s.wake(e)
	for i := range e.watches {
		if w := &e.watches[i]; w.rule.Key() == detectorKey {
			return w.known(w.rule)
		}
	}
	return false
}
