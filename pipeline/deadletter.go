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

// The bounds of a dead letter: it must fit into a message of Kafka's default size, or the
// letter about a call that is too large would itself be refused, again and again.
const (
	maxLetter        = 900 << 10 // bytes of the value that are kept; the place leads to the rest
	maxLetterHeaders = 32 << 10  // bytes of the source's own headers
)

// DeadLetter is the record that keeps what could not be decoded: the bytes, up to a bound,
// and headers with the reason and the place.
func DeadLetter(at Place, bad *telemetry.BadCall, value []byte, headers []kgo.RecordHeader) *kgo.Record {
	text := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	size := len(value)
	value = value[:min(size, maxLetter)]
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
			text("source-size", strconv.Itoa(size)),
		}, bounded(headers)...),
	}
}

// bounded returns the headers that fit into maxLetterHeaders, from the first on.
func bounded(headers []kgo.RecordHeader) []kgo.RecordHeader {
	left := maxLetterHeaders
	for i, h := range headers {
		if left -= len(h.Key) + len(h.Value); left < 0 {
			return headers[:i]
		}
	}
	return headers
}
