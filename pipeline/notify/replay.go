package notify

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
)

// Letter is a dead letter as people see it.
type Letter struct {
	Sink     string    `json:"sink"`
	Event    string    `json:"event"`
	At       time.Time `json:"at"` // when it was given up
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Topic    string    `json:"topic"` // of the record
	record   *kgo.Record
}

func readLetter(r *kgo.Record) Letter {
	n, err := strconv.Atoi(header(r, headerAttempts))
	if err != nil {
		n = 0 // written by somebody else
	}
	return Letter{header(r, headerSink), header(r, headerEvent), r.Timestamp.UTC(), header(r, headerReason), n, header(r, headerTopic), r}
}

// Replayed is what a replay of dead letters did.
type Replayed struct {
	Sent   int `json:"sent"`
	Unread int `json:"unread"` // records that are no events
}

// DeadLetters reads the dead letters of sinks.
type DeadLetters struct {
	Kafka []kgo.Opt
	Sink  *Sink // of which; nil: of all, to look at them
}

// deadGroup keeps how far the dead letters of a sink were replayed.
func deadGroup(sink string) string { return Group(sink) + "-replay" }

// retryReplay is how long one letter is tried again: somebody waits for it.
var retryReplay = Retry{First: 250 * time.Millisecond, Longest: 2 * time.Second, For: 10 * time.Second}

// Replay sends the dead letters again that came since the last replay, in their order. At the first that is not taken
// it stops; the next replay begins there.
func (d *DeadLetters) Replay(ctx context.Context) (Replayed, error) {
	var done Replayed
	s := *d.Sink
	s.Retry = retryReplay
	err := d.each(ctx, false, func(l Letter) error {
		e, err := readEvent(l.Topic, l.record.Value)
		if err != nil {
			done.Unread++
			return nil
		}
		a, err := s.deliver(ctx, ctx.Done(), e, time.Now, func(error, bool) {})
		if err == nil {
			err = a.err
		}
		if err != nil {
			return fmt.Errorf("event %s was not taken; it and those behind it wait for the next replay: %w", e.ID, err)
		}
		done.Sent++
		return nil
	})
	return done, err
}

// List returns the dead letters that a replay would send, or, of all sinks, all that Kafka keeps.
func (d *DeadLetters) List(ctx context.Context) ([]Letter, error) {
	all := []Letter{}
	err := d.each(ctx, true, func(l Letter) error {
		all = append(all, l)
		return nil
	})
	return all, err
}

// each calls f for each letter up to the end that the topic has now, and, unless it only looks, saves how far it came.
func (d *DeadLetters) each(ctx context.Context, look bool, f func(Letter) error) error {
	cl, err := kgo.NewClient(d.Kafka...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	from, to, err := d.bounds(ctx, admin)
	if err != nil {
		return fmt.Errorf("cannot read the dead letters: %w", err)
	}
	for p, offset := range from {
		next, err := d.partition(ctx, p, offset, to[p], f)
		if !look && next > offset {
			at := kadm.Offsets{}
			at.Add(kadm.Offset{Topic: pipeline.TopicNotifyDLQ, Partition: p, At: next, LeaderEpoch: -1})
			// Also where ctx has ended: what was sent must not come again for that.
			saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWait)
			saved := admin.CommitAllOffsets(saving, deadGroup(d.Sink.Name), at)
			cancel()
			if err == nil && saved != nil {
				err = fmt.Errorf("sent, but the next replay sends the same again: %w", saved)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bounds returns where to begin and where to end, for each partition that has something in between.
func (d *DeadLetters) bounds(ctx context.Context, admin *kadm.Client) (from, to map[int32]int64, err error) {
	starts, ends, err := pipeline.Bounds(ctx, admin, pipeline.TopicNotifyDLQ)
	if err != nil {
		return nil, nil, err
	}
	have := kadm.OffsetResponses{}
	if d.Sink != nil {
		if have, err = committed(ctx, admin, deadGroup(d.Sink.Name)); err != nil {
			return nil, nil, err
		}
	}
	from, to = map[int32]int64{}, map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		at := start.Offset
		if o, ok := have.Lookup(end.Topic, end.Partition); ok {
			at = max(at, o.At)
		}
		if at < end.Offset {
			from[end.Partition], to[end.Partition] = at, end.Offset
		}
	})
	return from, to, nil
}

// partition calls f for the letters of a partition and returns the offset behind the last that f took.
func (d *DeadLetters) partition(ctx context.Context, p int32, from, to int64, f func(Letter) error) (int64, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{pipeline.TopicNotifyDLQ: {p: kgo.NewOffset().At(from)}}),
		kgo.FetchMaxBytes(4 << 20),
	}, d.Kafka...)...)
	if err != nil {
		return from, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	for from < to {
		fetches := cl.PollRecords(ctx, laneLength)
		if err := fetches.Err(); err != nil {
			return from, fmt.Errorf("cannot read the dead letters: %w", err)
		}
		for r := range fetches.RecordsAll() {
			if r.Offset >= to {
				return to, nil
			}
			if l := readLetter(r); d.Sink == nil || l.Sink == d.Sink.Name {
				if err := f(l); err != nil {
					return from, err
				}
			}
			from = r.Offset + 1
		}
	}
	return from, nil
}
