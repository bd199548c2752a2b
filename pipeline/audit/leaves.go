package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The file of a chunk's leaves: what is needed to compute its leaves again, without their
// payloads. docs/audit.md has its format.
const leavesHead = "estop leaves v1\n"

// trailStart is how far a trail was before the chunk.
type trailStart struct {
	Subject
	seq   uint64
	clock int64
	prev  Hash
	chunk int64 // that the leaf before is in; -1: there is none
}

// sealed is one leaf in the file.
type sealed struct {
	trail      int // in the file's table
	offset     int64
	part       uint32
	appended   int64
	salt       Salt
	commitment Hash
}

func appendStarts(b []byte, starts []trailStart) []byte {
	b = append(b, leavesHead...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(starts)))
	for i := range starts {
		s := &starts[i]
		for _, name := range []string{s.Tenant, s.Scope, s.Name} {
			b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
			b = append(b, name...)
		}
		b = binary.BigEndian.AppendUint64(b, s.seq)
		b = binary.BigEndian.AppendUint64(b, uint64(s.clock))
		b = append(b, s.prev[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(s.chunk))
	}
	return b
}

func appendSealed(b []byte, leaves []sealed, first int64) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(leaves)))
	offset, appended := first, int64(0)
	for i := range leaves {
		l := &leaves[i]
		b = binary.AppendUvarint(b, uint64(l.trail))
		b = binary.AppendUvarint(b, uint64(l.offset-offset))
		b = binary.AppendUvarint(b, uint64(l.part))
		b = binary.AppendVarint(b, l.appended-appended)
		b = append(b, l.salt[:]...)
		b = append(b, l.commitment[:]...)
		offset, appended = l.offset, l.appended
	}
	return b
}

var errLeaves = errors.New("the file of leaves is damaged")

// scanner reads a file of leaves; once something is wrong it reads zeros.
type scanner struct {
	b      []byte
	failed bool
}

func (s *scanner) take(n int) []byte {
	if n > len(s.b) {
		s.b, s.failed = nil, true
		return make([]byte, min(n, 1<<16))
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *scanner) u16() uint16 { return binary.BigEndian.Uint16(s.take(2)) }
func (s *scanner) u32() uint32 { return binary.BigEndian.Uint32(s.take(4)) }
func (s *scanner) u64() uint64 { return binary.BigEndian.Uint64(s.take(8)) }

func (s *scanner) text() string { return string(s.take(int(s.u16()))) }

func (s *scanner) uvarint() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.b, s.failed = nil, true
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) varint() int64 {
	v, n := binary.Varint(s.b)
	if n <= 0 {
		s.b, s.failed = nil, true
		return 0
	}
	s.b = s.b[n:]
	return v
}

// leafFile is a file of leaves whose table was read.
type leafFile struct {
	chunk  *Chunk
	starts []trailStart
	n      int
	rest   []byte
}

const (
	minStart  = 3*2 + 8 + 8 + 32 + 8
	minSealed = 4 + saltSize + 32
)

func parseLeaves(c *Chunk, data []byte) (*leafFile, error) {
	rest, ok := bytes.CutPrefix(data, []byte(leavesHead))
	s := scanner{b: rest}
	n := int(s.u32())
	if !ok || n > len(s.b)/minStart {
		return nil, fmt.Errorf("%w: its beginning", errLeaves)
	}
	f := &leafFile{chunk: c, starts: make([]trailStart, n)}
	for i := range f.starts {
		f.starts[i] = trailStart{Subject: Subject{s.text(), s.text(), s.text()}, seq: s.u64(), clock: int64(s.u64())}
		copy(f.starts[i].prev[:], s.take(32))
		f.starts[i].chunk = int64(s.u64())
	}
	f.n = int(s.u32())
	if s.failed || f.n > len(s.b)/minSealed || f.n != c.Leaves {
		return nil, fmt.Errorf("%w: its table", errLeaves)
	}
	f.rest = s.b
	return f, nil
}

// StoredLeaf is a leaf with what its payload is checked by.
type StoredLeaf struct {
	Leaf
	Salt Salt // zero: it was forgotten, so that the payload cannot be checked any more
	Hash Hash

	at    int64 // where its salt is in the file's leaves
	trail int
}

// each gives the leaves in their order, of the trail number only, or of all where that is
// negative.
func (f *leafFile) each(only int, to func(*StoredLeaf) error) error {
	ends := append([]trailStart(nil), f.starts...)
	s := scanner{b: f.rest}
	offset, appended := f.chunk.First, int64(0)
	for range f.n {
		no, step, part, later := s.uvarint(), s.uvarint(), s.uvarint(), s.varint()
		at := int64(len(f.rest) - len(s.b))
		salt, commitment := s.take(saltSize), s.take(32)
		offset, appended = offset+int64(step), appended+later
		if s.failed || no >= uint64(len(ends)) || offset < f.chunk.First || offset > f.chunk.Last || part > 1<<32-1 {
			return fmt.Errorf("%w: a leaf", errLeaves)
		}
		if only >= 0 && int(no) != only {
			continue
		}
		t := &ends[no]
		l := StoredLeaf{at: at, trail: int(no)}
		l.Topic, l.Subject = f.chunk.Topic, t.Subject
		l.Place = Place{f.chunk.TopicID, f.chunk.Partition, offset, uint32(part)}
		l.Seq, l.Prev, l.Clock, l.Appended = t.seq+1, t.prev, max(t.clock, appended), appended
		copy(l.Salt[:], salt)
		copy(l.Commitment[:], commitment)
		l.Hash = l.Leaf.Hash()
		t.seq, t.prev, t.clock = l.Seq, l.Hash, l.Clock
		if err := to(&l); err != nil {
			return err
		}
	}
	if len(s.b) > 0 {
		return fmt.Errorf("%w: something follows its end", errLeaves)
	}
	return nil
}

// hashes returns the hashes of all leaves, once they are known to have the chunk's root.
func (f *leafFile) hashes() ([]Hash, error) {
	all := make([]Hash, 0, f.n)
	if err := f.each(-1, func(l *StoredLeaf) error {
		all = append(all, l.Hash)
		return nil
	}); err != nil {
		return nil, err
	}
	if treeRoot(all) != f.chunk.Root {
		return nil, fmt.Errorf("%w: its leaves do not have the root of the chunk", errLeaves)
	}
	return all, nil
}

// before returns the chunk with the last leaf of a trail; -1 says that there is none.
func before(t *trail) int64 {
	if t.seq == 0 {
		return -1
	}
	return t.chunk
}

// advance brings the trails from the state in front of the chunk to that behind it, and
// checks both against the log.
func (f *leafFile) advance(t *trails, index int64) error {
	numbers := make([]int32, len(f.starts))
	for i := range f.starts {
		s := &f.starts[i]
		numbers[i] = t.find(TrailKey(f.chunk.Topic, s.Subject))
		is := &t.all[numbers[i]]
		if is.seq != s.seq || is.last != s.prev || is.clock != s.clock || before(is) != s.chunk {
			return fmt.Errorf("%w: the trail of %s %q of tenant %q begins elsewhere", errLeaves, s.Scope, s.Name, s.Tenant)
		}
	}
	all := make([]Hash, 0, f.n)
	if err := f.each(-1, func(l *StoredLeaf) error {
		all = append(all, l.Hash)
		is := &t.all[numbers[l.trail]]
		is.seq, is.last, is.clock, is.chunk = l.Seq, l.Hash, l.Clock, index
		return nil
	}); err != nil {
		return err
	}
	if treeRoot(all) != f.chunk.Root {
		return fmt.Errorf("%w: its leaves do not have the root of the chunk", errLeaves)
	}
	for _, n := range numbers {
		if t.all[n].seq > 0 {
			t.touch(n)
		}
	}
	if t.hash() != f.chunk.Map || t.count != f.chunk.Trails {
		return fmt.Errorf("%w: the trails do not have the root of the map", errLeaves)
	}
	return nil
}
