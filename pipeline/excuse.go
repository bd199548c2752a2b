package pipeline

import (
	"strconv"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
)

// excused counts the calls that exceptions let pass, and writes down, once a day for each entity, which
// exception it was and who answers for it.
func (w *worker) excused() {
	for i, n := range w.shard.Excepted {
		if n > 0 {
			d := w.plan.Detectors[i]
			w.detect.metrics.excepted.WithLabelValues(d.ID, strconv.FormatBool(d.Canary)).Add(float64(n))
		}
	}
	clear(w.shard.Excepted)
	for i := range w.shard.Excuses {
		w.logExcuse(&w.shard.Excuses[i])
	}
	w.shard.Excuses = w.shard.Excuses[:0]
}

func (w *worker) logExcuse(x *shard.Excuse) {
	until := "" // no end
	if !x.Exception.Until.IsZero() {
		until = x.Exception.Until.Format(time.RFC3339)
	}
	d := w.plan.Detectors[x.Index]
	w.log.Info("an exception lets calls pass", "detector", d.ID, "version", d.Version, "canary", d.Canary, "reason", x.Exception.Reason,
		"owner", x.Exception.Owner, "until", until, "tenant", x.Tenant, "by", x.EntityBy, "entity", x.Entity, "agent", x.Agent,
		"call", x.CallID, "day", x.Time.Format(time.DateOnly))
}
