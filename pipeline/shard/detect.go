package shard

import (
	"math"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// detect writes the detection of a rule that fired at call c.
func (s *Shard) detect(r *rule, e *entity, w *watch, c *telemetry.Call, t int64, src Source, reason string) {
	mode := r.foundIn(w.latest)
	d := detection(r, e, mode, c, t, src)
	d.Reason, d.LogLevel, d.Budget = reason, w.block.asked(), r.Budget
	d.FirstBad, d.Features = string(w.firstBad), w.appendSamples(nil, r, e, t)
	if !math.IsInf(w.total, -1) {
		d.LogEvidence = w.total
	}
	if d.FirstBad == "" {
		d.FirstBad = d.CallID
	}
	still := w.graded.answer(r, mode, w.latest, &d)
	s.found(d, r)
	w.fired(quiet{t + still, src.Appended + still}, reason)
}

// detection returns what is said of any detection of a rule at call c. Only here, a few times a
// day, does a shard make strings.
func detection(r *rule, e *entity, mode detector.Mode, c *telemetry.Call, t int64, src Source) detector.Detection {
	by, tenant, name := splitEntityKey(e.key)
	return detector.Detection{
		ID:        revoke.ID(r.Key(), e.key, src.Topic, src.Partition, src.Offset, src.Index),
		Time:      time.Unix(0, t).UTC(),
		Detector:  r.ID,
		Version:   r.Version,
		Canary:    r.Canary,
		Mode:      mode.String(),
		Severity:  r.Severity,
		Tags:      r.Tags,
		Tenant:    tenant,
		EntityBy:  by.String(),
		Entity:    name,
		Agent:     string(c.Agent),
		Identity:  string(c.Identity),
		Session:   string(c.Session),
		Action:    string(c.Action),
		Resource:  string(c.Resource),
		Chain:     toStrings(c.Chain),
		CallID:    string(c.ID),
		Topic:     src.Topic,
		Partition: src.Partition,
		Offset:    src.Offset,
	}
}

// foundIn returns the mode in which the rule finds at the latest time of its entity's calls.
func (r *rule) foundIn(latest int64) detector.Mode {
	if r.Canary {
		return detector.Observe
	}
	mode, _ := r.ModeAt(latest)
	return mode
}

// found counts a detection of a rule and hands it out.
func (s *Shard) found(d detector.Detection, r *rule) {
	s.Stats.Detections++
	s.Detections = append(s.Detections, Detected{d, r.index})
}

// appendSamples says, for each feature of a watch, what was observed and what its
// baseline expected at time t.
func (w *watch) appendSamples(samples []detector.Sample, r *rule, e *entity, t int64) []detector.Sample {
	by, tenant, name := splitEntityKey(e.key)
	base := detector.Sample{
		Time: time.Unix(0, t).UTC(), Tenant: tenant, EntityBy: by.String(), Entity: name, Detector: r.ID,
	}
	known := w.known(r)
	for i := range w.evidence {
		at := r.Evidence[i].Feature
		sample := base
		sample.Feature, sample.Known = r.Features[at].Name, known
		sample.LogEvidence = finite(w.evidence[i].detector.Log())
		w.explain(&sample, r, i)
		samples = append(samples, sample)
	}
	for _, i := range r.bare {
		sample := base
		sample.Feature, sample.Observed = r.Features[i].Name, w.features[i].value
		samples = append(samples, sample)
	}
	return samples
}

// explain fills a sample with what evidence i observed and expected in the open slot.
func (w *watch) explain(sample *detector.Sample, r *rule, i int) {
	ev, f := &w.evidence[i], &w.features[r.Evidence[i].Feature]
	sample.Observed = ev.open
	if !sample.Known {
		return
	}
	if r.Within {
		sample.Observed = f.value
		if f.sequence != nil {
			sample.LogP = -f.value
		} else if f.kinds.fresh {
			sample.Expected, sample.LogP = f.kinds.p, finite(math.Log(f.kinds.p))
		}
		return
	}
	if f.kinds == nil {
		begin := w.slot * int64(r.Slot)
		sample.Expected, sample.Low, sample.High = ev.expected(begin)
		sample.LogP = ev.logTail(begin)
		return
	}
	// Fresh draws are Bernoulli with the predicted probability: their mean in as many
	// draws as the slot had, and a normal band around it.
	p := f.kinds.p
	n := ev.draws
	band := 2.576 * math.Sqrt(n*p*(1-p))
	sample.Expected = n * p
	sample.Low = math.Max(0, sample.Expected-band)
	sample.High = sample.Expected + band
	sample.LogP = finite(math.Log(p))
}

func finite(x float64) float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	return x
}

func toStrings(bs [][]byte) []string {
	if len(bs) == 0 {
		return nil
	}
	ss := make([]string, len(bs))
	for i, b := range bs {
		ss[i] = string(b)
	}
	return ss
}
