package models

import "encoding/binary"

const seasonalCountVersion = 1

// AppendBinary appends the state to buf: some 3 bytes for each hour of the week that was
// seen. It never fails.
func (b *SeasonalCount) AppendBinary(buf []byte) ([]byte, error) {
	buf = append(buf, seasonalCountVersion)
	for _, v := range [...]float64{b.prior.Mean, b.prior.Weight, b.prior.Memory} {
		buf = appendShort(buf, v)
	}
	prior := NewSeasonalCount(b.prior)
	differs := b.slots > 0
	for i, v := range b.sums() {
		differs = differs || *v != *prior.sums()[i]
	}
	buf = binary.AppendUvarint(buf, uint64(b.slots)<<1|uint64(bit(differs)))
	if !differs {
		return buf, nil // the prior says it all
	}
	for _, v := range b.sums() {
		buf = appendFloat(buf, *v)
	}
	buf = binary.AppendVarint(buf, b.hour)
	buf = appendShort(appendShort(buf, b.hourSlots), b.hourEvents)
	return b.profile.append(buf), nil
}

func (b *SeasonalCount) sums() [5]*float64 {
	return [...]*float64{&b.weight, &b.exposure, &b.squares, &b.events, &b.spread}
}

// DecodeBinary takes the state from the beginning of buf and returns what follows it. The
// receiver is as NewSeasonalCount returned it, with the same prior.
func (b *SeasonalCount) DecodeBinary(buf []byte) (rest []byte, err error) {
	r := readVersion(buf, seasonalCountVersion)
	r.shortParameter(b.prior.Mean)
	r.shortParameter(b.prior.Weight)
	r.shortParameter(b.prior.Memory)
	n := NewSeasonalCount(b.prior)
	slots := r.count(1 << 54)
	n.slots = float64(slots >> 1)
	if slots&1 != 0 {
		n.decodeState(&r)
	}
	if r.err != nil {
		return nil, r.err
	}
	*b = n
	return r.rest, nil
}

func (b *SeasonalCount) decodeState(r *reader) {
	for _, v := range b.sums() {
		*v = r.float()
	}
	b.hour = r.varint()
	b.hourSlots, b.hourEvents = r.short(), r.short()
	b.profile.decode(r)
	const slack = 1 + 1e-9 // rounding
	most := b.prior.Memory * slack
	within := func(v, low, high float64) {
		if !(v >= low && v <= high) {
			r.fail("a seasonal baseline")
		}
	}
	within(b.weight, leastWeight/slack, most)
	within(b.exposure, b.weight*leastFactor/slack, most*mostFactor)
	within(b.squares, b.weight*leastFactor*leastFactor/slack, most*mostFactor*mostFactor)
	within(b.events, 0, most*maxCount)
	// A slot is off by maxCount, or by the greatest factor times the greatest mean.
	within(b.spread, 0, most*maxCount*maxCount*mostFactor*mostFactor/(leastFactor*leastFactor))
	within(b.hourSlots, 0, 1<<53)
	within(b.hourEvents, 0, b.hourSlots*maxCount*slack)
}

// append writes the anchor and the cells that were visited.
func (s *season) append(b []byte) []byte {
	b = appendShort(b, s.anchor)
	used := 0
	for _, code := range s.cells {
		if code != 0 {
			used++
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	skipped := 0
	for _, code := range s.cells {
		if code == 0 {
			skipped++
			continue
		}
		b = binary.LittleEndian.AppendUint16(append(b, byte(skipped)), code)
		skipped = 0
	}
	return b
}

func (s *season) decode(r *reader) {
	s.anchor = r.short()
	if s.anchor != 0 && !(s.anchor >= 1/maxCount && s.anchor <= maxCount) {
		r.fail("the scale of a season")
	}
	cell := 0
	for range r.count(hoursOfWeek) {
		cell += int(r.byte())
		low, high := r.byte(), r.byte()
		code := uint16(low) | uint16(high)<<8
		if r.err != nil || cell >= hoursOfWeek || code%infoCodes == 0 || s.anchor == 0 {
			r.fail("an hour of a season")
			return
		}
		s.cells[cell] = code
		cell++
	}
}
