package models

import (
	"encoding/binary"
	"math"
)

const loopVersion = 1

// AppendBinary appends the state to b. It never fails.
func (l *Loop) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(append(b, loopVersion), l.n)
	for i := range min(l.n, longestPeriod) {
		b = binary.LittleEndian.AppendUint64(b, l.past[i])
		b = binary.AppendUvarint(b, uint64(l.runs[i]))
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it.
func (l *Loop) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, loopVersion)
	d := Loop{n: r.uvarint()}
	for i := range min(d.n, longestPeriod) {
		d.past[i], d.runs[i] = r.uint64(), uint32(r.count(int(min(d.n, 1<<31))))
	}
	if r.err != nil {
		return nil, r.err
	}
	*l = d
	return r.rest, nil
}

const progressVersion = 1

// AppendBinary appends the state to b: at most 5 bytes for each call that is remembered. It
// never fails.
func (p *Progress) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, progressVersion)
	b = binary.AppendUvarint(b, uint64(p.news))
	b = binary.AppendUvarint(b, uint64(p.stale))
	for _, call := range p.recent[:min(p.news, rememberedCalls)] {
		b = binary.AppendUvarint(b, uint64(call))
	}
	return b, nil
}

// DecodeBinary takes the state from the beginning of b and returns what follows it.
func (p *Progress) DecodeBinary(b []byte) (rest []byte, err error) {
	r := readVersion(b, progressVersion)
	d := Progress{news: uint32(r.count(2*rememberedCalls - 1)), stale: uint32(r.count(math.MaxUint32))}
	for i := range d.recent[:min(d.news, rememberedCalls)] {
		d.recent[i] = uint32(r.count(math.MaxUint32))
	}
	if r.err != nil {
		return nil, r.err
	}
	*p = d
	return r.rest, nil
}
