package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/estop-project/estop/detector"
)

// stateVersion is the encoding of an entity that appendState writes. load refuses others.
const stateVersion = 2

// ErrStateVersion says that a state was written in an encoding that this version does not
// know: another estop wrote it. Run that version, or delete the state to learn anew.
var ErrStateVersion = errors.New("unknown version of shard state")

// errState says that a state is cut or garbled.
var errState = errors.New("garbled shard state")

// EntityState is the encoded state of one entity.
type EntityState struct {
	Key   string
	Value []byte
}

// Dirty encodes the entities that changed since the last call of Dirty, and lets some of
// those rest that have not changed for long.
func (s *Shard) Dirty() []EntityState {
	states := make([]EntityState, 0, len(s.entities.dirty))
	for _, e := range s.entities.dirty {
		e.dirty = false
		states = append(states, EntityState{e.key, e.appendState(nil)})
	}
	s.entities.dirty = s.entities.dirty[:0]
	s.rest()
	return states
}

// Restore takes in the state of an entity. Features and baselines of detectors that are
// no longer loaded, or that now mean something else, are dropped.
func (s *Shard) Restore(st EntityState) error {
	if len(st.Key) < 2 || int(st.Key[0]) >= groups {
		return fmt.Errorf("restore entity %q: %w", st.Key, errState)
	}
	e := s.entities.get([]byte(st.Key))
	if e == nil {
		s.Stats.Unwatched++
		return nil
	}
	if err := e.load(st.Value, s.rules[st.Key[0]]); err != nil {
		return fmt.Errorf("restore entity %q: %w", st.Key, err)
	}
	return nil
}

// Reload goes over to a new plan. What was learned stays for each detector whose features,
// baselines and grouping are unchanged.
func (s *Shard) Reload(plan *detector.Plan) {
	old := s.entities.byID
	s.setPlan(plan)
	for _, e := range old {
		kept := e.watches[:0]
		for _, w := range e.watches {
			if r := ruleOf(s.rules[e.key[0]], w.rule.shape); r != nil {
				w.rule = r
				kept = append(kept, w)
			}
		}
		clear(e.watches[len(kept):])
		e.watches = kept
	}
}

// ruleOf returns the rule that keeps state of the given shape, or nil.
func ruleOf(rules []*rule, shape uint64) *rule {
	for _, r := range rules {
		if r.shape == shape {
			return r
		}
	}
	return nil
}

func (e *entity) appendState(b []byte) []byte {
	b = append(b, stateVersion)
	b = binary.AppendVarint(b, e.offset)
	b = binary.AppendUvarint(b, uint64(e.index))
	b = binary.AppendUvarint(b, uint64(len(e.watches)))
	for i := range e.watches {
		body := e.watches[i].appendState(nil)
		b = binary.LittleEndian.AppendUint64(b, e.watches[i].rule.shape)
		b = binary.AppendUvarint(b, uint64(len(body)))
		b = append(b, body...)
	}
	return b
}

func (e *entity) load(b []byte, rules []*rule) error {
	if len(b) == 0 || b[0] != stateVersion {
		return ErrStateVersion
	}
	r := reader{b: b[1:]}
	e.offset = r.varint()
	e.index = int32(r.uvarint())
	e.watches, e.packed = nil, ""
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		shape := r.uint64()
		body := r.bytes(r.uvarint())
		rule := ruleOf(rules, shape)
		if rule == nil || r.err != nil {
			continue
		}
		w := newWatch(rule)
		if err := w.load(body); err != nil {
			return fmt.Errorf("detector %q: %w", rule.ID, err)
		}
		e.watches = append(e.watches, w)
	}
	return r.err
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
		}
	}
	for i := range w.evidence {
		if b := w.evidence[i].baseline; b != nil {
			ms = append(ms, b)
		}
		ms = append(ms, &w.evidence[i].detector)
	}
	return ms
}

func (w *watch) appendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(w.calls))
	b = binary.AppendUvarint(b, uint64(w.slots))
	b = binary.AppendVarint(b, w.slot)
	b = binary.AppendVarint(b, w.first)
	b = binary.AppendVarint(b, w.latest)
	b = binary.AppendVarint(b, w.sampled)
	b = binary.AppendVarint(b, w.quietUntil)
	b = appendFloat(b, w.total)
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
		b = append(b, byte(truth(k.begun)))
		b = binary.AppendUvarint(b, uint64(len(k.held)))
		for _, h := range k.held {
			b = binary.LittleEndian.AppendUint64(b, h.hash)
			b = binary.AppendUvarint(b, uint64(h.draws))
			b = binary.AppendVarint(b, h.since)
		}
	}
	for i := range w.evidence {
		b = appendFloat(b, w.evidence[i].count)
		b = appendFloat(b, w.evidence[i].draws)
	}
	for _, m := range w.models() {
		b, _ = m.AppendBinary(b) // the models never refuse
	}
	return b
}

func (w *watch) load(b []byte) error {
	r := reader{b: b}
	w.calls = int64(r.uvarint())
	w.slots = int64(r.uvarint())
	w.slot = r.varint()
	w.first, w.latest = r.varint(), r.varint()
	w.sampled = r.varint()
	w.quietUntil = r.varint()
	w.total = r.float()
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
		k.last, k.begun = r.uint64(), r.uvarint() == 1
		for n := min(r.uvarint(), maxHeld); n > 0 && r.err == nil; n-- {
			k.held = append(k.held, heldKind{r.uint64(), uint32(r.uvarint()), r.varint()})
		}
	}
	for i := range w.evidence {
		w.evidence[i].count, w.evidence[i].draws = r.float(), r.float()
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
	b   []byte
	err error
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

// float reads what appendFloat wrote. Only the logarithm of 0 may be infinite.
func (r *reader) float() float64 {
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
