package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// appender appends the calls of a cast and remembers what Kafka said of each.
type appender struct {
	client *kgo.Client
	start  time.Time

	mu      sync.Mutex
	appends []check.Append
	sent    map[string]time.Time // by id
}

func (c *Cluster) newAppender() (*appender, error) {
	client, err := kgo.NewClient(slices.Concat(c.kafka.seeds(), pipeline.ProducerOptions())...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a producer: %w", err)
	}
	return &appender{client: client, sent: map[string]time.Time{}}, nil
}

// past appends the calls of before the start, and waits until Kafka has them.
func (a *appender) past(ctx context.Context, cast *cast, start time.Time) error {
	a.start = start
	for i := range cast.calls {
		if x := &cast.calls[i]; x.at < 0 {
			a.append(x)
		}
	}
	return a.flush(ctx)
}

// present appends the others at their times. It does not wait for Kafka.
func (a *appender) present(ctx context.Context, cast *cast) {
	for i := range cast.calls {
		x := &cast.calls[i]
		if x.at < 0 {
			continue
		}
		if wait := time.Until(a.start.Add(x.at)); wait > 0 && !sleep(ctx, wait) {
			return
		}
		a.append(x)
	}
}

func (a *appender) append(x *call) {
	t := x.telemetry(a.start)
	a.mu.Lock()
	i := len(a.appends)
	a.appends = append(a.appends, check.Append{ID: x.id(), Agent: x.key(), Number: x.number})
	a.sent[x.id()] = time.Now()
	a.mu.Unlock()
	record := &kgo.Record{
		Topic: pipeline.TopicCalls, Key: telemetry.Key(t), Value: telemetry.AppendJSON(nil, t),
		Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeJSON)}},
	}
	a.client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
		if err != nil {
			return // it may be there or not
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.appends[i].Acked, a.appends[i].At = true, check.Place{Partition: r.Partition, Offset: r.Offset}
	})
}

// flush waits until Kafka has answered for all calls.
func (a *appender) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	if err := a.client.Flush(ctx); err != nil {
		return fmt.Errorf("not all calls are taken by Kafka within %v: %w", recoverLimit, err)
	}
	return nil
}
