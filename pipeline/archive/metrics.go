package archive

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the Prometheus metrics of the archiver.
type metrics struct {
	rows          *prometheus.CounterVec
	batches       *prometheus.CounterVec
	insertSeconds *prometheus.HistogramVec
	lag           *prometheus.GaugeVec
	retries       prometheus.Counter
	skipped       *prometheus.CounterVec
	poison        *prometheus.CounterVec
	redone        prometheus.Counter
	repaired      prometheus.Counter
	doubled       prometheus.Counter
}

// newMetrics makes the metrics; with a nil registerer nobody collects them.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "estop", Subsystem: "archive", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "estop", Subsystem: "archive", Name: name, Help: help}, labels)
	}
	return &metrics{
		rows:    vec("rows_total", "Rows stored in ClickHouse.", "table"),
		batches: vec("batches_total", "Batches stored in ClickHouse.", "table"),
		insertSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "estop", Subsystem: "archive", Name: "insert_seconds",
			Help:    "Time of an attempt to insert a batch.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}, []string{"table"}),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "estop", Subsystem: "archive", Name: "lag_records",
			Help: "Records in Kafka that are not in ClickHouse yet.",
		}, []string{"topic", "partition"}),
		retries:  counter("retries_total", "Inserts that failed and were tried again."),
		skipped:  vec("calls_skipped_total", "Calls that could not be decoded. The dead letter topic has them.", "reason"),
		poison:   vec("poison_total", "Records sent to the dead letter topic by the archiver.", "topic", "reason"),
		redone:   counter("batches_redone_total", "Batches found in doubt at an assignment and repeated."),
		repaired: counter("rows_repaired_total", "Rows that ClickHouse claimed to have and had not."),
		doubled:  counter("batches_doubled_total", "Batches of which ClickHouse has more rows than Kafka. Never, if all is well."),
	}
}
