package pipeline

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

// checkpoint is what makes an offset safe: the entities that changed, the watermarks of
// the exchange, and the offset of the first call that they do not reflect.
type checkpoint struct {
	next    int64
	states  []shard.EntityState
	origins watermarks
	stored  []int64 // where the states of all entities lie, if the local file is to be written anew
}

// markerVersion is the encoding of markers that this version writes, and oldestMarker the oldest that it reads: that of
// the version before. See shard.CheckVersion.
const (
	markerVersion = 3
	oldestMarker  = max(markerVersion-1, 3)
)

var errMarker = errors.New("garbled checkpoint marker")

// source names a partition whose state is kept.
type source struct {
	topic     string
	partition int32
}

// stateKey is the key of an entity's record in the state topic; the marker's is that of
// no entity.
func (s source) stateKey(entity string) []byte {
	return []byte(s.topic + "\x00" + entity)
}

// records returns the checkpoint as records of the state topic: the entities first.
func (s source) records(c checkpoint) (states []*kgo.Record, marker *kgo.Record) {
	record := func(key, value []byte) *kgo.Record {
		return &kgo.Record{Topic: TopicState, Partition: s.partition, Key: key, Value: value}
	}
	for _, st := range c.states {
		states = append(states, record(s.stateKey(st.Key), st.Value))
	}
	return states, record(s.stateKey(""), appendMarker(nil, c))
}

func appendMarker(b []byte, c checkpoint) []byte {
	b = append(b, markerVersion)
	b = binary.AppendVarint(b, c.next)
	b = binary.AppendUvarint(b, uint64(len(c.origins)))
	for at, last := range c.origins {
		b = append(b, byte(at.what), byte(at.by))
		for _, v := range []int64{int64(at.partition), last.offset, int64(last.index), int64(last.part)} {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

func parseMarker(b []byte) (checkpoint, error) {
	c := checkpoint{origins: watermarks{}}
	if len(b) == 0 {
		return c, errMarker
	}
	if err := shard.CheckVersion("a checkpoint marker", b[0], oldestMarker, markerVersion); err != nil {
		return c, err
	}
	b = b[1:]
	varint := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			b = nil
			return -1
		}
		b = b[n:]
		return v
	}
	c.next = varint()
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return c, errMarker
	}
	b = b[n:]
	for range count {
		if len(b) < 2 || b[0] >= byte(traffics) {
			return c, errMarker
		}
		from := stream{what: traffic(b[0]), by: detector.Entity(b[1])}
		b = b[2:]
		from.partition = int32(varint())
		c.origins[from] = reached{varint(), int32(varint()), int32(varint())}
	}
	if b == nil || len(b) > 0 {
		return c, errMarker
	}
	return c, nil
}
