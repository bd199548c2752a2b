package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

const (
	// relayEvery is how often a guard that has nothing new to say is written down.
	relayEvery = time.Minute
	// guardsTick is how often deadlines are looked at.
	guardsTick = 50 * time.Millisecond
	// maxHeard bounds what waits to be looked at.
	maxHeard = 1 << 16
	// maxNamed is how many guards a record or a line of the log names.
	maxNamed = 50
)

// AcksOptions say what the acks role works with.
type AcksOptions struct {
	NATS     *nats.Conn // of the detector's account
	Kafka    []kgo.Opt
	Producer *kgo.Client
	// Verifier checks what is watched. Without keys no revocation is.
	Verifier revoke.Verifier
	// Keys brings other ones as they change; nil: they do not.
	Keys <-chan revoke.Verifier
	// Deadline is how long all known guards may take to acknowledge. 0: nothing is watched.
	Deadline   time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// RunAcks is the acks role: it writes down what guards acknowledge, keeps the register of guards, and raises
// what not all of them acknowledge in time, until ctx ends.
func RunAcks(ctx context.Context, o AcksOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return RelayAcks(ctx, o.NATS, o.Producer, o.Log) })
	group.Go(func() error { return keepGuards(ctx, o) })
	return group.Wait()
}

// keepGuards keeps the register of guards, answers who is in it, and raises what not all of them
// acknowledge in time, until ctx ends. Several processes that do so share the work: each knows all
// guards, and one of them raises.
func keepGuards(ctx context.Context, o AcksOptions) error {
	k := &guardKeeper{
		AcksOptions: o, register: coverage.NewRegister(), heard: make(chan *nats.Msg, maxHeard),
		metrics: newGuardMetrics(o.Registerer), written: make(map[string]time.Time), take: make(map[*nats.Subscription]func(*nats.Msg, time.Time)),
	}
	k.watch = coverage.NewWatch(k.register, o.Deadline)
	// Subscribe first, so that nothing falls between what is read and what comes.
	defer k.unsubscribe()
	if err := k.subscribe(); err != nil {
		return fmt.Errorf("cannot keep the register of guards: %w", err)
	}
	if err := k.load(ctx); err != nil {
		return err
	}
	if err := k.serve(); err != nil {
		return fmt.Errorf("cannot keep the register of guards: %w", err)
	}
	tick := time.NewTicker(guardsTick)
	defer tick.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), acksWait)
			defer cancel()
			return k.Producer.Flush(flush)
		case m := <-k.heard:
			k.take[m.Sub](m, time.Now())
		case v := <-k.Keys:
			k.Verifier = v
			if err := k.follow(); err != nil {
				return fmt.Errorf("cannot watch whether guards confirm: %w", err)
			}
		case <-tick.C:
			now := time.Now()
			for _, due := range k.watch.Due(now) {
				k.raise(due, now)
			}
			if now.Sub(swept) > time.Second {
				k.register.Sweep(now)
				maps.DeleteFunc(k.written, func(guard string, _ time.Time) bool { return !k.register.Has(guard) })
				k.metrics.count(k.register.List("", now))
				swept = now
			}
		}
	}
}

// guardKeeper is one keepGuards. All is done by one goroutine.
type guardKeeper struct {
	AcksOptions
	register *coverage.Register
	watch    *coverage.Watch
	metrics  *guardMetrics
	heard    chan *nats.Msg
	take     map[*nats.Subscription]func(*nats.Msg, time.Time)
	written  map[string]time.Time // by guard: when it was written down last
	follows  bool                 // it watches revocations
}

func (k *guardKeeper) subscribe() error {
	return errors.Join(k.hear(revoke.GuardPrefix+".>", k.hearReport), k.follow(), k.NATS.Flush())
}

// follow begins to watch revocations, once there are keys to believe them by.
func (k *guardKeeper) follow() error {
	if k.follows || k.Deadline == 0 || len(k.Verifier.Keys) == 0 {
		return nil
	}
	k.follows = true
	return errors.Join(k.hear(revoke.RevokePrefix+".>", k.hearRevocation),
		k.listen(revoke.AckPrefix+".>", "", k.hearAck), k.listen(coverage.RaisedPrefix+".>", "", k.hearRaised), k.NATS.Flush())
}

// hear takes each message, and again if it is this process's turn.
func (k *guardKeeper) hear(subject string, f func(m *nats.Msg, mine bool, now time.Time)) error {
	return errors.Join(k.listen(subject, "", func(m *nats.Msg, now time.Time) { f(m, false, now) }),
		k.listen(subject, ackGroup, func(m *nats.Msg, now time.Time) { f(m, true, now) }))
}

func (k *guardKeeper) listen(subject, group string, f func(*nats.Msg, time.Time)) error {
	sub, err := k.NATS.ChanQueueSubscribe(subject, group, k.heard)
	if err == nil {
		k.take[sub] = f
	}
	return err
}

// serve lets others ask, now that there is something to answer.
func (k *guardKeeper) serve() error {
	sub, err := k.NATS.ChanQueueSubscribe(coverage.AskSubject, ackGroup, k.heard)
	if err != nil {
		return err
	}
	k.take[sub] = func(m *nats.Msg, now time.Time) {
		if err := coverage.Answer(k.register, m, now); err != nil {
			k.Log.Warn("cannot answer which guards there are", "err", err)
		}
	}
	return k.NATS.Flush()
}

func (k *guardKeeper) unsubscribe() {
	for sub := range k.take {
		_ = sub.Unsubscribe() // it fails only where the connection is closed already
	}
}

// load reads the register that was written down.
func (k *guardKeeper) load(ctx context.Context) error {
	now := time.Now()
	return eachRecord(ctx, k.Kafka, TopicGuards, time.Time{}, func(r *kgo.Record) error {
		var report revoke.Report
		err := json.Unmarshal(r.Value, &report)
		if err == nil {
			err = k.register.Load(report, now)
		}
		if err != nil { // the guard will report again
			k.refuse("a record of a guard", err)
		}
		return nil
	})
}

// hearReport takes the report of a guard. Every process takes it in; one writes it down.
func (k *guardKeeper) hearReport(m *nats.Msg, mine bool, now time.Time) {
	report, err := revoke.ParseReport(m.Data)
	if err == nil && m.Subject != revoke.GuardSubject(report.Guard) {
		err = fmt.Errorf("guard %q on %q", report.Guard, m.Subject)
	}
	if err != nil {
		k.refuse("the report of a guard", err)
		return
	}
	changed, err := k.register.Hear(report, now)
	if err != nil {
		k.refuse("the report of a guard", err)
		return
	}
	if changed {
		k.written[report.Guard] = time.Time{} // to be written down by whose turn it is
		k.Log.Info("guard", "guard", report.Guard, "says", report.Kind, "synced", report.Synced, "stale", report.Stale)
		if report.Kind == revoke.Bye {
			for _, o := range k.watch.Closed(report.Guard, now) {
				k.confirmed(o)
			}
		}
	}
	if mine && now.Sub(k.written[report.Guard]) >= relayEvery {
		report.Seen = now
		k.written[report.Guard] = now
		k.produce(jsonRecord(TopicGuards, report.Guard, &report), "the report of a guard")
	}
}

func (k *guardKeeper) hearRevocation(m *nats.Msg, mine bool, now time.Time) {
	r, err := k.Verifier.Genuine(m.Data)
	if errors.Is(err, revoke.ErrUnknownKind) {
		err = nil
	}
	if err == nil && m.Subject != revoke.Subject(r) {
		err = fmt.Errorf("revocation %q on %q", r.ID, m.Subject)
	}
	if err != nil {
		k.refuse("a revocation", err)
		return
	}
	if o, ok := k.watch.Heard(r, m, mine, now); ok {
		k.confirmed(o)
	}
}

func (k *guardKeeper) hearAck(m *nats.Msg, now time.Time) {
	a, err := revoke.ParseAck(m.Data)
	if err != nil || m.Subject != revoke.AckSubject(a.Guard) {
		return // whoever writes acknowledgements down says so
	}
	if o, ok := k.watch.Acked(a, now); ok {
		k.confirmed(o)
	}
}

func (k *guardKeeper) hearRaised(m *nats.Msg, _ time.Time) {
	if id, ok := revoke.TokenName(strings.TrimPrefix(m.Subject, coverage.RaisedPrefix+".")); ok {
		k.watch.Raised(id)
	}
}

func (k *guardKeeper) confirmed(o coverage.Outcome) {
	switch {
	case o.Late:
		k.Log.Info("confirmed after all", "revocation", o.Revocation.ID, "guards", o.Expected, "took", o.Took)
		k.metrics.late.Inc()
	case !o.Mine:
	case o.Expected == 0:
		k.metrics.unguarded.Inc()
	default:
		k.metrics.confirmed.Inc()
		k.metrics.seconds.Observe(o.Took.Seconds())
	}
}

// raise publishes once more what is not confirmed, and lets people know.
func (k *guardKeeper) raise(o coverage.Outcome, now time.Time) {
	r := o.Revocation
	// The others first: one is enough to raise it.
	err := k.NATS.Publish(coverage.RaisedPrefix+"."+revoke.Token(r.ID), nil)
	again := nats.NewMsg(o.Message.Subject)
	again.Data, again.Header = o.Message.Data, o.Message.Header
	if err = errors.Join(err, k.NATS.PublishMsg(again)); err != nil {
		k.Log.Error("cannot publish again what is not confirmed", "revocation", r.ID, "err", err)
	}
	missing := named(o.Missing)
	k.Log.Error("a revocation is not confirmed by all guards", "revocation", r.ID, "action", r.Action, "tenant", r.Tenant, "scope", r.Scope,
		"subject", r.Subject, "missing", missing, "guards", o.Expected, "after", o.Took)
	k.metrics.unconfirmed.Inc()
	k.produce(DecisionRecord(revoke.Decision{
		Verdict: revoke.Unconfirmed, At: now, Order: r, Revocation: r.ID,
		Why: fmt.Sprintf("%d of %d guards did not acknowledge within %v: %s", len(o.Missing), o.Expected, k.Deadline, missing),
	}), "that a revocation is not confirmed")
}

func named(guards []string) string {
	if more := len(guards) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(guards[:maxNamed], ", "), more)
	}
	return strings.Join(guards, ", ")
}

func (k *guardKeeper) produce(r *kgo.Record, what string) {
	k.Producer.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			k.Log.Error("cannot keep "+what, "err", err)
		}
	})
}

// refuse counts what cannot be believed. The log gets the 1st, 2nd, 4th, 8th … of all.
func (k *guardKeeper) refuse(what string, err error) {
	k.metrics.refusedSoFar++
	k.metrics.refused.Inc()
	if n := k.metrics.refusedSoFar; n&(n-1) == 0 {
		k.Log.Warn("refused "+what, "count", n, "err", err)
	}
}
