package pipeline

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// Place is where bytes that are no call came from: a record of a topic, or, for a file, its
// name and the line.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// DeadLetter is the record that keeps what could not be decoded: the bytes, and headers
// with the reason and the place.
func DeadLetter(at Place, bad *telemetry.BadCall, value []byte, headers []kgo.RecordHeader) *kgo.Record {
	text := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	partition, offset := strconv.Itoa(int(at.Partition)), strconv.FormatInt(at.Offset, 10)
	return &kgo.Record{
		Topic: TopicDLQ,
		Key:   []byte(at.Topic + "/" + partition + "/" + offset),
		Value: value,
		Headers: append([]kgo.RecordHeader{
			text("reason", bad.Reason),
			text("detail", bad.Detail),
			text("source-topic", at.Topic),
			text("source-partition", partition),
			text("source-offset", offset),
			text("source-index", strconv.Itoa(bad.Index)),
		}, headers...),
	}
}
