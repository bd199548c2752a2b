package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
)

// The file of the trails: how far each of them was at a size of the log, so that a start
// need not read the log from its beginning. It is a copy of what the log says, and checked
// against it; without it everything is read.
const (
	stateFile     = "trails"
	stateFileOld  = "trails.before"
	stateHead     = "estop trails v1\n"
	statePosition = 16 + 4 + 8
	stateTrail    = 32 + 8 + 8 + 32 + 8
)

// source is a partition of a topic, by the topic's id: a topic that was made again is
// another one.
type source struct {
	id        [16]byte
	partition int32
}

// state is what the log says at a size.
type state struct {
	size      int64
	trails    *trails
	positions map[source]int64 // by partition: the offset behind the last chunk
}

func newState() *state { return &state{trails: newTrails(), positions: map[source]int64{}} }

func (s *state) encode() []byte {
	b := make([]byte, 0, len(stateHead)+16+len(s.positions)*statePosition+len(s.trails.all)*stateTrail+sha256.Size)
	b = append(b, stateHead...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.size))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.positions)))
	for at, next := range s.positions {
		b = append(b, at.id[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(at.partition))
		b = binary.BigEndian.AppendUint64(b, uint64(next))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(s.trails.count))
	for i := range s.trails.all {
		t := &s.trails.all[i]
		if t.seq == 0 {
			continue
		}
		b = append(b, t.key[:]...)
		b = binary.BigEndian.AppendUint64(b, t.seq)
		b = binary.BigEndian.AppendUint64(b, uint64(t.clock))
		b = append(b, t.last[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(t.chunk))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

var errState = errors.New("the file of trails is damaged")

func parseState(b []byte) (*state, error) {
	if len(b) < sha256.Size || !bytes.HasPrefix(b, []byte(stateHead)) {
		return nil, errState
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if is := sha256.Sum256(body); !bytes.Equal(is[:], sum) {
		return nil, errState
	}
	in := scanner{b: body[len(stateHead):]}
	s := newState()
	s.size = int64(in.u64())
	n := int(in.u32())
	if n > len(in.b)/statePosition {
		return nil, errState
	}
	for range n {
		var at source
		copy(at.id[:], in.take(16))
		at.partition = int32(in.u32())
		s.positions[at] = int64(in.u64())
	}
	n = int(in.u32())
	if n != len(in.b)/stateTrail {
		return nil, errState
	}
	for range n {
		var t trail
		copy(t.key[:], in.take(32))
		t.seq, t.clock = in.u64(), int64(in.u64())
		copy(t.last[:], in.take(32))
		t.chunk = int64(in.u64())
		if _, known := s.trails.index[t.key]; known || t.seq == 0 {
			return nil, errState
		}
		s.trails.all[s.trails.find(t.key)] = t
		s.trails.touch(s.trails.index[t.key])
	}
	if in.failed || len(in.b) > 0 || s.size < 0 {
		return nil, errState
	}
	return s, nil
}

// State computes what the log says at its size: out of the file of trails and the chunks
// behind it, or out of all chunks.
func (l *Log) state() (*state, error) {
	s, err := l.nearest()
	if err != nil {
		return nil, err
	}
	for s.size < l.Size {
		if err := l.advance(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// nearest returns the newest state that was written down and is not beyond the log's size.
func (l *Log) nearest() (*state, error) {
	for _, name := range []string{stateFile, stateFileOld} {
		b, err := l.files.Read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read how far the trails are: %w", err)
		}
		s, err := parseState(b)
		if err != nil || s.size > l.Size || s.size == 0 {
			continue
		}
		c, _, err := l.Entry(s.size - 1)
		if err != nil {
			return nil, err
		}
		if s.trails.hash() == c.Map && s.trails.count == c.Trails {
			return s, nil
		}
	}
	return newState(), nil
}

// advance takes the next chunk into the state.
func (l *Log) advance(s *state) error {
	c, _, err := l.Entry(s.size)
	if err != nil {
		return err
	}
	f, err := l.leaves(&c, s.size)
	if err != nil {
		return err
	}
	if err := f.advance(s.trails, s.size); err != nil {
		return fmt.Errorf("chunk %d: %w", s.size, err)
	}
	s.positions[source{c.TopicID, c.Partition}] = c.Last + 1
	s.size++
	return nil
}
