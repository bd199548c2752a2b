package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

// Control is how a person kills and releases. Each act is written to Kafka beside the
// automatic ones.
type Control struct {
	client *revoke.Client
	nats   *nats.Conn
	kafka  *kgo.Client
	by     string
	log    *slog.Logger
	any    bool // nobody has said how many guards must acknowledge
}

// NewControl connects for the person that runs this process. Guards is how many guards must
// acknowledge; 0 means all that the register knows to serve the tenant.
func NewControl(ctx context.Context, c Config, guards int, log *slog.Logger) (*Control, error) {
	signer, err := c.OperatorSigner(log)
	if err != nil {
		return nil, err
	}
	verifier, err := c.guardsVerifier(signer)
	if err != nil {
		return nil, err
	}
	k := &Control{any: guards == 0, by: person(), log: log}
	if signer.Name != "" {
		k.by = signer.Name
	}
	if k.nats, err = c.ConnectNATS("control", log); err != nil {
		return nil, err
	}
	if k.client, err = revoke.NewClient(ctx, k.nats, revoke.ClientOptions{Signer: signer, Verifier: verifier, By: k.by, Expect: guards, Replicas: c.NATS.Replicas}); err != nil {
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
	// Known are the guards that were to acknowledge, where the register was asked; Missing are those that
	// did not.
	Known   []string `json:"known,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Warning says what is not known.
	Warning string `json:"warning,omitempty"`
}

// ErrNoGuard says that a revocation is published and kept, and that no guard has
// acknowledged it: nobody may say that anything was stopped.
var ErrNoGuard = errors.New("published, but no guard acknowledged: nothing is known to be stopped")

// ErrNoReason says that a person did not say why.
var ErrNoReason = errors.New("nothing is done without a reason: say why")

// withReason refuses what a person does without one.
func withReason(why string) error {
	if strings.TrimSpace(why) == "" {
		return ErrNoReason
	}
	return nil
}

// Kill stops r's scope and waits for the guards' acknowledgements until ctx ends.
func (k *Control) Kill(ctx context.Context, r revoke.Revocation) (Stopped, error) {
	if err := withReason(r.Reason); err != nil {
		return Stopped{}, err
	}
	record, err := k.client.Record(r)
	if err != nil {
		return Stopped{}, err
	}
	return k.send(ctx, record)
}

// Release ends what is active on a target and shields it from detectors for a time.
func (k *Control) Release(ctx context.Context, tenant string, scope revoke.Scope, subject, reason string, shield time.Duration) (Stopped, error) {
	if err := withReason(reason); err != nil {
		return Stopped{}, err
	}
	record, err := k.client.ReleaseRecord(ctx, tenant, scope, subject, reason, shield)
	if err != nil {
		return Stopped{}, err
	}
	return k.send(ctx, record)
}

// keepWait is how long Kafka may take to keep what a person did.
const keepWait = 5 * time.Second

// send publishes a record, waits for those who must acknowledge, and writes the act down.
func (k *Control) send(ctx context.Context, record revoke.Record) (Stopped, error) {
	s := Stopped{Revocation: record.Revocation, Token: record.SET}
	var err error
	if !k.any {
		s.Acks, err = k.client.Send(ctx, record)
	} else {
		s.Acks, err = k.client.SendTo(ctx, record, func(ctx context.Context) []string {
			var unknown error
			if s.Known, unknown = k.known(ctx, coverage.Concerned(record.Revocation)); unknown != nil {
				s.Warning = unknown.Error()
			}
			return s.Known
		})
	}
	s.Acks = append([]revoke.Ack{}, s.Acks...)
	if err != nil && !errors.Is(err, revoke.ErrUnconfirmed) {
		return s, err
	}
	s.Missing = missing(s.Known, s.Acks)
	if k.any && len(s.Known) == 0 {
		if err = nil; len(s.Acks) == 0 {
			err = ErrNoGuard
		}
	}
	return s, errors.Join(err, k.keep(record))
}

// known returns the guards of a tenant, an empty one for all, that must acknowledge.
func (k *Control) known(ctx context.Context, tenant string) ([]string, error) {
	guards, err := coverage.Ask(ctx, k.nats, tenant)
	var names []string
	for _, g := range guards {
		if g.Known() {
			names = append(names, g.Guard)
		}
	}
	return names, err
}

func missing(known []string, acks []revoke.Ack) []string {
	return slices.DeleteFunc(slices.Clone(known), func(name string) bool {
		return slices.ContainsFunc(acks, func(a revoke.Ack) bool { return a.Guard == name })
	})
}

// keep writes down what a person did.
func (k *Control) keep(record revoke.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), keepWait)
	defer cancel()
	if err := k.kafka.ProduceSync(ctx, pipeline.RevocationRecord(record)).FirstErr(); err != nil {
		return fmt.Errorf("the revocation is published, but Kafka did not keep it: %w", err)
	}
	return nil
}

func person() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}
