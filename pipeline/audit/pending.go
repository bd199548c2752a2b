package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pending is a chunk that still grows.
type pending struct {
	topic     string
	id        [16]byte
	partition int32
	first     int64
	next      int64 // behind the last offset taken
	leaves    []sealed
	starts    []trailStart
	local     map[string]int // by the encoded subject: the number in starts
	began     time.Time
}

// salts gives random salts out of a pool: asking for each would cost more than its hash.
type salts struct {
	pool [4096]byte
	used int
}

func (s *salts) next() (salt Salt) {
	if s.used == 0 || s.used == len(s.pool) {
		rand.Read(s.pool[:]) // never fails
		s.used = 0
	}
	copy(salt[:], s.pool[s.used:])
	s.used += saltSize
	return salt
}

// sealer makes sealed leaves out of records.
type sealer struct {
	intake intake
	salts  salts
	buffer []byte
}

// latestAppended is the latest time of a record that ClickHouse can hold too.
var latestAppended = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

func appendedAt(r *kgo.Record) int64 { return min(max(r.Timestamp.UnixMilli(), 0), latestAppended) }

// add takes a record into the chunk.
func (s *sealer) add(p *pending, r *kgo.Record) {
	appended := appendedAt(r)
	s.intake.each(r, func(a part) {
		l := sealed{trail: s.trail(p, &a), offset: r.Offset, part: a.no, appended: appended, salt: s.salts.next()}
		s.buffer = append(append(s.buffer[:0], l.salt[:]...), a.payload...)
		l.commitment = sha256.Sum256(s.buffer)
		p.leaves = append(p.leaves, l)
	})
	p.next = r.Offset + 1
}

// trail returns the number of the part's trail in the chunk's table.
func (s *sealer) trail(p *pending, a *part) int {
	b := s.buffer[:0]
	for _, name := range [][]byte{a.tenant, a.scope, a.name} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	}
	s.buffer = b
	if no, ok := p.local[string(b)]; ok {
		return no
	}
	no := len(p.starts)
	p.local[string(b)] = no
	p.starts = append(p.starts, trailStart{Subject: Subject{string(a.tenant), string(a.scope), string(a.name)}})
	return no
}

// close makes the chunk: the trails advance by its leaves. It returns the chunk and its
// file of leaves.
func (p *pending) close(t *trails, index int64) (Chunk, []byte) {
	numbers := make([]int32, len(p.starts))
	for i := range p.starts {
		s := &p.starts[i]
		numbers[i] = t.find(TrailKey(p.topic, s.Subject))
		is := &t.all[numbers[i]]
		s.seq, s.clock, s.prev, s.chunk = is.seq, is.clock, is.last, before(is)
	}
	data := appendStarts(nil, p.starts)
	data = appendSealed(data, p.leaves, p.first)
	hashes := make([]Hash, len(p.leaves))
	l := Leaf{Topic: p.topic}
	for i := range p.leaves {
		in := &p.leaves[i]
		is := &t.all[numbers[in.trail]]
		l.Subject = p.starts[in.trail].Subject
		l.Place = Place{p.id, p.partition, in.offset, in.part}
		l.Seq, l.Prev, l.Clock, l.Appended, l.Commitment = is.seq+1, is.last, max(is.clock, in.appended), in.appended, in.commitment
		hashes[i] = l.Hash()
		is.seq, is.last, is.clock, is.chunk = l.Seq, hashes[i], l.Clock, index
	}
	for _, n := range numbers {
		t.touch(n)
	}
	return Chunk{
		Topic: p.topic, TopicID: p.id, Partition: p.partition, First: p.first, Last: p.next - 1,
		Leaves: len(p.leaves), Root: treeRoot(hashes), Trails: t.count, Map: t.hash(),
	}, data
}
