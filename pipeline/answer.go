package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/revoke"
)

// lateFrom is how long after its append a breaking call may be judged before its answers are marked as late. What
// detectors find in a backlog is old, and is answered all the same, unless somebody has decided since.
const lateFrom = 30 * time.Second

// lateness returns how late a call is judged that was appended at a time, in Unix nanoseconds; 0 if it is in time.
func (d *Detect) lateness(appended int64) time.Duration {
	if late := d.opt.Now().Sub(time.Unix(0, appended)); late >= lateFrom {
		return late
	}
	return 0
}

// answer sends a detection out that a call led to which was appended at a time. Where its detector enforces, the kill goes first: NATS at
// once, then the records. The next checkpoint waits until all of it is stored.
func (d *Detect) answer(ctx context.Context, w *worker, found *shard.Detected, appended int64) {
	found.Late = d.lateness(appended)
	if e, ok := w.enforcer(found); ok {
		d.kill(ctx, w, e, &found.Detection)
	}
	if d.risks != nil {
		d.risks.detected(w.plan.Detectors[found.Index], &found.Detection)
	}
	d.metrics.detections.WithLabelValues(found.Detector, found.Mode, found.Version, strconv.FormatBool(found.Canary)).Inc()
	if found.Reason == shard.ByEvidence {
		d.metrics.spent.WithLabelValues(found.Detector, strconv.FormatBool(found.Canary)).Inc()
	}
	d.log.Info("detection", "detector", found.Detector, "mode", found.Mode, "tenant", found.Tenant,
		"by", found.EntityBy, "entity", found.Entity, "agent", found.Agent, "reason", found.Reason, "call", found.CallID, "id", found.ID, "late", found.Late)
	w.tell(ctx, found.Detection)
}

// detectionRecord is a detection as it is written to Kafka. Names as long as they may be can
// make it larger than a topic takes; whoever is watched must not stop the shard with them,
// so it then goes without its chain, its samples and what the access graph says.
func detectionRecord(found detector.Detection) *kgo.Record {
	key := found.Tenant + "/" + found.Entity
	r := jsonRecord(TopicDetections, key, &found)
	if len(r.Value) > maxJSON {
		found.Chain, found.Features, found.Graph = nil, nil, nil
		r = jsonRecord(TopicDetections, key, &found)
	}
	return r
}

// enforcer returns the detector of a detection, if it may stop anybody. It asks the plan
// that the call was judged by: a newer one may number its detectors otherwise.
func (w *worker) enforcer(found *shard.Detected) (detector.Enforcer, bool) {
	return w.plan.EnforcerOf(found.Index, &found.Detection)
}

// kill revokes what the enforcer's response names. It takes a detector.Enforcer, which only
// a detector in mode enforce compiles to: no other detector can come here.
func (d *Detect) kill(ctx context.Context, w *worker, e detector.Enforcer, found *detector.Detection) {
	r := order(e, found, d.opt.Now())
	if p, ok := d.opt.Interlock.Protects(found.Tenant, concerned(r.Scope, found)...); ok {
		d.holdBack(ctx, w, r, fmt.Errorf("%w: the stop concerns an agent that %q protects", revoke.ErrHeldBack, p))
		return
	}
	switch err := d.stop(ctx, w, r); {
	case err == nil:
		found.Revocation = r.ID
		d.metrics.revocations.WithLabelValues(string(r.Action), string(r.Scope)).Inc()
		if r.Late > 0 {
			d.metrics.revokedLate.Inc()
		}
	case needless(err):
		// Something stronger is in force, or a person released the target and shields it.
		d.metrics.needless.Inc()
		d.log.Info("no revocation for a detection", "detection", found.ID, "why", err)
	case errors.Is(err, revoke.ErrHeldBack):
		d.holdBack(ctx, w, r, err)
	default:
		d.metrics.refused.Inc()
		d.log.Error("cannot sign a revocation; the agent goes on", "detection", found.ID, "err", err)
	}
}

// stop signs and publishes r and writes it down. What NATS does not take yet is published again until it does; an error
// means that r is not to be.
func (d *Detect) stop(ctx context.Context, w *worker, r revoke.Revocation) error {
	record, err := d.opt.Signer.Record(r)
	if err != nil {
		return err
	}
	stored, err := d.opt.Publisher.Publish(ctx, record)
	if needless(err) || errors.Is(err, revoke.ErrHeldBack) {
		return err
	}
	out := w.outputs
	out.wg.Add(1)
	go func() {
		defer out.wg.Done()
		d.untilStored(ctx, record, stored, err)
	}()
	w.send(ctx, RevocationRecord(record))
	return nil
}

// needless reports whether err says that there is nothing to stop any more.
func needless(err error) bool {
	return errors.Is(err, revoke.ErrOutranked) || errors.Is(err, revoke.ErrShielded)
}

// concerned are the agents that a stop is known to concern: a session and a chain are those of all members.
func concerned(scope revoke.Scope, found *detector.Detection) []string {
	if scope == revoke.Session || scope == revoke.Chain {
		return append(slices.Clone(found.Chain), found.Agent)
	}
	return []string{found.Agent}
}

// holdBack writes down that a detector did not stop somebody because of the interlock. The detection stays
// an alert, and a person decides.
func (d *Detect) holdBack(ctx context.Context, w *worker, r revoke.Revocation, why error) {
	d.heldBack(r, why)
	w.send(ctx, heldRecord(r, why))
}

func (d *Detect) heldBack(r revoke.Revocation, why error) {
	d.metrics.heldBack.Inc()
	d.log.Warn("a revocation waits for a person: estop queue", "detection", r.Detection, "detector", r.Detector, "tenant", r.Tenant,
		"scope", r.Scope, "subject", r.Subject, "why", why)
}

func heldRecord(r revoke.Revocation, why error) *kgo.Record {
	return DecisionRecord(revoke.Decision{Verdict: revoke.Held, At: r.IssuedAt, Why: why.Error() + lateText(r.Late), Order: r})
}

// DecisionRecord is a decision about a revocation as it is written to Kafka.
func DecisionRecord(d revoke.Decision) *kgo.Record {
	return jsonRecord(TopicDecisions, targetKey(d.Order), &d)
}

// untilStored publishes a revocation again until the stream has stored it, for guards that
// join late. The same record twice is one record. What failed was given back to the interlock, which may
// have no room for it by now: then it is for a person.
func (d *Detect) untilStored(ctx context.Context, record revoke.Record, stored *revoke.Stored, err error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		if err == nil {
			err = stored.Wait(ctx)
		}
		switch {
		case err == nil || errors.Is(err, revoke.ErrExpired) || needless(err) || ctx.Err() != nil:
			return
		case errors.Is(err, revoke.ErrHeldBack):
			d.heldBack(record.Revocation, err)
			if err := d.producer.ProduceSync(d.sending, heldRecord(record.Revocation, err)).FirstErr(); err != nil {
				d.log.Error("cannot keep that a revocation waits for a person", "revocation", record.ID, "err", err)
			}
			return
		}
		d.log.Warn("a revocation is not stored yet", "revocation", record.ID, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		stored, err = d.opt.Publisher.Publish(ctx, record)
	}
}

// RevocationRecord is a revocation as it is written to Kafka.
func RevocationRecord(r revoke.Record) *kgo.Record {
	return jsonRecord(TopicRevocations, targetKey(r.Revocation), &r)
}

func targetKey(r revoke.Revocation) string { return r.Tenant + "/" + string(r.Scope) + "/" + r.Subject }

var actions = map[detector.Action]revoke.Action{
	detector.Throttle: revoke.Throttle,
	detector.Restrict: revoke.Restrict,
	detector.Revoke:   revoke.Revoke,
}

// order is the revocation that an enforcer answers a detection with. Its id is the
// detection's, which is a hash of the place in the log, so a replay orders the same again.
func order(e detector.Enforcer, found *detector.Detection, now time.Time) revoke.Revocation {
	response := e.Response()
	scope, subject := target(response.Scope, found)
	return revoke.Revocation{
		ID:        found.ID,
		Tenant:    found.Tenant,
		Scope:     scope,
		Subject:   subject,
		Action:    actions[response.Action],
		IssuedAt:  now,
		Until:     now.Add(response.For),
		Detector:  found.Detector,
		Detection: found.ID,
		Reason:    reason(found),
		Initiator: "policy",
		Late:      found.Late,
	}
}

// reason returns why somebody is stopped. A hard limit can be longer than a revocation may
// say; the detection has all of it.
func reason(found *detector.Detection) string {
	text, late := found.Detector+": "+found.Reason, lateText(found.Late)
	if most := revoke.MaxReason - len(late); len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text + late
}

// lateText says how late something is, and nothing if it is in time.
func lateText(late time.Duration) string {
	if late == 0 {
		return ""
	}
	return fmt.Sprintf(" (late: %v after the call)", late.Round(time.Second))
}

// target returns what a response stops. Empty never means all: where the call has no
// subject of the wanted scope, the agent alone is stopped.
func target(scope detector.Scope, found *detector.Detection) (revoke.Scope, string) {
	switch {
	case scope == detector.ScopeIdentity && found.Identity != "":
		return revoke.Identity, found.Identity
	case scope == detector.ScopeSession && found.Session != "":
		return revoke.Session, found.Session
	case scope == detector.ScopeChain && len(found.Chain) > 0:
		return revoke.Chain, found.Chain[0]
	case scope == detector.ScopeTenant:
		return revoke.Tenant, found.Tenant
	}
	return revoke.Agent, found.Agent
}
