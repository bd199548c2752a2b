package archive

import (
	"context"
	"errors"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The headers of a record of the dead letter topic.
const (
	headerReason    = "reason"
	headerDetail    = "detail"
	headerTopic     = "source-topic"
	headerPartition = "source-partition"
	headerOffset    = "source-offset"
	headerIndex     = "source-index"
)

// The reasons of the archiver's dead letters.
const (
	reasonUnreadable = "unreadable_record" // the record of an internal topic is not what it should be
	reasonRefused    = "refused_by_store"  // ClickHouse takes the rows of all other records, but not of this one
)

// deadLetter is a record that cannot become rows. It must not hold up the ones behind it.
type deadLetter struct {
	record         *kgo.Record
	reason, detail string
}

// sendDead sends the batch's dead letters. A batch that is repeated sends them again; the
// view dlq_once shows each once.
func (w *worker) sendDead() error {
	for _, d := range w.dead {
		w.archiver.metrics.poison.WithLabelValues(d.record.Topic, d.reason).Inc()
		w.archiver.log.Error("record goes to the dead letter topic", "at", w.at, "offset", d.record.Offset, "reason", d.reason, "detail", d.detail)
		letter := d.letter()
		for pause := newBackoff(); ; {
			err := w.produce(letter)
			if err == nil {
				break
			}
			if errors.Is(err, kerr.MessageTooLarge) && letter.Value != nil {
				letter.Value = nil // the headers say where the bytes are
				continue
			}
			w.archiver.log.Warn("cannot send a dead letter", "at", w.at, "error", err)
			if !pause.wait(w.stopping) {
				return errStopped
			}
		}
	}
	return nil
}

func (w *worker) produce(letter *kgo.Record) error {
	ctx, cancel := context.WithTimeout(w.ctx, commitTimeout)
	defer cancel()
	return w.archiver.kafka.ProduceSync(ctx, letter).FirstErr()
}

func (d deadLetter) letter() *kgo.Record {
	r := d.record
	place := r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10)
	return &kgo.Record{
		Topic: TopicDLQ,
		Key:   []byte(place),
		Value: r.Value,
		Headers: append([]kgo.RecordHeader{
			{Key: headerReason, Value: []byte(d.reason)},
			{Key: headerDetail, Value: []byte(d.detail)},
			{Key: headerTopic, Value: []byte(r.Topic)},
			{Key: headerPartition, Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
			{Key: headerOffset, Value: strconv.AppendInt(nil, r.Offset, 10)},
			{Key: headerIndex, Value: []byte("0")},
		}, r.Headers...),
	}
}
