package revoke

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
)

const maxAck = 4 << 10 // bytes

// ParseAck reads an acknowledgement as a guard sends it.
func ParseAck(b []byte) (Ack, error) {
	var a Ack
	if len(b) > maxAck {
		return a, fmt.Errorf("cannot read ack: %w: %d bytes", ErrTooLarge, len(b))
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return Ack{}, fmt.Errorf("cannot read ack: %w: %w", ErrMalformed, err)
	}
	if a.Revocation == "" || a.Guard == "" {
		return Ack{}, fmt.Errorf("cannot read ack: %w: no revocation or no guard", ErrMalformed)
	}
	return a, nil
}

// AckCollector hears the acknowledgements of all guards.
type AckCollector struct {
	sub *nats.Subscription
}

// CollectAcks calls f for each acknowledgement, one after the other, until Close. What
// cannot be read, or came on another guard's subject, goes to bad; nil drops it.
// When CollectAcks returns the server knows of the subscription: nothing later is missed.
func CollectAcks(nc *nats.Conn, f func(Ack), bad func(error)) (*AckCollector, error) {
	return collectAcks(nc, "", f, bad)
}

// ShareAcks is CollectAcks among several processes: those that name the same group get each
// acknowledgement once between them.
func ShareAcks(nc *nats.Conn, group string, f func(Ack), bad func(error)) (*AckCollector, error) {
	return collectAcks(nc, group, f, bad)
}

func collectAcks(nc *nats.Conn, group string, f func(Ack), bad func(error)) (*AckCollector, error) {
	sub, err := nc.QueueSubscribe(AckPrefix+".>", group, func(m *nats.Msg) {
		a, err := ParseAck(m.Data)
		if err == nil && m.Subject != AckSubject(a.Guard) {
			err = fmt.Errorf("cannot read ack: %w: guard %q on %q", ErrMalformed, a.Guard, m.Subject)
		}
		switch {
		case err == nil:
			f(a)
		case bad != nil:
			bad(err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot collect acks: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return nil, fmt.Errorf("cannot collect acks: %w", err)
	}
	return &AckCollector{sub}, nil
}

// Close ends the collection.
func (c *AckCollector) Close() error { return c.sub.Unsubscribe() }
