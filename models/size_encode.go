package models

import (
	"encoding/binary"
	"math"
)

const sizeBaselineVersion = 1

// maxLogSize is beyond the logarithm of every positive float64.
const maxLogSize = 750

// AppendBinary appends the state to buf. It never fails.
func (b *SizeBaseline) AppendBinary(buf []byte) ([]byte, error) {
	buf = append(buf, sizeBaselineVersion)
	buf = appendShort(buf, b.decay)
	buf = binary.AppendUvarint(buf, uint64(b.slots))
	if b.slots == 0 {
		return buf, nil
	}
	for _, v := range b.numbers() {
		buf = appendShort(buf, *v)
	}
	buf = append(buf, byte(b.peak), byte(b.stale))
	for _, p := range b.peaks[:min(b.peak, keptPeaks)] {
		buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(p))
	}
	return buf, nil
}

func (b *SizeBaseline) numbers() [9]*float64 {
	t := &b.beyond
	return [...]*float64{&b.weight, &b.mean, &b.spread, &b.threshold, &b.over, &t.from, &t.share, &t.law.shape, &t.law.scale}
}

// DecodeBinary takes the state from the beginning of buf and returns what follows it. The
// receiver is as NewSizeBaseline returned it, with the same memory.
func (b *SizeBaseline) DecodeBinary(buf []byte) (rest []byte, err error) {
	r := readVersion(buf, sizeBaselineVersion)
	r.shortParameter(b.decay)
	n := SizeBaseline{decay: b.decay}
	if n.slots = float64(r.count(1 << 53)); n.slots > 0 {
		n.decodeState(&r)
	}
	if r.err != nil {
		return nil, r.err
	}
	*b = n
	return r.rest, nil
}

func (b *SizeBaseline) decodeState(r *reader) {
	for _, v := range b.numbers() {
		*v = r.short()
	}
	b.peak, b.stale = uint16(r.byte()), uint16(r.byte())
	within := func(v, low, high float64) {
		if !(v >= low && v <= high) {
			r.fail("a baseline of sizes")
		}
	}
	const slack = 1 + 1e-9 // rounding
	most := slack / (1 - b.decay)
	within(b.weight, 1, most)
	within(b.mean, -maxLogSize, maxLogSize)
	within(b.spread, 0, 4*most*maxLogSize*maxLogSize)
	within(b.threshold, -1e6, 1e6)
	within(b.over, 0, most)
	t := b.beyond
	within(t.from, -1e6, 1e6)
	if t.share != 0 {
		within(t.share, tailShare, 1)
		within(t.law.shape, -1, 1)
		within(t.law.scale, 1e-12, 1e6)
	}
	if b.peak >= 2*keptPeaks {
		r.fail("the number of peaks")
		return
	}
	for i := range min(b.peak, keptPeaks) {
		b.peaks[i] = r.float32()
		within(float64(b.peaks[i]), -maxLogSize, maxLogSize)
	}
}
