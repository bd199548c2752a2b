package notify

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/revoke"
)

// Sample makes an event that tells a sink's people what such events look like, and that it is a test. A receiver of
// security event tokens acts on what it gets, so it gets a verification and nothing else.
func (s *Sink) Sample(kind Kind, now time.Time) (*Event, error) {
	if _, ok := s.form.(*caep); ok {
		if kind != "" && kind != Verification {
			return nil, fmt.Errorf("sink %q would act on a %s: it can be sent a verification alone", s.Name, kind)
		}
		return verification(now), nil
	}
	id := "test-" + rand.Text()
	e := &Event{ID: eventID(kind, id), Kind: kind, Tenant: "example", Time: now}
	order := revoke.Revocation{
		ID: id, Tenant: "example", Scope: revoke.Agent, Subject: "test-bot", Action: revoke.Revoke, IssuedAt: now,
		Until: now.Add(time.Minute), Detector: "test", Reason: "a test of this sink: nobody is stopped", Initiator: revoke.Policy,
	}
	switch kind {
	case "", Detection:
		e.ID, e.Kind = eventID(Detection, id), Detection
		e.Detection = &detector.Detection{
			ID: id, Time: now, Detector: "test", Mode: "alert", Severity: "low", Tenant: "example", EntityBy: "agent",
			Entity: "test-bot", Agent: "test-bot", Action: "test", Reason: "a test of this sink: nobody did anything",
		}
	case Revocation:
		e.Revocation = &order
	case Release:
		order.Action, order.Releases = revoke.Release, id
		e.Revocation = &order
	case Decision:
		e.Decision = &revoke.Decision{Verdict: revoke.Held, At: now, Why: "a test of this sink: nothing waits", Order: order}
	default:
		return nil, errors.New("a sample is a detection, a revocation, a release or a decision")
	}
	return e, nil
}
