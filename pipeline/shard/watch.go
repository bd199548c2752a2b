package shard

import (
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const noSlot = math.MinInt64

// watch is what one rule keeps for one entity.
type watch struct {
	rule       *rule
	calls      int64 // that matched
	slots      int64 // active slots closed
	slot       int64 // the open slot, or noSlot
	first      int64 // the first call's own time
	latest     int64 // the greatest of the calls' own times
	sampled    int64 // when samples were last written, the calls' own time
	quietUntil int64
	total      float64 // log evidence after the last call
	firstBad   []byte  // id of the call with which evidence began to rise
	features   []feature
	evidence   []evidence
}

// feature is the state of one feature: a window, a distinct count or known kinds. The
// others are nil, and so are all of them where evidence alone reads the feature.
type feature struct {
	window   *models.Window
	distinct *models.Distinct
	kinds    *kinds
	value    float64 // at the last call
}

// evidence is one baseline and the e-detector that it feeds.
type evidence struct {
	baseline *models.CountBaseline // of counts; nil where kinds feed it
	count    float64               // in the open slot: what was counted, or fresh kinds drawn
	draws    float64               // in the open slot: of kinds, fresh or not
	detector models.EDetector
}

func newWatch(r *rule) watch {
	w := watch{
		rule: r, slot: noSlot, total: math.Inf(-1),
		features: make([]feature, len(r.Features)),
		evidence: make([]evidence, len(r.Evidence)),
	}
	for i, f := range r.Features {
		w.features[i] = newFeature(f, r.windowed[i])
	}
	for i, ev := range r.Evidence {
		if r.Features[ev.Feature].Kind == detector.KindCount {
			baseline := models.NewCountBaseline(models.CountPrior{Mean: 1, Weight: priorCountWeight, Memory: countMemory})
			w.evidence[i].baseline = &baseline
		}
	}
	return w
}

func newFeature(f detector.Feature, windowed bool) feature {
	switch f.Kind {
	case detector.KindDistinct:
		distinct := models.NewDistinct(f.Window, windowSlots, exactDistinct)
		return feature{distinct: &distinct}
	case detector.KindNew, detector.KindSurprise:
		return feature{kinds: newKinds()}
	}
	if !windowed {
		return feature{}
	}
	window := models.NewWindow(f.Window, windowSlots)
	return feature{window: &window}
}

// observe takes a matching call in: first the evidence, from what the baselines predict,
// then what the models learn.
//
// A late call is evidence in the slot that is open when it comes. Its time is the word of
// whoever sends it: an agent that dates its calls back must not be judged the milder for it.
func (w *watch) observe(r *rule, c *telemetry.Call, t int64) {
	quiet := t < w.quietUntil
	known := r.known(w)
	high := w.total > r.freeze
	for i := range w.features {
		f, spec := &w.features[i], &r.Features[i]
		switch spec.Kind {
		case detector.KindDistinct:
			if v, ok := fieldValue(c, spec.Field, r.contexts[i]); ok {
				f.distinct.Add(t, hash(v))
			}
			f.value = f.distinct.Count(t)
		case detector.KindNew, detector.KindSurprise:
			f.value = 0
			if v, ok := fieldValue(c, spec.Field, r.contexts[i]); ok && !quiet {
				surprise := spec.Kind == detector.KindSurprise
				f.kinds.draw(hash(v), t, surprise, high || surprise && known)
				f.value = f.kinds.value(spec.Kind)
			} else {
				f.kinds.counts = false
			}
		default:
			if r.windowed[i] {
				f.window.Add(t, amount(spec.Measure, c))
				f.value = f.window.Sum(t)
				if spec.Kind == detector.KindRate {
					f.value /= spec.Window.Seconds()
				}
			}
		}
	}
	if !quiet {
		w.weigh(r, c, known)
	}
}

// weigh turns what the features saw into e-values.
func (w *watch) weigh(r *rule, c *telemetry.Call, known bool) {
	w.total = math.Inf(-1)
	for i := range w.evidence {
		ev, spec := &w.evidence[i], &r.Features[r.Evidence[i].Feature]
		if spec.Kind == detector.KindCount {
			ev.count += amount(spec.Measure, c)
			if known {
				ev.detector.Set(models.LogEFromLogP(ev.baseline.LogTail(ev.count)))
			}
		} else if k := w.features[r.Evidence[i].Feature].kinds; k.counts {
			ev.draws++
			ev.count += truth(k.fresh)
			if known {
				ev.detector.Mul(models.LogENovel(k.fresh, k.p))
			}
		}
		w.total = logAddExp(w.total, r.logWeights[i]+ev.detector.Log())
	}
}

// broken returns why the detector fires at this call: the text of its hard limit,
// "evidence", or "" if it does not.
func (w *watch) broken(r *rule, t int64) string {
	if r.When != nil {
		for i := range w.features {
			r.values[i] = w.features[i].value
		}
		if r.When.Eval(r.values) {
			return r.WhenText
		}
	}
	if len(r.Evidence) > 0 && w.total >= r.Level && t >= w.quietUntil && r.known(w) {
		return "evidence"
	}
	return ""
}

// markFirstBad remembers the call with which the evidence began to rise, until it has
// fallen back.
func (w *watch) markFirstBad(r *rule, c *telemetry.Call) {
	rising := w.total > r.freeze/2
	switch {
	case !rising:
		w.firstBad = w.firstBad[:0]
	case len(w.firstBad) == 0:
		w.firstBad = append(w.firstBad, c.ID...)
	}
}

// close ends the open slot at time end: what it held is learned unless evidence is high, for models
// must not learn from an attack.
func (w *watch) close(r *rule, end int64) {
	high := w.total > r.freeze
	w.slots++
	for i := range w.evidence {
		ev, spec := &w.evidence[i], &r.Features[r.Evidence[i].Feature]
		if spec.Kind == detector.KindCount && !high && ev.count > 0 {
			ev.baseline.Learn(ev.count)
		}
		ev.count, ev.draws = 0, 0
		ev.detector.Close()
	}
	if high {
		return
	}
	for i := range w.features {
		if k := w.features[i].kinds; k != nil {
			k.settle(end, r.Features[i].Kind == detector.KindSurprise)
		}
	}
}

// fired starts anew after a detection: what was seen under high evidence is forgotten, not learned.
func (w *watch) fired(until int64) {
	w.quietUntil = until
	w.total = math.Inf(-1)
	w.firstBad = w.firstBad[:0]
	for i := range w.evidence {
		w.evidence[i].detector.Reset()
		w.evidence[i].count, w.evidence[i].draws = 0, 0
	}
	for i := range w.features {
		if k := w.features[i].kinds; k != nil {
			k.forget()
		}
	}
}

func amount(m detector.Measure, c *telemetry.Call) float64 {
	switch m {
	case detector.MeasureErrors:
		return truth(c.Outcome == telemetry.OutcomeError)
	case detector.MeasureDenied:
		return truth(c.Outcome == telemetry.OutcomeDenied)
	case detector.MeasureBytesIn:
		return float64(c.BytesIn)
	case detector.MeasureBytesOut:
		return float64(c.BytesOut)
	}
	return 1
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// logAddExp returns log(exp(a) + exp(b)).
func logAddExp(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
