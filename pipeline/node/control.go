package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os/user"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

// Control is how a person kills and releases. Each act is written to Kafka beside the
// automatic ones.
type Control struct {
	client *revoke.Client
	nats   *nats.Conn
	kafka  *kgo.Client
	any    bool // the number of guards is not known
}

// NewControl connects for the person that runs this process. Guards is how many guards must
// acknowledge; 0 means that as many as answer in time are counted.
func NewControl(ctx context.Context, c Config, guards int, log *slog.Logger) (*Control, error) {
	signer, err := c.Signer()
	if err != nil {
		return nil, err
	}
	k := &Control{any: guards == 0}
	if k.nats, err = c.ConnectNATS("control", log); err != nil {
		return nil, err
	}
	expect := guards
	if k.any {
		expect = math.MaxInt32
	}
	if k.client, err = revoke.NewClient(ctx, k.nats, revoke.ClientOptions{Signer: signer, By: person(), Expect: expect, Replicas: c.NATS.Replicas}); err != nil {
		k.Close()
		return nil, err
	}
	opts, err := c.KafkaOptions(log)
	if err == nil {
		k.kafka, err = kgo.NewClient(append(pipeline.ProducerOptions(), opts...)...)
	}
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	return k, nil
}

// Close ends the connections.
func (k *Control) Close() {
	if k.client != nil {
		k.client.Close()
	}
	if k.nats != nil {
		k.nats.Close()
	}
	if k.kafka != nil {
		k.kafka.Close()
	}
}

// Stopped is what came of a kill or a release.
type Stopped struct {
	Revocation revoke.Revocation `json:"revocation"`
	Token      string            `json:"token"` // the revocation as it was signed and published
	Acks       []revoke.Ack      `json:"acks"`
}

// ErrNoGuard says that a revocation is published and kept, and that no guard has
// acknowledged it: nobody may say that anything was stopped.
var ErrNoGuard = errors.New("published, but no guard acknowledged: nothing is known to be stopped")

// Kill stops r's scope and waits for the guards' acknowledgements until ctx ends.
func (k *Control) Kill(ctx context.Context, r revoke.Revocation) (Stopped, error) {
	record, err := k.client.Record(r)
	if err != nil {
		return Stopped{}, err
	}
	acks, err := k.client.Send(ctx, record)
	return k.done(record, acks, err)
}

// Release ends what is active on a target and shields it from detectors for a time.
func (k *Control) Release(ctx context.Context, tenant string, scope revoke.Scope, subject, reason string, shield time.Duration) (Stopped, error) {
	record, err := k.client.ReleaseRecord(ctx, tenant, scope, subject, reason, shield)
	if err != nil {
		return Stopped{}, err
	}
	acks, err := k.client.Send(ctx, record)
	return k.done(record, acks, err)
}

// keepWait is how long Kafka may take to keep what a person did.
const keepWait = 5 * time.Second

// done writes the act down and decides what may be said of it.
func (k *Control) done(record revoke.Record, acks []revoke.Ack, err error) (Stopped, error) {
	s := Stopped{record.Revocation, record.SET, append([]revoke.Ack{}, acks...)}
	if err != nil && !errors.Is(err, revoke.ErrUnconfirmed) {
		return s, err
	}
	if k.any {
		if err = nil; len(acks) == 0 {
			err = ErrNoGuard
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepWait)
	defer cancel()
	if kept := k.kafka.ProduceSync(ctx, pipeline.RevocationRecord(record)).FirstErr(); kept != nil {
		err = errors.Join(err, fmt.Errorf("the revocation is published, but Kafka did not keep it: %w", kept))
	}
	return s, err
}

func person() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}
