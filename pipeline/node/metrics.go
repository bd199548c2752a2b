package node

import "github.com/prometheus/client_golang/prometheus"

// Metrics registers what a node counts beside its roles, so that alerts can be held against it.
func Metrics(reg prometheus.Registerer) {
	newDrillMetrics(reg)
	newSinkMetrics(reg)
}
