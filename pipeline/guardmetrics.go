package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/revoke/coverage"
)

// guardMetrics say how far guards confirm.
type guardMetrics struct {
	confirmed, unconfirmed, late, unguarded, refused prometheus.Counter
	seconds                                          prometheus.Histogram
	guards                                           *prometheus.GaugeVec
	refusedSoFar                                     uint64
}

// AcksMetrics registers what the acks role counts, so that pages and alerts can be held against it.
func AcksMetrics(reg prometheus.Registerer) { newGuardMetrics(reg) }

func newGuardMetrics(reg prometheus.Registerer) *guardMetrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "estop", Subsystem: "acks", Name: name, Help: help})
	}
	m := &guardMetrics{
		confirmed:   counter("confirmed_total", "Revocations that all known guards of their tenant acknowledged in time."),
		unconfirmed: counter("unconfirmed_total", "Revocations that not all known guards of their tenant acknowledged in time."),
		late:        counter("late_total", "Of the unconfirmed revocations, those that were acknowledged by all within another minute."),
		unguarded:   counter("unguarded_total", "Revocations of tenants that no known guard serves: nobody can confirm them."),
		refused:     counter("refused_total", "Reports of guards, and revocations, that were not believed."),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: "estop", Subsystem: "acks", Name: "confirmation_seconds",
			Help:    "Time from a revocation to its last guard's acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		guards: f.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "estop", Subsystem: "acks", Name: "guards",
			Help: "Guards in the register, by state. Those that said bye are left out.",
		}, []string{"state"}),
	}
	m.count(nil)
	return m
}

func (m *guardMetrics) count(guards []coverage.Guard) {
	n := map[coverage.State]int{coverage.Enforcing: 0, coverage.Unsynced: 0, coverage.Stale: 0, coverage.Lost: 0}
	for _, g := range guards {
		n[g.State]++
	}
	for state, count := range n {
		m.guards.WithLabelValues(string(state)).Set(float64(count))
	}
}
