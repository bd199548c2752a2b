package telemetry

import "math"

// number is a JSON number taken apart: ±mant·10^exp. If inexact, digits were lost and only
// the sign is sure.
type number struct {
	mant    uint64
	exp     int
	neg     bool
	inexact bool
}

// number reads a JSON number.
func (s *scanner) number() (n number, ok bool) {
	if s.i < len(s.b) && s.b[s.i] == '-' {
		n.neg = true
		s.i++
	}
	start := s.i
	s.digits(&n, 0)
	if s.i == start || s.b[start] == '0' && s.i > start+1 {
		if s.i > start {
			s.i = start + 1 // a zero that leads other digits
		}
		return n, s.syntax()
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		start = s.i
		if s.digits(&n, -1); s.i == start {
			return n, s.syntax()
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		return n, s.exponent(&n)
	}
	return n, true
}

// digits adds the digits that follow to the mantissa; each moves the exponent by step.
func (s *scanner) digits(n *number, step int) {
	for ; s.i < len(s.b); s.i++ {
		d := s.b[s.i] - '0'
		if d > 9 {
			return
		}
		if n.mant > (math.MaxUint64-9)/10 {
			n.inexact = n.inexact || d != 0
			n.exp += 1 + step
			continue
		}
		n.mant = n.mant*10 + uint64(d)
		n.exp += step
	}
}

// exponent reads the digits after e.
func (s *scanner) exponent(n *number) bool {
	neg := false
	if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
		neg = s.b[s.i] == '-'
		s.i++
	}
	start, e := s.i, 0
	for ; s.i < len(s.b) && s.b[s.i]-'0' <= 9; s.i++ {
		e = min(e*10+int(s.b[s.i]-'0'), 1<<24) // longer than any input can compensate
	}
	if s.i == start {
		return s.syntax()
	}
	if neg {
		e = -e
	}
	n.exp += e
	return true
}

// int64 returns the number as an integer, and whether it is exactly one that fits.
func (n number) int64() (int64, bool) {
	m, e := n.mant, n.exp
	if m == 0 {
		return 0, !n.inexact
	}
	for ; e < 0 && m%10 == 0; e++ {
		m /= 10
	}
	for ; e > 0 && m <= math.MaxInt64/10; e-- {
		m *= 10
	}
	if e != 0 || n.inexact || m > math.MaxInt64 {
		return 0, false
	}
	if n.neg {
		return -int64(m), true
	}
	return int64(m), true
}

// integer reads a number that must be whole and fit into 64 bits.
func (s *scanner) integer() (int64, bool) {
	c := s.peek()
	if c != '-' && (c < '0' || c > '9') {
		return 0, s.wrongType()
	}
	n, ok := s.number()
	if !ok {
		return 0, false
	}
	v, ok := n.int64()
	if !ok {
		return 0, s.fail(ReasonBadValue)
	}
	return v, true
}
