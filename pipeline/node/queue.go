package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/revoke"
)

// ErrNotWaiting says that nothing of that id waits for a person.
var ErrNotWaiting = errors.New("nothing of that id waits")

// Queue returns what waits for a person, the oldest first: stops that the interlock held back, and what an operator
// has proposed that takes two.
func (c Config) Queue(ctx context.Context) ([]archive.Waiting, error) { return c.queue(ctx, "") }

// Waiting returns the stop with that id, if it waits. The error wraps ErrNotWaiting where it does not.
func (c Config) Waiting(ctx context.Context, id string) (archive.Waiting, error) {
	all, err := c.queue(ctx, id)
	if err != nil {
		return archive.Waiting{}, err
	}
	if len(all) == 0 {
		return archive.Waiting{}, fmt.Errorf("%w: %s has ended, was decided, or was never held back or proposed; see 'estop queue'", ErrNotWaiting, id)
	}
	return all[0], nil
}

func (c Config) queue(ctx context.Context, id string) ([]archive.Waiting, error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return archive.NewReader(conn).Queue(ctx, time.Now(), id)
}

// Approve sends a stop that the interlock held back, as the person's own, for as long as the detector had
// ordered, or what another operator has proposed, as it is. It waits for the guards' acknowledgements as Kill does.
func (k *Control) Approve(ctx context.Context, held revoke.Decision, why string) (Stopped, error) {
	if err := withReason(why); err != nil {
		return Stopped{}, err
	}
	if held.Verdict == revoke.Proposed {
		return k.Agree(ctx, revoke.Proposal{Order: held.Order, Approval: held.Approval}, why)
	}
	r := held.Order
	now := time.Now()
	length := r.Until.Sub(r.IssuedAt)
	r.ID, r.Initiator, r.IssuedAt, r.Until = "", "", now, now.Add(length)
	if r.Reason += "; approved: " + why; len(r.Reason) > revoke.MaxReason {
		r.Reason = strings.ToValidUTF8(r.Reason[:revoke.MaxReason], "")
	}
	s, err := k.Kill(ctx, r)
	if s.Revocation.ID == "" {
		return s, err
	}
	return s, errors.Join(err, k.decide(held, revoke.Approved, why, s.Revocation.ID))
}

// Dismiss writes down that what waits is not to be.
func (k *Control) Dismiss(held revoke.Decision, why string) error {
	if err := withReason(why); err != nil {
		return err
	}
	return k.decide(held, revoke.Dismissed, why, "")
}

func (k *Control) decide(on revoke.Decision, verdict revoke.Verdict, why, revocation string) error {
	at := time.Now()
	if !at.After(on.At) { // the detector's clock is ahead of ours, and the last word counts
		at = on.At.Add(1)
	}
	return k.record(revoke.Decision{Verdict: verdict, At: at, Why: why, Order: on.Order, Revocation: revocation})
}

// record writes a decision of this operator down.
func (k *Control) record(d revoke.Decision) error {
	if d.By = k.by; d.At.IsZero() {
		d.At = time.Now()
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepWait)
	defer cancel()
	if err := k.kafka.ProduceSync(ctx, pipeline.DecisionRecord(d)).FirstErr(); err != nil {
		return fmt.Errorf("Kafka did not keep that it was %s: %w", d.Verdict, err)
	}
	return nil
}
