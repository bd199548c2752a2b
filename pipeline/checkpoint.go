package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
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

// restore reads the state of a partition back. It returns the checkpoint's marker, or a
// zero one where there is none, and gives every entity to take.
func (s source) restore(ctx context.Context, seeds []kgo.Opt, take func(shard.EntityState) error) (checkpoint, error) {
	none := checkpoint{origins: watermarks{}}
	offsets := map[string]map[int32]kgo.Offset{TopicState: {s.partition: kgo.NewOffset().AtStart()}}
	cl, err := kgo.NewClient(slices.Concat(seeds, []kgo.Opt{kgo.ConsumePartitions(offsets)})...) // seeds are shared
	if err != nil {
		return none, fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, TopicState)
	if err != nil {
		return none, fmt.Errorf("cannot find the end of the state of %s/%d: %w", s.topic, s.partition, err)
	}
	end, ok := ends.Lookup(TopicState, s.partition)
	if !ok || end.Err != nil {
		return none, fmt.Errorf("cannot find the end of the state of %s/%d: %w", s.topic, s.partition, end.Err)
	}
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, TopicState)
	if err != nil {
		return none, fmt.Errorf("cannot find the start of the state of %s/%d: %w", s.topic, s.partition, err)
	}
	start, _ := starts.Lookup(TopicState, s.partition)
	return s.readState(ctx, cl, start.Offset, end.Offset, take)
}

// readState reads the state topic up to end. Of each key the last record counts.
func (s source) readState(ctx context.Context, cl *kgo.Client, start, end int64, take func(shard.EntityState) error) (checkpoint, error) {
	last := map[string][]byte{}
	prefix := string(s.stateKey(""))
	for next := start; next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return checkpoint{}, fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if strings.HasPrefix(string(r.Key), prefix) {
				last[string(r.Key[len(prefix):])] = r.Value
			}
		})
	}
	marker := checkpoint{origins: watermarks{}}
	if b, ok := last[""]; ok {
		var err error
		if marker, err = parseMarker(b); err != nil {
			return marker, fmt.Errorf("state of %s/%d: %w", s.topic, s.partition, err)
		}
		delete(last, "")
	}
	for key, value := range last {
		if err := take(shard.EntityState{Key: key, Value: value}); err != nil {
			return marker, fmt.Errorf("state of %s/%d: %w", s.topic, s.partition, err)
		}
	}
	return marker, nil
}
