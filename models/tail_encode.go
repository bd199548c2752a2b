package models

import (
	"encoding/binary"
	"math"
)

const (
	spotVersion  = 1
	dSpotVersion = 1
)

// AppendBinary appends the state to b: the values of the warm-up, later the latest
// excesses. It never fails.
func (s *Spot) AppendBinary(b []byte) ([]byte, error) {
	b = appendShort(append(b, spotVersion), s.level)
	b = binary.AppendUvarint(b, uint64(s.warmup))
	b = binary.AppendUvarint(b, uint64(s.seen))
	b = binary.AppendUvarint(b, uint64(s.over))
	b = binary.AppendUvarint(b, uint64(s.next))
	b = append(b, byte(s.stale))
	for _, v := range [...]float64{s.threshold, s.law.shape, s.law.scale} {
		b = appendShort(b, v)
	}
	return appendFloats(b, s.values), nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewSpot returned it, with the same parameters.
func (s *Spot) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, spotVersion)
	r.shortParameter(s.level)
	r.parameter(uint64(s.warmup))
	n := Spot{level: s.level, warmup: s.warmup}
	n.decodeState(&r)
	if r.err != nil {
		return nil, r.err
	}
	*s = n
	return r.rest, nil
}

func (s *Spot) decodeState(r *reader) {
	s.seen = float64(r.count(1 << 53))
	s.over = float64(r.count(1 << 53))
	s.next = int32(r.count(spotPeaks - 1))
	s.stale = int32(r.byte())
	s.threshold, s.law.shape, s.law.scale = r.short(), r.short(), r.short()
	warming := s.seen < float64(s.warmup)
	want := min(s.over, spotPeaks)
	if warming {
		want = s.seen
	}
	s.values = r.floats(int(want), int(max(s.warmup, spotPeaks)))
	switch {
	case r.err != nil:
	case s.over > s.seen,
		math.Abs(s.threshold) > maxMagnitude,
		warming && (s.over != 0 || s.law != pareto{}),
		s.law.scale != 0 && (s.law.scale < leastSpotScale || s.over == 0),
		s.law.shape < 0, s.law.shape > 1e6, s.law.scale > 1e300:
		r.fail("a tail")
	case !warming:
		for _, v := range s.values {
			if v <= 0 {
				r.fail("an excess")
			}
		}
	}
}

func appendFloats(b []byte, values []float64) []byte {
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, v := range values {
		b = appendFloat(b, v)
	}
	return b
}

// floats reads exactly n numbers into a slice that may grow to room of them.
func (r *reader) floats(n, room int) []float64 {
	if got := r.uvarint(); got != uint64(n) || len(r.rest)/8 < n {
		r.fail("the number of values")
	}
	if r.err != nil || n == 0 {
		return nil
	}
	values := make([]float64, 0, room)
	for range n {
		v := r.float()
		if math.Abs(v) > 2*maxMagnitude {
			r.fail("a value")
		}
		values = append(values, v)
	}
	return values
}

// AppendBinary appends the state to b. It never fails.
func (d *DSpot) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, dSpotVersion)
	b = binary.AppendUvarint(b, uint64(d.depth))
	b = binary.AppendUvarint(b, uint64(d.next))
	// The sum goes along, because it depends on the order of the additions.
	b = appendShort(b, d.sum)
	b = appendFloats(binary.AppendUvarint(b, uint64(len(d.latest))), d.latest)
	return d.spot.AppendBinary(b)
}

// DecodeBinary takes the state from the beginning of b and returns what follows it. The
// receiver is as NewDSpot returned it, with the same parameters.
func (d *DSpot) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, dSpotVersion)
	r.parameter(uint64(d.depth))
	n := DSpot{depth: d.depth, next: int32(r.count(int(d.depth) - 1)), sum: r.short()}
	n.latest = r.floats(r.count(int(d.depth)), int(d.depth))
	if math.Abs(n.sum) > 4*mostDepth*maxMagnitude {
		r.fail("a sum")
	}
	if r.err != nil {
		return nil, r.err
	}
	n.spot = NewSpot(d.spot.level, int(d.spot.warmup))
	if r.rest, err = n.spot.DecodeBinary(r.rest); err != nil {
		return nil, err
	}
	*d = n
	return r.rest, nil
}
