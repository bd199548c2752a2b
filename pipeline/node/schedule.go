package node

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
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
	seconds  prometheus.Histogram
	coverage prometheus.Gauge
	failed   prometheus.Counter
}

func newDrillMetrics(reg prometheus.Registerer) *drillMetrics {
	f := promauto.With(reg)
	m := &drillMetrics{
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "estop", Subsystem: "drill", Name: "seconds",
			Help:    "In drills on a schedule: time from a revocation to a guard's acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		coverage: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "estop", Subsystem: "drill", Name: "coverage",
			Help: "In the last drill on a schedule: share of acknowledgements that came. NaN: there was none, or no guard is known.",
		}),
		failed: f.NewCounter(prometheus.CounterOpts{
			Namespace: "estop", Subsystem: "drill", Name: "failed_total", Help: "Drills on a schedule that could not be held.",
		}),
	}
	m.coverage.Set(math.NaN())
	return m
}

// startDrills holds a drill now and then beside the detect role, which has the signing key, until stop is called. Of
// several processes one holds it: the others hear it, and begin to wait anew.
func (n *running) startDrills(ctx context.Context, signer revoke.Signer) (stop func(), err error) {
	metrics := newDrillMetrics(n.registry)
	if n.Revoke.Drill == 0 {
		return func() {}, nil
	}
	client, err := revoke.NewClient(ctx, n.nats, revoke.ClientOptions{Signer: signer, By: publisherName(), Replicas: n.NATS.Replicas})
	if err != nil {
		return nil, err
	}
	held := make(chan struct{}, 1)
	sub, err := n.nats.Subscribe(revoke.RevokePrefix+".*."+string(revoke.Session)+".*", func(m *nats.Msg) {
		if at := strings.LastIndexByte(m.Subject, '.'); strings.HasPrefix(m.Subject[at+1:], revoke.DrillPrefix+onSchedule) {
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
		n.drills(ctx, &Control{client: client, nats: n.nats, kafka: n.producer, any: true}, metrics, held)
	}()
	return func() {
		cancel()
		<-done
		_ = sub.Unsubscribe() // it fails only where the connection is closed already
		client.Close()
	}, nil
}

func (n *running) drills(ctx context.Context, k *Control, m *drillMetrics, held <-chan struct{}) {
	every := n.Revoke.Drill
	// At random, so that of several processes one is first.
	spread := func(d time.Duration) time.Duration { return d + rand.N(every/10+1) }
	t := time.NewTimer(spread(min(every, firstDrill)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-held:
		case <-t.C:
			n.drill(ctx, k, m)
		}
		t.Reset(spread(every))
	}
}

func (n *running) drill(ctx context.Context, k *Control, m *drillMetrics) {
	d, err := k.Drill(ctx, DrillOptions{Count: drillCount, Wait: drillWait, kind: onSchedule}, nil)
	if ctx.Err() != nil {
		return
	}
	for _, g := range d.Guards {
		for _, took := range g.took {
			m.seconds.Observe(took.Seconds())
		}
	}
	switch {
	case err == nil, errors.Is(err, revoke.ErrUnconfirmed):
		m.coverage.Set(d.Coverage)
	case errors.Is(err, ErrNoGuard):
		m.coverage.Set(math.NaN())
	default:
		m.failed.Inc()
	}
	if err != nil {
		n.log.Error("drill", "err", err, "confirmed", d.Confirmed, "expected", d.Expected)
		return
	}
	n.log.Info("drill", "guards", len(d.Guards), "p50", d.P50, "p99", d.P99, "worst", d.Worst)
}
