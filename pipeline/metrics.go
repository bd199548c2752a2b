package pipeline

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

// metrics are the Prometheus metrics of the detect role.
type metrics struct {
	records       prometheus.Counter
	detections    *prometheus.CounterVec
	allowed       *prometheus.CounterVec
	spent         *prometheus.CounterVec
	excepted      *prometheus.CounterVec
	refusedFiles  prometheus.Gauge
	revocations   *prometheus.CounterVec
	refused       prometheus.Counter
	needless      prometheus.Counter
	heldBack      prometheus.Counter
	drills        prometheus.Counter
	drillsRefused prometheus.Counter
	risks         *prometheus.CounterVec
	risksFailed   prometheus.Counter
	deadLetters   *prometheus.CounterVec
	unknownFields prometheus.Counter
	ahead         prometheus.Counter
	late          prometheus.Counter
	replayed      prometheus.Counter
	unwatched     prometheus.Counter
	strays        prometheus.Counter
	snapshots     prometheus.Counter
	graphDropped  prometheus.Counter
	revokedLate   prometheus.Counter
	evicted       prometheus.Counter
	fetched       prometheus.Counter
	entityBytes   prometheus.Gauge
	localFailed   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "estop", Subsystem: "detect", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "estop", Subsystem: "detect", Name: name, Help: help}, labels)
	}
	return &metrics{
		records:       counter("records_total", "Records taken from the topics of calls and of the exchange."),
		detections:    vec("detections_total", "Detections, by detector, its mode and version, and whether it is a canary.", "detector", "mode", "version", "canary"),
		allowed:       vec("budget_allowed_total", "False alarms that the budgets of detectors allowed in the days, sessions or calls of known entities that have ended.", "detector", "canary"),
		spent:         vec("budget_spent_total", "Detections by evidence, which are what a budget bounds if nothing is wrong; those of hard limits are not among them.", "detector", "canary"),
		excepted:      vec("excepted_total", "Calls that exceptions of detectors let pass.", "detector", "canary"),
		refusedFiles:  f.NewGauge(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "detect", Name: "detector_files_refused", Help: "Detector files that are wrong now; of each the last right version goes on, if there was one."}),
		revocations:   vec("revocations_total", "Revocations published by detectors.", "action", "scope"),
		refused:       counter("revocations_refused_total", "Revocations that could not be signed because they are not valid."),
		needless:      counter("revocations_needless_total", "Revocations that were not sent: what they stop is stopped as hard already, or a person released it."),
		heldBack:      counter("revocations_held_back_total", "Revocations that the interlock kept back; they wait for a person (estop queue)."),
		drills:        counter("drills_total", "Marked calls of drills that were answered with the revocation of a session that no call has."),
		drillsRefused: counter("drills_refused_total", "Calls that are marked as those of drills and are none, or too many at once; they are judged as any other."),
		risks:         vec("risks_total", "Risks of agents that were sent to the gates, by level.", "level"),
		risksFailed:   counter("risks_failed_total", "Risks of agents that could not be sent, and are sent again."),
		deadLetters:   vec("dead_letters_total", "Calls that could not be decoded, by reason.", "reason"),
		unknownFields: counter("unknown_fields_total", "Fields of calls that the decoder does not know. They pass."),
		ahead:         counter("calls_ahead_total", "Calls from the future, held to the bound."),
		late:          counter("calls_late_total", "Calls older than the open slot of their entity."),
		replayed:      counter("calls_replayed_total", "Calls that the state of their entity already held."),
		strays:        counter("calls_stray_total", "Calls sent without the key of their agent; the exchange brings them to its shard."),
		snapshots:     counter("graph_snapshots_total", "Snapshots of the access graph."),
		graphDropped:  counter("graph_dropped_total", "Uses of names and edges that the access graph has no room for."),
		revokedLate:   counter("revocations_late_total", "Revocations published for an old breach, which was found in a backlog."),
		evicted:       counter("evicted_total", "Entities that were put away because memory is at its bound; their next call reads them back."),
		fetched:       counter("fetched_total", "Entities that were read back from the local state file at a call."),
		localFailed:   counter("state_file_failed_total", "Local state files that could not be written; until the next start nothing is put away to them."),
		entityBytes:   f.NewGauge(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "detect", Name: "entity_bytes", Help: "Memory that the entities of all shards take, as it is estimated."}),
		unwatched:     counter("calls_unwatched_total", "Calls of entities past the bound of their shard."),
	}
}

// shardCounters remember how much of a shard's counts the metrics already have.
type shardCounters struct{ last shard.Stats }

func (m *metrics) add(c *shardCounters, s shard.Stats, records int) {
	m.records.Add(float64(records))
	m.ahead.Add(float64(s.Ahead - c.last.Ahead))
	m.late.Add(float64(s.Late - c.last.Late))
	m.replayed.Add(float64(s.Replayed - c.last.Replayed))
	m.unwatched.Add(float64(s.Unwatched - c.last.Unwatched))
	m.fetched.Add(float64(s.Fetched - c.last.Fetched))
	c.last = s
}

// allow counts what budgets allowed, once, with a place for what is spent of it: of a counter that
// begins with what it counts Prometheus sees no increase.
func (m *metrics) allow(plan *detector.Plan, allowed []float64) {
	for i, n := range allowed {
		if n > 0 {
			d := plan.Detectors[i]
			m.allowed.WithLabelValues(d.ID, strconv.FormatBool(d.Canary)).Add(n)
			m.spent.WithLabelValues(d.ID, strconv.FormatBool(d.Canary))
		}
	}
	clear(allowed)
}

// addGraph counts what the access graph of a worker did since it was last counted.
func (m *metrics) addGraph(a *access) {
	if a == nil {
		return
	}
	now, last := &a.recorder.Stats, &a.counted
	m.snapshots.Add(float64(now.Snapshots - last.Snapshots))
	m.graphDropped.Add(float64(now.DroppedNodes + now.DroppedEdges + now.DroppedOut - last.DroppedNodes - last.DroppedEdges - last.DroppedOut))
	a.counted = *now
}
