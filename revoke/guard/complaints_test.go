package guard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestComplaint01TheNextCallAndTheOneInFlightFail(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	bystander, other, _ := g.Begin(context.Background(), call("acme", "other"))
	defer other.End()
	ctx, inflight, d := g.Begin(context.Background(), call("acme", "bot"))
	defer inflight.End()
	if d.Verdict != guard.Allow || ctx.Err() != nil {
		t.Fatalf("before the kill: %v, %v", d, ctx.Err())
	}

	acks := r.kill("acme", "bot")

	// The acknowledgement comes after the stop: no waiting here.
	if len(acks) != 1 || acks[0].Guard != "g1" || acks[0].Cancelled != 1 || acks[0].Latency <= 0 {
		t.Errorf("acks = %+v", acks)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	var revoked *guard.Revoked
	if !errors.As(context.Cause(ctx), &revoked) || revoked.Revocation.ID != acks[0].Revocation {
		t.Errorf("cause of the call in flight = %v", context.Cause(ctx))
	}
	if bystander.Err() != nil {
		t.Errorf("another agent's call was cancelled: %v", context.Cause(bystander))
	}
	wantVerdict(t, g, call("acme", "other"), guard.Allow)
}

func TestComplaint01WithoutAnAckNothingCountsAsStopped(t *testing.T) {
	r := newRig(t, 2)
	r.guard("g1")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	acks, err := r.client.Kill(ctx, target("acme", "bot"))
	if !errors.Is(err, revoke.ErrUnconfirmed) {
		t.Errorf("two guards expected, one there: error %v, want ErrUnconfirmed", err)
	}
	if len(acks) != 1 {
		t.Errorf("acks = %+v, want the one of g1", acks)
	}
}
