package notify

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	sent, failed, retries, deadLetters *prometheus.CounterVec
	seconds                            *prometheus.HistogramVec
	waiting, verified                  *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "estop", Subsystem: "notify", Name: name, Help: help}, []string{"sink"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "notify", Name: name, Help: help}, []string{"sink"})
	}
	return &metrics{
		sent:        counter("sent_total", "Events that a sink has taken."),
		failed:      counter("failed_total", "Attempts to send an event that failed."),
		retries:     counter("retries_total", "Failed attempts after which the event is tried again."),
		deadLetters: counter("dead_letters_total", "Events that were given up and written to estop.notify.dlq."),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "estop", Subsystem: "notify", Name: "seconds", Help: "From the event's record in Kafka until a sink has taken it.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600},
		}, []string{"sink"}),
		waiting:  gauge("waiting", "Events in memory that are on their way to a sink."),
		verified: gauge("verified", "Whether the receiver of a sink of type caep took the last verification."),
	}
}

// begin makes each sink's metrics, so that their first increase is seen.
func (m *metrics) begin(s *Sink) {
	for _, c := range []*prometheus.CounterVec{m.sent, m.failed, m.retries, m.deadLetters} {
		c.WithLabelValues(s.Name)
	}
	m.seconds.WithLabelValues(s.Name)
	m.waiting.WithLabelValues(s.Name)
}
