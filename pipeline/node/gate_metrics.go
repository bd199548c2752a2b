package node

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/revoke/guard"
)

// guardMetrics collects what a guard counts.
type guardMetrics struct{ guard *guard.Guard }

func guardDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("estop_guard_"+name, help, labels, nil)
}

var (
	descDecisions  = guardDesc("decisions_total", "Decisions, by verdict.", "verdict")
	descCut        = guardDesc("calls_cut_total", "Calls in flight that a revocation cut off.")
	descInFlight   = guardDesc("calls_in_flight", "Calls that have begun and not ended.")
	descActive     = guardDesc("revocations_active", "Revocations in force.")
	descApplied    = guardDesc("revocations_applied_total", "Revocations and releases put in force.")
	descRefused    = guardDesc("messages_refused_total", "Messages that were not believed, by reason.", "reason")
	descAckErrors  = guardDesc("ack_errors_total", "Acknowledgements that could not be sent.")
	descReadErrors = guardDesc("read_errors_total", "Readings of the stream that failed.")
	descMissed     = guardDesc("heartbeats_missed_total", "Times that heartbeats were due and did not come.")
	descAge        = guardDesc("age_seconds", "How old what the guard knows is.")
	descStale      = guardDesc("stale", "1 while what the guard knows is too old.")
)

// Describe sends the descriptions of all metrics.
func (guardMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDecisions, descCut, descInFlight, descActive, descApplied, descRefused, descAckErrors, descReadErrors, descMissed, descAge, descStale,
	} {
		to <- d
	}
}

// Collect sends the counts of now.
func (m guardMetrics) Collect(to chan<- prometheus.Metric) {
	s := m.guard.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	count(descDecisions, s.Allowed, guard.Allow.String())
	count(descDecisions, s.Throttled, guard.Throttle.String())
	count(descDecisions, s.Restricted, guard.Restrict.String())
	count(descDecisions, s.Denied, guard.Deny.String())
	count(descCut, s.Cancelled)
	count(descApplied, s.Applied)
	count(descAckErrors, s.AckErrors)
	count(descReadErrors, s.ReadErrors)
	count(descMissed, s.Missed)
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		count(descRefused, s.Refused[reason], reason)
	}
	gauge(descInFlight, float64(s.InFlight))
	gauge(descActive, float64(s.Active))
	gauge(descAge, s.Age.Seconds())
	gauge(descStale, flag(s.Stale))
}
