package models

import (
	"encoding/binary"
	"math"
)

const (
	sessionVersion         = 1
	sessionBaselineVersion = 1
)

// AppendBinary appends the state to b: 12 bytes and more, 8 for each action of the history
// and at most 5 for each value. It never fails.
func (s *Session) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, sessionVersion)
	b = binary.AppendUvarint(b, uint64(s.calls))
	b = appendFloat(b, s.score)
	for _, action := range s.History() {
		b = binary.LittleEndian.AppendUint64(b, action)
	}
	b = binary.AppendUvarint(b, uint64(s.uses))
	for _, u := range s.used[:min(s.uses, sessionValues)] {
		b = binary.AppendUvarint(b, uint64(u))
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it.
func (s *Session) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, sessionVersion)
	n := Session{calls: uint32(r.count(math.MaxUint32)), score: r.float()}
	history := n.History()
	for i := range history {
		history[i] = r.uint64()
	}
	n.uses = uint32(r.count(2*sessionValues - 1))
	for i := range n.used[:min(n.uses, sessionValues)] {
		n.used[i] = uint32(r.count(math.MaxUint32))
	}
	if n.score < 0 {
		r.fail("a score")
	}
	if r.err != nil {
		return nil, r.err
	}
	*s = n
	return r.rest, nil
}

// AppendBinary appends the state to b: that of its models. It never fails.
func (b *SessionBaseline) AppendBinary(buf []byte) ([]byte, error) {
	buf = append(buf, sessionBaselineVersion)
	buf, _ = b.actions.AppendBinary(buf)
	buf, _ = b.values.AppendBinary(buf)
	return b.tokens.AppendBinary(buf)
}

// DecodeBinary takes the state from the beginning of buf and returns what follows it. The
// receiver is as NewSessionBaseline returned it, with the same cap.
func (b *SessionBaseline) DecodeBinary(buf []byte) (rest []byte, err error) {
	r := readVersion(buf, sessionBaselineVersion)
	if r.err != nil {
		return nil, r.err
	}
	n := *b
	if rest, err = n.actions.DecodeBinary(r.rest); err != nil {
		return nil, err
	}
	if rest, err = n.values.DecodeBinary(rest); err != nil {
		return nil, err
	}
	if rest, err = n.tokens.DecodeBinary(rest); err != nil {
		return nil, err
	}
	*b = n
	return rest, nil
}
