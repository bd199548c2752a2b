package node

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/revoke"
)

const (
	// onSchedule marks drills that nobody began by hand.
	onSchedule = "auto-"
	// drillCount is how many revocations each tenant gets in such a drill, and drillWait how long each may take.
	drillCount = 5
	drillWait  = 5 * time.Second
	// firstDrill is when the first one is due at the latest.
	firstDrill = time.Minute
)

type drillMetrics struct {
	seconds, detect          prometheus.Histogram
	coverage, last, interval prometheus.Gauge
	held, failed             prometheus.Counter
}

func newDrillMetrics(reg prometheus.Registerer) *drillMetrics {
	f := promauto.With(reg)
	seconds := func(name, help string) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "estop", Subsystem: "drill", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "drill", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "estop", Subsystem: "drill", Name: name, Help: help})
	}
	m := &drillMetrics{
		seconds:  seconds("seconds", "In drills on a schedule: time from the append of a marked call to a guard's acknowledgement."),
		detect:   seconds("detect_seconds", "In drills on a schedule: time from the append of a marked call to the revocation."),
		coverage: gauge("coverage", "In the last drill on a schedule, if this process held it: share of acknowledgements that came. NaN: another one held it, there was none, or no guard is known."),
		last:     gauge("last_timestamp_seconds", "When this process last heard of a drill on a schedule, its own or another's; before the first one, when it started."),
		interval: gauge("interval_seconds", "How often drills are due (revoke.drill); 0: there are none on a schedule."),
		held:     counter("held_total", "Drills on a schedule that this process held."),
		failed:   counter("failed_total", "Drills on a schedule that could not be held, or that the detect role did not answer."),
	}
	m.coverage.Set(math.NaN())
	m.last.SetToCurrentTime()
	return m
}

// startDrills holds a drill now and then beside the detect role, which has the signing key, until stop is called. Of
// several processes one holds it: the others hear it, and begin to wait anew.
func (n *running) startDrills(ctx context.Context, signer revoke.Signer) (stop func(), err error) {
	metrics := newDrillMetrics(n.registry)
	metrics.interval.Set(n.Revoke.Drill.Seconds())
	if n.Revoke.Drill == 0 {
		return func() {}, nil
	}
	verifier, err := n.guardsVerifier(signer)
	if err != nil {
		return nil, err
	}
	client, err := revoke.NewClient(ctx, n.nats, revoke.ClientOptions{Signer: signer, Verifier: verifier, Replicas: n.NATS.Replicas})
	if err != nil {
		return nil, err
	}
	held, kind := make(chan struct{}, 1), onSchedule+rand.Text()+"-"
	sub, err := n.nats.Subscribe(drilledSubjects, func(m *nats.Msg) {
		session := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		if strings.HasPrefix(session, revoke.DrillPrefix+onSchedule) && !strings.HasPrefix(session, revoke.DrillPrefix+kind) {
			select {
			case held <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.drills(ctx, &Control{client: client, nats: n.nats, kafka: n.producer, by: publisherName(), log: n.log, any: true}, metrics, kind, held)
	}()
	return func() {
		cancel()
		<-done
		_ = sub.Unsubscribe() // it fails only where the connection is closed already
		client.Close()
	}, nil
}

func (n *running) drills(ctx context.Context, k *Control, m *drillMetrics, kind string, held <-chan struct{}) {
	every := n.Revoke.Drill
	// At random, so that of several processes one is first.
	spread := func(d time.Duration) time.Duration { return d + mathrand.N(every/10+1) }
	t := time.NewTimer(spread(min(every, firstDrill)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-held:
			m.coverage.Set(math.NaN()) // it is another's
			m.last.SetToCurrentTime()
		case <-t.C:
			n.drill(ctx, k, m, kind)
		}
		t.Reset(spread(every))
	}
}

func (n *running) drill(ctx context.Context, k *Control, m *drillMetrics, kind string) {
	d, err := k.Drill(ctx, DrillOptions{Count: drillCount, Wait: drillWait, Calls: true, kind: kind}, nil)
	if ctx.Err() != nil {
		return
	}
	m.take(d, err)
	if err != nil {
		n.log.Error("drill", "err", err, "confirmed", d.Confirmed, "expected", d.Expected)
		return
	}
	n.log.Info("drill", "guards", len(d.Guards), "p50", d.P50, "p99", d.P99, "worst", d.Worst)
}

// take takes in what came of a drill.
func (m *drillMetrics) take(d Drill, err error) {
	m.held.Inc()
	for _, took := range d.took {
		m.detect.Observe(took.Seconds())
	}
	for _, g := range d.Guards {
		for _, took := range g.took {
			m.seconds.Observe(took.Seconds())
		}
	}
	switch {
	case err == nil:
		m.coverage.Set(d.Coverage)
	case errors.Is(err, ErrNotJudged):
		m.coverage.Set(d.Coverage)
		m.failed.Inc()
		return
	case errors.Is(err, revoke.ErrUnconfirmed):
		m.coverage.Set(d.Coverage)
	case errors.Is(err, ErrNoGuard):
		m.coverage.Set(math.NaN())
	default:
		m.failed.Inc()
		return
	}
	m.last.SetToCurrentTime()
}
