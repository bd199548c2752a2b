package notify

import (
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
)

// The headers of a dead letter.
const (
	headerSink      = "sink"
	headerEvent     = "event"
	headerReason    = "reason"
	headerAttempts  = "attempts"
	headerTopic     = "source-topic"
	headerPartition = "source-partition"
	headerOffset    = "source-offset"
)

// deadLetter keeps the record of an event that a sink did not take, with the reason.
func deadLetter(s *Sink, r *kgo.Record, id string, a attempts, now time.Time) *kgo.Record {
	text := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{
		Topic: pipeline.TopicNotifyDLQ, Key: []byte(s.Name + "/" + id), Value: r.Value, Timestamp: now,
		Headers: []kgo.RecordHeader{
			text(headerSink, s.Name),
			text(headerEvent, id),
			text(headerReason, excerpt(a.err.Error())),
			text(headerAttempts, strconv.Itoa(a.n)),
			text(headerTopic, r.Topic),
			text(headerPartition, strconv.Itoa(int(r.Partition))),
			text(headerOffset, strconv.FormatInt(r.Offset, 10)),
		},
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
