package pipeline

import (
	"cmp"
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
		return readOrigin(b), nil
	}
	return origin{}, fmt.Errorf("%s/%d@%d: %w", r.Topic, r.Partition, r.Offset, errOrigin)
}

// readOrigin reads the first originSize bytes of b.
func readOrigin(b []byte) origin {
	return origin{
		by:        detector.Entity(b[0]),
		partition: int32(binary.BigEndian.Uint32(b[1:])),
		offset:    int64(binary.BigEndian.Uint64(b[5:])),
		index:     int32(binary.BigEndian.Uint32(b[13:])),
		appended:  int64(binary.BigEndian.Uint64(b[17:])),
	}
}

// place is where the call stands in its stream.
func (o origin) place() (stream, reached) {
	return stream{exchangedCalls, o.by, o.partition}, reached{offset: o.offset, index: o.index}
}

// originOf is the origin of a call on its way to the shard of a grouping.
func originOf(by detector.Entity, src shard.Source) origin {
	return origin{by: by, partition: src.Partition, offset: src.Offset, index: int32(src.Index), appended: src.Appended}
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
	p.room()
	from := p.call(by, c)
	header := len(p.bytes)
	p.bytes = originOf(by, src).append(p.bytes)
	return p.pack(from, headerOrigin, header)
}

// packing is where the key and the value of a record begin.
type packing struct{ key, value int }

// room makes room for a record.
func (p *packer) room() {
	if cap(p.bytes)-len(p.bytes) < packedLeast {
		p.bytes = make([]byte, 0, packedBytes)
	}
	if len(p.records) == cap(p.records) {
		p.records, p.headers = make([]kgo.Record, 0, packedRecords), make([]kgo.RecordHeader, 0, 3*packedRecords)
	}
}

// call writes key and value of a record.
func (p *packer) call(by detector.Entity, c *telemetry.Call) packing {
	key := len(p.bytes)
	p.bytes = shard.AppendEntityKey(p.bytes, by, c)
	value := len(p.bytes)
	p.bytes = telemetry.AppendProto(p.bytes, c)
	return packing{key, value}
}

// pack makes a record of what was written from on, with a header from end on.
func (p *packer) pack(from packing, header string, end int) *kgo.Record {
	stands := len(p.bytes)
	h := len(p.headers)
	p.headers = append(p.headers, contentProtobuf, kgo.RecordHeader{Key: header, Value: p.bytes[end:stands:stands]})
	if p.place != nil {
		p.bytes = appendPlace(p.bytes, *p.place)
		p.headers = append(p.headers, kgo.RecordHeader{Key: headerPlace, Value: p.bytes[stands:len(p.bytes):len(p.bytes)]})
	}
	p.records = append(p.records, kgo.Record{
		Topic: TopicExchange, Key: p.bytes[from.key:from.value:from.value], Value: p.bytes[from.value:end:end],
		Headers: p.headers[h:len(p.headers):len(p.headers)],
	})
	return &p.records[len(p.records)-1]
}

// watermarks hold, for each stream into an exchange shard, the last place that reached it. A
// replay repeats exchange records; each counts once.
type watermarks map[stream]reached

// stream is what comes from one partition for the shards of one grouping, in the order of its
// places there.
type stream struct {
	what      traffic
	by        detector.Entity
	partition int32
}

// traffic is what a stream is made of.
type traffic uint8

const (
	exchangedCalls traffic = iota
	signsOfCalls           // from the shards of calls; places are those of the calls
	signsOfGroups          // from the shards of the exchange; places are those of its records
	traffics
)

// reached is a place in a stream.
type reached struct {
	offset int64
	index  int32
	part   int32 // of what one call led to, if that takes several records
}

func (r reached) compare(than reached) int {
	return cmp.Or(cmp.Compare(r.offset, than.offset), cmp.Compare(r.index, than.index), cmp.Compare(r.part, than.part))
}

// passed reports whether the place was seen already, and remembers it if not.
func (w watermarks) passed(from stream, at reached) bool {
	if last, ok := w[from]; ok && at.compare(last) <= 0 {
		return true
	}
	w[from] = at
	return false
}
