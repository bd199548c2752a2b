package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// headerOrigin says where a call in the exchange came from and what it is grouped by.
const headerOrigin = "origin"

// origin is the place of an exchanged call in the topic of calls.
type origin struct {
	by        detector.Entity
	partition int32
	offset    int64
	index     int32
	appended  int64 // Unix nanoseconds
}

const originSize = 1 + 4 + 8 + 4 + 8

var errOrigin = errors.New("exchange record without a valid origin header")

// append writes what parseOrigin reads.
func (o origin) append(b []byte) []byte {
	b = append(b, byte(o.by))
	b = binary.BigEndian.AppendUint32(b, uint32(o.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(o.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(o.index))
	return binary.BigEndian.AppendUint64(b, uint64(o.appended))
}

func parseOrigin(r *kgo.Record) (origin, error) {
	for i := range r.Headers {
		b := r.Headers[i].Value
		if r.Headers[i].Key != headerOrigin || len(b) != originSize || int(b[0]) >= detector.Entities {
			continue
		}
		return origin{
			by:        detector.Entity(b[0]),
			partition: int32(binary.BigEndian.Uint32(b[1:])),
			offset:    int64(binary.BigEndian.Uint64(b[5:])),
			index:     int32(binary.BigEndian.Uint32(b[13:])),
			appended:  int64(binary.BigEndian.Uint64(b[17:])),
		}, nil
	}
	return origin{}, fmt.Errorf("%s/%d@%d: %w", r.Topic, r.Partition, r.Offset, errOrigin)
}

// source is where the call stands in the topic of calls.
func (o origin) source() shard.Source {
	return shard.Source{Topic: TopicCalls, Partition: o.partition, Offset: o.offset, Index: int(o.index), Appended: o.appended}
}

// packer makes the records with which calls go to the shards of their entities. They and
// their bytes lie in blocks, so that a record costs a fraction of an allocation. A block is
// written once: the producer holds its records until they are acknowledged.
type packer struct {
	bytes   []byte
	records []kgo.Record
	headers []kgo.RecordHeader
	place   *graph.Place // of the calls in the access graph; nil: not known
}

const (
	packedBytes   = 64 << 10 // of a block
	packedLeast   = 4 << 10  // room that most records fit in; a larger one moves the block
	packedRecords = 64       // of a block
)

var contentProtobuf = kgo.RecordHeader{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeProtobuf)}

// record returns the call c on its way to the shard of its entity.
func (p *packer) record(by detector.Entity, c *telemetry.Call, src shard.Source) *kgo.Record {
	if cap(p.bytes)-len(p.bytes) < packedLeast {
		p.bytes = make([]byte, 0, packedBytes)
	}
	if len(p.records) == cap(p.records) {
		p.records, p.headers = make([]kgo.Record, 0, packedRecords), make([]kgo.RecordHeader, 0, 3*packedRecords)
	}
	o := origin{by: by, partition: src.Partition, offset: src.Offset, index: int32(src.Index), appended: src.Appended}
	from := len(p.bytes)
	p.bytes = shard.AppendEntityKey(p.bytes, by, c)
	value := len(p.bytes)
	p.bytes = telemetry.AppendProto(p.bytes, c)
	end := len(p.bytes)
	p.bytes = o.append(p.bytes)
	stands := len(p.bytes)
	h := len(p.headers)
	p.headers = append(p.headers, contentProtobuf, kgo.RecordHeader{Key: headerOrigin, Value: p.bytes[end:stands:stands]})
	if p.place != nil {
		p.bytes = appendPlace(p.bytes, *p.place)
		p.headers = append(p.headers, kgo.RecordHeader{Key: headerPlace, Value: p.bytes[stands:len(p.bytes):len(p.bytes)]})
	}
	p.records = append(p.records, kgo.Record{
		Topic: TopicExchange, Key: p.bytes[from:value:value], Value: p.bytes[value:end:end], Headers: p.headers[h:len(p.headers):len(p.headers)],
	})
	return &p.records[len(p.records)-1]
}

// watermarks hold, for each grouping and partition of calls, the last call that reached an
// exchange shard. A replay repeats exchange records; each counts once.
type watermarks map[stream]reached

// stream is the calls of one partition on their way to the shards of one grouping. They
// come in the order of their places.
type stream struct {
	by        detector.Entity
	partition int32
}

// reached is the place of a call in its partition.
type reached struct {
	offset int64
	index  int32
}

// passed reports whether the origin was seen already, and remembers it if not.
func (w watermarks) passed(o origin) bool {
	from := stream{o.by, o.partition}
	last, ok := w[from]
	if ok && (o.offset < last.offset || o.offset == last.offset && o.index <= last.index) {
		return true
	}
	w[from] = reached{o.offset, o.index}
	return false
}
