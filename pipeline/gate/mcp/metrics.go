package mcp

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/revoke/guard"
)

// metrics are the Prometheus metrics of a gate.
type metrics struct {
	calls    *prometheus.CounterVec
	cut      prometheus.Counter
	late     prometheus.Counter
	refused  *prometheus.CounterVec
	inFlight prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "estop", Subsystem: "gate", Name: name, Help: help}
	}
	return &metrics{
		calls:    f.NewCounterVec(opts("calls_total", "Calls, by the guard's verdict and whether they passed."), []string{"verdict", "passed"}),
		cut:      f.NewCounter(opts("calls_cut_total", "Calls in flight that a revocation cut off.")),
		late:     f.NewCounter(opts("late_answers_total", "Answers and progress of the server for calls that were cut off: dropped.")),
		refused:  f.NewCounterVec(opts("messages_refused_total", "Messages that were not forwarded for what they are, by reason."), []string{"reason"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "gate", Name: "calls_in_flight", Help: "Calls that the server has not answered."}),
	}
}

func (m *metrics) decided(v guard.Verdict, passed bool) {
	m.calls.WithLabelValues(v.String(), strconv.FormatBool(passed)).Inc()
}
