package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/estop-project/estop/detector"
)

// errState says that a state is cut or garbled.
var errState = errors.New("garbled shard state")

// EntityState is the encoded state of one entity.
type EntityState struct {
	Key   string
	Value []byte
}

// Dirty encodes the entities, and the peers, that changed since the last call of Dirty, and
// lets some of the entities rest that have not changed for long. What an earlier call of Dirty
// returned must be safe by then.
func (s *Shard) Dirty() []EntityState {
	told := map[*entity][]telling{}
	for _, t := range s.told {
		told[t.by] = append(told[t.by], t.telling)
	}
	states := make([]EntityState, 0, len(s.entities.dirty)+len(s.dirtyPeers))
	for _, e := range s.entities.dirty {
		e.dirty = false
		state := e.appendState(nil, told[e])
		states = append(states, EntityState{e.key, state})
		s.entities.away[e.id] = nowhere // until this state is safe
		s.entities.resize(e, e.footprint(len(state)))
		e.idle.keep = s.keepUntil(e)
	}
	for _, p := range s.dirtyPeers {
		states = append(states, EntityState{p.key, p.appendState(nil, s.at)})
	}
	clear(s.told)
	s.entities.dirty, s.dirtyPeers, s.told = emptied(s.entities.dirty), emptied(s.dirtyPeers), emptied(s.told)
	s.rest()
	return states
}

// emptied returns the slice without elements. One that once grew large is given back.
func emptied[T any](all []T) []T {
	const large = 1 << 14
	if cap(all) > large {
		return nil
	}
	return all[:0]
}

// Restore takes in the state of an entity, or of peers. Features and baselines of detectors
// that are no longer loaded, or that now mean something else, are dropped. All states must
// be restored before the first call is judged.
func (s *Shard) Restore(st EntityState) error {
	if len(st.Key) < 2 || int(st.Key[0]) >= 2*groups {
		return fmt.Errorf("restore entity %q: %w", st.Key, errState)
	}
	if by := int(st.Key[0]) - groups; by >= 0 {
		if _, _, _, ok := splitPeersKey(st.Key); !ok {
			return fmt.Errorf("restore the peers %q: %w", st.Key, errState)
		}
		p := s.peersAt(st.Key)
		told, err := p.load(st.Value, s.rules[by])
		if err != nil {
			return fmt.Errorf("restore the peers %q: %w", st.Key, err)
		}
		s.await(p, told, false)
		if st.Value[0] < stateVersion { // so that the version after this one finds none of the one before
			s.dirtyPeers, p.dirty = append(s.dirtyPeers, p), true
		}
		return nil
	}
	e := s.entity([]byte(st.Key))
	if e == nil {
		s.Stats.Unwatched++
		return nil
	}
	told, err := s.load(e, st.Value)
	if err != nil {
		return fmt.Errorf("restore entity %q: %w", st.Key, err)
	}
	s.entities.resize(e, e.footprint(len(st.Value)))
	e.idle.keep = s.keepUntil(e)
	for p := e.peers; p != nil; p = p.wide {
		s.await(p, told, true)
	}
	if st.Value[0] < stateVersion {
		s.entities.touch(e)
	}
	return nil
}

// Reload goes over to a new plan. What was learned stays for each detector whose features,
// baselines and grouping are unchanged.
func (s *Shard) Reload(plan *detector.Plan) {
	old := s.entities.byID
	s.setPlan(plan)
	for _, p := range s.peers {
		rules := s.rules[int(p.key[0])-groups]
		p.rules = slices.DeleteFunc(p.rules, func(pr *peerRule) bool {
			pr.rule = ruleOf(rules, pr.rule.shape, tenantOf(p.key))
			return pr.rule == nil
		})
	}
	for _, e := range old {
		if e == nil {
			continue // what it keeps is compared with the plan when it is read back
		}
		kept := e.watches[:0]
		for _, w := range e.watches {
			if r := ruleOf(s.rules[e.key[0]], w.rule.shape, tenantOf(e.key)); r != nil {
				w.rule = r
				kept = append(kept, w)
			}
		}
		clear(e.watches[len(kept):])
		e.watches = kept
		s.reloadCorrelations(e)
	}
}

// ruleOf returns the rule of a tenant that keeps state of the given shape, or nil.
func ruleOf(rules []*rule, shape uint64, tenant string) *rule {
	for _, r := range rules {
		if r = r.of(tenant); r.shape == shape {
			return r
		}
	}
	return nil
}

// appendState writes the entity and what it told its peers since the last checkpoint.
func (e *entity) appendState(b []byte, told []telling) []byte {
	b = append(b, stateVersion)
	b = appendPosition(b, e.position)
	b = binary.AppendVarint(binary.AppendVarint(binary.AppendUvarint(b, uint64(e.calls)), e.first), e.last)
	b = e.appendGroup(b)
	b = appendTold(b, told)
	b = binary.AppendUvarint(b, uint64(len(e.watches)))
	for i := range e.watches {
		body := e.watches[i].appendState(nil)
		b = binary.LittleEndian.AppendUint64(b, e.watches[i].rule.shape)
		b = binary.AppendUvarint(b, uint64(len(body)))
		b = append(b, body...)
	}
	return e.appendCorrelations(b)
}

// load reads what appendState wrote.
func (s *Shard) load(e *entity, b []byte) ([]telling, error) {
	r, err := versioned(b)
	if err != nil {
		return nil, err
	}
	e.position = r.position()
	e.calls, e.first, e.last = int64(r.uvarint()), r.varint(), r.varint()
	s.loadGroup(e, &r)
	told := r.told()
	e.watches, e.packed = nil, ""
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		shape := r.uint64()
		body := r.bytes(r.uvarint())
		rule := ruleOf(s.rules[e.key[0]], shape, tenantOf(e.key))
		if rule == nil || r.err != nil {
			continue
		}
		w := newWatch(rule, e.peers.of(rule))
		if err := w.load(body); err != nil {
			return nil, fmt.Errorf("detector %q: %w", rule.ID, err)
		}
		if e.watches == nil {
			e.watches = make([]watch, 0, min(n, uint64(len(s.rules[e.key[0]]))))
		}
		e.watches = append(e.watches, w)
	}
	s.loadCorrelations(e, &r)
	return told, r.err
}

// binaryState is what each model of a watch can do: write itself, and read itself back
// into a value made with the same parameters.
type binaryState interface {
	AppendBinary(b []byte) ([]byte, error)
	DecodeBinary(b []byte) ([]byte, error)
}

// models returns the models of a watch in the order in which they are written.
func (w *watch) models() []binaryState {
	var ms []binaryState
	for i := range w.features {
		f := &w.features[i]
		switch {
		case f.kinds != nil:
			ms = append(ms, &f.kinds.known)
		case f.distinct != nil:
			ms = append(ms, f.distinct)
		case f.window != nil:
			ms = append(ms, f.window)
		case f.peak != nil:
			ms = append(ms, f.peak)
		case f.quantiles != nil:
			ms = append(ms, f.quantiles)
		case f.loop != nil:
			ms = append(ms, f.loop)
		case f.progress != nil:
			ms = append(ms, f.progress)
		case f.burst != nil:
			ms = append(ms, f.burst)
		case f.sequence != nil && f.sequence.calls != nil:
			ms = append(ms, f.sequence.calls)
		case f.sequence != nil:
			ms = append(ms, f.sequence.chain)
		}
	}
	for i := range w.evidence {
		ev := &w.evidence[i]
		switch {
		case ev.counts != nil:
			ms = append(ms, ev.counts)
		case ev.seasonal != nil:
			ms = append(ms, ev.seasonal)
		case ev.sizes != nil:
			ms = append(ms, ev.sizes)
		}
		ms = append(ms, &ev.detector)
	}
	return ms
}

func (w *watch) appendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(w.since))
	b = binary.AppendUvarint(b, uint64(w.slots))
	b = binary.AppendVarint(b, w.slot)
	b = binary.AppendVarint(b, w.latest)
	b = binary.AppendVarint(b, w.sampled)
	b = binary.AppendVarint(binary.AppendVarint(b, w.quiet.own), w.quiet.log)
	b = w.graded.appendState(b)
	b = binary.AppendVarint(b, w.relearned)
	b = binary.AppendUvarint(b, w.version)
	b = append(b, byte(truth(w.settled)), byte(truth(w.warm)), byte(truth(w.counted)), byte(truth(w.supposed)))
	b = appendFloat(b, w.total)
	b = w.block.appendState(b)
	b = binary.AppendUvarint(b, uint64(len(w.firstBad)))
	b = append(b, w.firstBad...)
	for i := range w.features {
		b = appendFloat(b, w.features[i].value)
		k := w.features[i].kinds
		if k == nil {
			continue
		}
		b = appendFloat(b, k.p)
		b = binary.LittleEndian.AppendUint64(b, k.last)
		b = append(b, byte(truth(k.begun)), byte(truth(k.fresh)))
		b = appendFloat(appendFloat(b, k.again), k.expected)
		b = binary.AppendUvarint(b, uint64(len(k.held)))
		for _, h := range k.held {
			b = binary.LittleEndian.AppendUint64(b, h.hash)
			b = binary.AppendUvarint(b, uint64(h.draws))
			b = binary.AppendVarint(b, h.since)
		}
	}
	for i := range w.evidence {
		b = appendFloat(b, w.evidence[i].open)
		b = appendFloat(b, w.evidence[i].draws)
	}
	if w.sessions != nil {
		b = w.sessions.appendState(b)
	}
	for _, m := range w.models() {
		b, _ = m.AppendBinary(b) // the models never refuse
	}
	return b
}

func (w *watch) load(b []byte) error {
	r := reader{b: b}
	w.since = int64(r.uvarint())
	w.slots = int64(r.uvarint())
	w.slot = r.varint()
	w.latest = r.varint()
	w.sampled = r.varint()
	w.quiet = quiet{r.varint(), r.varint()}
	w.graded.load(&r)
	w.relearned = r.varint()
	w.version = r.uvarint()
	w.settled, w.warm, w.counted, w.supposed = r.uvarint() == 1, r.uvarint() == 1, r.uvarint() == 1, r.uvarint() == 1
	w.total = r.logFloat()
	w.block.load(&r)
	w.firstBad = append(w.firstBad, r.bytes(r.uvarint())...)
	for i := range w.features {
		w.features[i].value = r.float()
		k := w.features[i].kinds
		if k == nil {
			continue
		}
		if k.p = r.float(); !(k.p >= 0 && k.p <= 1) {
			return errState
		}
		k.last, k.begun, k.fresh = r.uint64(), r.uvarint() == 1, r.uvarint() == 1
		if k.again, k.expected = r.float(), r.float(); !(k.again >= 0 && k.expected >= 0) {
			return errState
		}
		for n := min(r.uvarint(), maxHeld); n > 0 && r.err == nil; n-- {
			k.held = append(k.held, heldKind{r.uint64(), uint32(r.uvarint()), r.varint()})
		}
	}
	for i := range w.evidence {
		w.evidence[i].open, w.evidence[i].draws = r.float(), r.float()
	}
	if w.sessions != nil {
		w.sessions.load(&r, w.rule)
	}
	if r.err != nil {
		return r.err
	}
	rest := r.b
	for _, m := range w.models() {
		var err error
		if rest, err = m.DecodeBinary(rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes left over: %w", len(rest), errState)
	}
	return nil
}

// appendFloat writes a float; small integers, which most of them are, take three bytes.
func appendFloat(b []byte, f float64) []byte {
	return binary.AppendUvarint(b, bits.ReverseBytes64(math.Float64bits(f)))
}

// reader takes values off bytes that are not trusted; after the first error it returns zeros.
type reader struct {
	b       []byte
	err     error
	version byte // of the encoding, where it matters
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return r.took(v, n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return int64(r.took(uint64(v), n))
}

func (r *reader) took(v uint64, n int) uint64 {
	if r.err != nil || n <= 0 {
		r.err = errState
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// float reads what appendFloat wrote, which must be finite.
func (r *reader) float() float64 {
	f := r.logFloat()
	if math.IsInf(f, -1) {
		r.err = errState
		return 0
	}
	return f
}

// logFloat reads a logarithm, which that of 0 makes infinite.
func (r *reader) logFloat() float64 {
	f := math.Float64frombits(bits.ReverseBytes64(r.uvarint()))
	if math.IsNaN(f) || math.IsInf(f, 1) {
		r.err = errState
		return 0
	}
	return f
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.err = errState
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
