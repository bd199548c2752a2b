package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/revoke"
)

// ackGroup makes several relays write each acknowledgement once.
const ackGroup = "estop-acks"

// acksWait is how long the last acknowledgements may take to get into Kafka.
const acksWait = 5 * time.Second

// RelayAcks writes the acknowledgements of guards from NATS to Kafka until ctx ends.
func RelayAcks(ctx context.Context, nc *nats.Conn, producer *kgo.Client, log *slog.Logger) error {
	acks, err := revoke.ShareAcks(nc, ackGroup, func(a revoke.Ack) {
		producer.Produce(context.WithoutCancel(ctx), jsonRecord(TopicAcks, a.Revocation, &a), func(_ *kgo.Record, err error) {
			if err != nil {
				log.Error("cannot keep an acknowledgement", "revocation", a.Revocation, "guard", a.Guard, "err", err)
			}
		})
	}, func(err error) { log.Warn("acknowledgement refused", "err", err) })
	if err != nil {
		return fmt.Errorf("cannot listen for acknowledgements: %w", err)
	}
	<-ctx.Done()
	err = acks.Close()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), acksWait)
	defer cancel()
	return errors.Join(err, producer.Flush(flush))
}
