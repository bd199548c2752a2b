package models

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Errors of the DecodeBinary methods. The receiver is unchanged after either.
var (
	// ErrEncoding says that the bytes are no encoding of this type: cut short, damaged or of
	// a version that is not known. The state is lost; begin with an empty one.
	ErrEncoding = errors.New("models: bad encoding")
	// ErrParameters says that the bytes are from a value that was made with other
	// parameters than the receiver: a detector was changed. Begin with an empty one.
	ErrParameters = errors.New("models: encoded with other parameters")
)

// Versions: the leading byte of each encoding.
const (
	windowVersion        = 1
	distinctVersion      = 1
	countBaselineVersion = 2
	noveltyVersion       = 1
	eDetectorVersion     = 1
)

// reader takes an encoding apart. After the first error everything read is zero.
type reader struct {
	rest []byte
	err  error
}

func readVersion(b []byte, version byte) reader {
	r := reader{rest: b}
	if got := r.byte(); r.err == nil && got != version {
		r.err = fmt.Errorf("cannot decode version %d: %w", got, ErrEncoding)
	}
	return r
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("cannot decode %s: %w", what, ErrEncoding)
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("a byte")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads a number of at most limit.
func (r *reader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.fail("a count")
		return 0
	}
	return int(v)
}

func (r *reader) uint64() uint64 {
	if len(r.rest) < 8 {
		r.fail("a hash")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

// float reads a finite number.
func (r *reader) float() float64 {
	v := math.Float64frombits(r.uint64())
	if v-v != 0 {
		r.fail("a finite number")
		return 0
	}
	return v
}

// parameter reads a number that must equal want.
func (r *reader) parameter(want uint64) {
	if got := r.uvarint(); r.err == nil && got != want {
		r.err = ErrParameters
		r.rest = nil
	}
}

func (r *reader) shortParameter(want float64) {
	r.parameter(bits.ReverseBytes64(math.Float64bits(want)))
}

func appendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// appendShort appends a float64 in fewer bytes where it is a small whole number.
func appendShort(b []byte, v float64) []byte {
	return binary.AppendUvarint(b, bits.ReverseBytes64(math.Float64bits(v)))
}

// short reads what appendShort wrote, which must be finite.
func (r *reader) short() float64 {
	v := math.Float64frombits(bits.ReverseBytes64(r.uvarint()))
	if v-v != 0 {
		r.fail("a finite number")
		return 0
	}
	return v
}

// What follows a window's parameters.
const (
	formEmpty  = 0
	formNarrow = 1 // Distinct: exact
	formWide   = 2 // Distinct: estimating
)

// AppendBinary appends the window's state to b: the slots that are not zero. It never
// fails.
func (w *Window) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, windowVersion)
	b = binary.AppendUvarint(b, uint64(w.step))
	b = binary.AppendUvarint(b, uint64(w.slots))
	if w.cells == nil {
		return append(b, formEmpty), nil
	}
	if w.wide {
		// The sum goes along, because sums of fractions depend on the order of the additions.
		b = appendShort(append(b, formWide), w.sum)
	} else {
		b = append(b, formNarrow)
	}
	b = binary.AppendVarint(b, w.newest)
	used := 0
	for i := range w.ring() {
		if w.cell(i) != 0 {
			used++
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	skipped := uint64(0)
	for age := range w.ring() {
		v := w.cell(ringIndex(w.newest-int64(age), w.ring()))
		if v == 0 {
			skipped++
			continue
		}
		b = binary.AppendUvarint(b, skipped)
		skipped = 0
		if w.wide {
			b = appendShort(b, v)
		} else {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewWindow returned it, with the same parameters.
func (w *Window) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, windowVersion)
	r.parameter(uint64(w.step))
	r.parameter(uint64(w.slots))
	d := Window{step: w.step, slots: w.slots}
	switch form := r.byte(); form {
	case formEmpty:
	case formNarrow, formWide:
		d.decodeCells(&r, form == formWide)
	default:
		r.fail("the form of a window")
	}
	if r.err != nil {
		return nil, r.err
	}
	*w = d
	return r.rest, nil
}

func (w *Window) decodeCells(r *reader, wide bool) {
	w.wide = wide
	size := w.ring()
	if wide {
		w.sum = r.short()
		size *= 2
	}
	w.newest = r.varint()
	used := r.count(w.ring())
	if r.err != nil {
		return
	}
	w.cells = make([]uint32, size)
	age := 0
	for range used {
		age += r.count(w.ring())
		if age >= w.ring() {
			r.fail("a slot")
			return
		}
		i := ringIndex(w.newest-int64(age), w.ring())
		if wide {
			w.put(i, r.short())
		} else {
			n := r.count(math.MaxUint32)
			w.put(i, float64(n))
			w.sum += float64(n)
		}
		age++
	}
}

// AppendBinary appends the state to b: the live hashes with the ages of their last slots,
// and for an estimate the ranks that may still become a register's largest. It never
// fails.
func (d *Distinct) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, distinctVersion)
	b = binary.AppendUvarint(b, uint64(d.step))
	b = binary.AppendUvarint(b, uint64(d.slots))
	b = binary.AppendUvarint(b, uint64(d.exact))
	if d.fresh == nil {
		return append(b, formEmpty), nil
	}
	if d.sketch == nil {
		b = append(b, formNarrow)
	} else {
		b = append(b, formWide)
	}
	b = binary.AppendVarint(b, d.newest)
	newest, oldest := d.code(d.newest), d.oldest()
	b = binary.AppendUvarint(b, uint64(d.live))
	for i := range d.table.places {
		if e := &d.table.places[i]; e.val >= oldest {
			b = binary.LittleEndian.AppendUint64(b, e.key())
			b = append(b, newest-e.val)
		}
	}
	if d.sketch != nil {
		// How long ago the table became complete matters only within the window.
		b = binary.AppendUvarint(b, min(slotsBetween(d.since, d.newest+1), uint64(d.ring())))
		b = d.sketch.append(b, newest, oldest)
	}
	return b, nil
}

// append writes for each register the ranks that no later and larger rank hides, largest
// first.
func (s *sketch) append(b []byte, newest, oldest uint8) []byte {
	for r := range s.last {
		at := len(b)
		b = append(b, 0)
		best := oldest - 1
		for rank := int(s.top[r]); rank > 0; rank-- {
			if code := s.last[r][rank-1]; code > best {
				best = code
				b = append(b, byte(rank), newest-code)
				b[at]++
			}
		}
	}
	return b
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewDistinct returned it, with the same parameters.
func (d *Distinct) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, distinctVersion)
	r.parameter(uint64(d.step))
	r.parameter(uint64(d.slots))
	r.parameter(uint64(d.exact))
	n := Distinct{step: d.step, slots: d.slots, exact: d.exact}
	switch form := r.byte(); form {
	case formEmpty:
	case formNarrow, formWide:
		n.decodeState(&r, form == formWide)
	default:
		r.fail("the form of a distinct count")
	}
	if r.err != nil {
		return nil, r.err
	}
	*d = n
	return r.rest, nil
}

func (d *Distinct) decodeState(r *reader, estimating bool) {
	newest := r.varint()
	live := r.count(int(d.exact))
	if r.err != nil {
		return
	}
	d.fresh = make([]uint16, d.ring())
	d.start(newest)
	for range live {
		h, age := r.uint64(), r.byte()
		if r.err != nil || age > d.slots || d.table.find(h) >= 0 {
			r.fail("a hash")
			return
		}
		d.insert(h, newest-int64(age))
	}
	if !estimating {
		return
	}
	d.since = newest + 1 - int64(r.count(d.ring()))
	if r.err == nil {
		d.sketch = newSketch()
		d.sketch.decode(r, d.code(newest), d.slots)
	}
}

func (s *sketch) decode(r *reader, newest, slots uint8) {
	for reg := range registers {
		for range r.count(ranks) {
			rank, age := int(r.byte()), r.byte()
			if r.err != nil || rank < 1 || rank > ranks || age > slots {
				r.fail("a register")
				return
			}
			s.mark(reg, rank, newest-age)
		}
	}
}

// AppendBinary appends the state to b. It never fails.
func (b *CountBaseline) AppendBinary(buf []byte) ([]byte, error) {
	buf = append(buf, countBaselineVersion)
	for _, v := range [...]float64{b.prior.Mean, b.prior.Weight, b.prior.Memory} {
		buf = appendShort(buf, v)
	}
	prior := NewCountBaseline(b.prior)
	differs := b.weight != prior.weight || b.mean != prior.mean || b.spread != prior.spread
	buf = binary.AppendUvarint(buf, uint64(b.slots)<<1|uint64(bit(differs)))
	if !differs {
		return buf, nil // the prior says it all
	}
	for _, v := range [...]float64{b.weight, b.mean, b.spread} {
		buf = appendFloat(buf, v)
	}
	return buf, nil
}

// DecodeBinary takes the state from the beginning of buf and returns what follows it. The
// receiver is as NewCountBaseline returned it, with the same prior.
func (b *CountBaseline) DecodeBinary(buf []byte) (rest []byte, err error) {
	r := readVersion(buf, countBaselineVersion)
	r.shortParameter(b.prior.Mean)
	r.shortParameter(b.prior.Weight)
	r.shortParameter(b.prior.Memory)
	n := NewCountBaseline(b.prior)
	slots := r.count(1 << 54)
	n.slots = float64(slots >> 1)
	if slots&1 != 0 {
		n.weight, n.mean, n.spread = r.float(), r.float(), r.float()
		const slack = 1 + 1e-9 // rounding
		if n.weight < leastWeight/slack || n.weight > b.prior.Memory*slack ||
			n.mean < 0 || n.mean > maxCount || n.spread < 0 || n.spread > b.prior.Memory*maxCount*maxCount {
			r.fail("a baseline")
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	n.refresh()
	*b = n
	return r.rest, nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// AppendBinary appends the state to b: each known kind's hash and count. It never fails.
func (v *Novelty) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, noveltyVersion)
	b = appendShort(b, v.discount)
	b = appendShort(b, v.concentration)
	b = binary.AppendUvarint(b, uint64(v.cap))
	b = binary.AppendUvarint(b, uint64(v.draws))
	b = binary.AppendUvarint(b, uint64(v.table.used))
	for i := range v.table.places {
		if e := &v.table.places[i]; e.val != 0 {
			b = binary.LittleEndian.AppendUint64(b, e.key())
			b = binary.AppendUvarint(b, uint64(e.val))
		}
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewNovelty returned it, with the same parameters.
func (v *Novelty) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, noveltyVersion)
	r.shortParameter(v.discount)
	r.shortParameter(v.concentration)
	r.parameter(uint64(v.cap))
	n := Novelty{discount: v.discount, concentration: v.concentration, cap: v.cap}
	n.draws = float64(r.count(1 << 53))
	for range r.count(int(v.cap)) {
		h, count := r.uint64(), uint32(r.count(math.MaxUint32))
		if r.err != nil || count == 0 || n.Seen(h) {
			r.fail("a kind")
			break
		}
		n.table.add(h, count)
		n.kept += float64(count)
		if count == 1 {
			n.singles++
		}
	}
	if n.kept > n.draws {
		r.fail("the number of draws")
	}
	if r.err != nil {
		return nil, r.err
	}
	*v = n
	return r.rest, nil
}

// AppendBinary appends the state to b: three bytes while there is no evidence. It never
// fails.
func (d *EDetector) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, eDetectorVersion)
	return appendShort(appendShort(b, d.base), d.open), nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it.
func (d *EDetector) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, eDetectorVersion)
	n := EDetector{base: r.short(), open: r.short()}
	if n.base < 0 || n.base > maxLogR || math.Abs(n.open) > MaxLogE {
		r.fail("an e-detector")
	}
	if r.err != nil {
		return nil, r.err
	}
	*d = n
	return r.rest, nil
}
