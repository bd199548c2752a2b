package node

import (
	"context"
	"errors"
	"io/fs"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

// acks runs the acks role. It takes other keys live, as guards do.
func (n *running) acks(ctx context.Context) error {
	verifier, err := revoke.LoadVerifier(n.VerifierPath())
	if errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("no public keys: nobody watches whether guards confirm; 'estop keys' has them", "file", n.VerifierPath())
	} else if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	keys := make(chan revoke.Verifier)
	go n.watchPublicKeys(ctx, verifier, func(v revoke.Verifier) error {
		select {
		case keys <- v:
		case <-ctx.Done():
		}
		return nil
	})
	return pipeline.RunAcks(ctx, pipeline.AcksOptions{
		NATS: n.nats, Kafka: n.kafka, Producer: n.producer, Verifier: verifier, Keys: keys, Deadline: n.Revoke.Deadline,
		Log: n.log.With("role", "acks"), Registerer: n.registry,
	})
}
