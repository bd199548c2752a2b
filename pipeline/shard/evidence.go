package shard

import (
	"math"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// evidence is one baseline and the e-detector that it feeds. Of the baselines at most one is
// there; none where kinds feed it.
type evidence struct {
	counts   *models.CountBaseline
	seasonal *models.SeasonalCount
	sizes    *models.SizeBaseline
	// open is what the open slot holds: the sum or the largest of a measure, the longest
	// repetition, the fresh kinds drawn, or the greatest surprise of a burst.
	open     float64
	draws    float64 // in the open slot: of kinds, fresh or not, of edges or of calls; of minutes the one counted last
	detector models.EDetector
	weighed  bool // the detector knows what the open slot holds
}

func newEvidence(r *rule, i int) evidence {
	ev := r.Evidence[i]
	memory := countMemory
	if ev.Memory > 0 {
		memory = max(minMemory, float64(ev.Memory)/float64(r.Slot))
	}
	prior := models.CountPrior{Mean: 1, Weight: priorCountWeight, Memory: memory}
	switch f := r.Features[ev.Feature]; {
	case f.Kind == detector.KindMax, f.Kind == detector.KindCount && f.Measure > detector.MeasureMinutes:
		sizes := models.NewSizeBaseline(memory)
		return evidence{sizes: &sizes}
	case f.Kind == detector.KindCount && ev.Seasonal:
		counts := models.NewSeasonalCount(prior)
		return evidence{seasonal: &counts}
	case f.Kind == detector.KindCount, f.Kind == detector.KindRepeats, f.Kind == detector.KindStale:
		counts := models.NewCountBaseline(prior)
		return evidence{counts: &counts}
	}
	return evidence{}
}

// logTail returns the log probability of what the open slot holds, or more.
func (ev *evidence) logTail(t int64) float64 {
	switch {
	case ev.counts != nil:
		return ev.counts.LogTail(ev.open)
	case ev.seasonal != nil:
		return ev.seasonal.LogTail(ev.open, t)
	case ev.sizes != nil:
		return ev.sizes.LogTail(ev.open) // 0 for nothing
	}
	return min(0, -ev.open)
}

// logTails returns the log probability of what the open slot holds or more, and of more;
// ok is false where there is no baseline.
func (ev *evidence) logTails(t int64) (tail, beyond float64, ok bool) {
	switch {
	case !(ev.open > 0):
	case ev.counts != nil:
		tail, beyond = ev.counts.LogTails(ev.open)
		return tail, beyond, true
	case ev.seasonal != nil:
		tail, beyond = ev.seasonal.LogTails(ev.open, t)
		return tail, beyond, true
	case ev.sizes != nil:
		tail = ev.sizes.LogTail(ev.open)
		return tail, tail, true // sizes are continuous
	}
	return 0, 0, false
}

// logP returns the logarithm of the p-value that is the open slot's evidence: of counts the
// mid-p, which is no p-value and yet gives a valid e-value.
func (ev *evidence) logP(t int64) float64 {
	switch {
	case ev.counts != nil:
		return ev.counts.LogMidP(ev.open)
	case ev.seasonal != nil:
		return ev.seasonal.LogMidP(ev.open, t)
	}
	return ev.logTail(t)
}

// logE returns the logarithm of the e-value of what the open slot holds for evidence i.
func (w *watch) logE(r *rule, i int) float64 {
	return models.LogEFromLogP(w.evidence[i].logP(w.slot*int64(r.Slot)) + w.logBegin(r))
}

// logBegin returns the log probability that an entity which abstained does at last what it did on none of
// the days before: of k+1 days that are exchangeable the last is the first with probability 1/(k+1) at
// most. So much holds for the day as such, on average, not given that nothing came before. It is
// used once: for the first slot, of which the baseline says how much it contains given that there is one,
// and until that has fired. For any other slot it is 0.
func (w *watch) logBegin(r *rule) float64 {
	if w.slots > 0 || w.since > 0 || w.block.alarms > 0 || r.BlockCalls > 0 { // since: it relearns
		return 0
	}
	return -math.Log1p(float64(w.block.past.Blocks()))
}

// doubt takes from the baseline's certainty, so that it relearns soon.
func (ev *evidence) doubt() {
	switch {
	case ev.counts != nil:
		ev.counts.Doubt(priorMost)
	case ev.seasonal != nil:
		ev.seasonal.Doubt(priorMost)
	case ev.sizes != nil:
		ev.sizes.Doubt(priorMost)
	}
	ev.open, ev.draws = 0, 0
	ev.reset()
}

// reset forgets the evidence.
func (ev *evidence) reset() {
	ev.detector.Reset()
	ev.weighed = false
}

// suppose lets the baselines of an entity believe, once, what its peers are like: when it is met, or as
// soon as enough of them have warmed up while it has not. Who vouches for it is what it is judged by.
func (w *watch) suppose() {
	for i := range w.evidence {
		mean, weight, ok := w.peers.prior(i)
		if !ok {
			continue
		}
		w.supposed = true
		switch ev := &w.evidence[i]; {
		case ev.counts != nil:
			ev.counts.Suppose(mean, weight)
			ev.weighed = false
		case ev.seasonal != nil:
			ev.seasonal.Suppose(mean, weight) // what was learned of a season is not overruled
			ev.weighed = false
		}
	}
}

// mean is what the peers are told of the baseline: the mean of a count, 1 of others.
func (ev *evidence) mean() float64 {
	switch {
	case ev.counts != nil:
		return ev.counts.Mean()
	case ev.seasonal != nil:
		return ev.seasonal.Level()
	}
	return 1
}

// expected returns the mean of a slot at t, and the band that holds 99 % of all slots.
func (ev *evidence) expected(t int64) (mean, low, high float64) {
	const edge = 0.005
	switch {
	case ev.counts != nil:
		return ev.counts.Mean(), ev.counts.Quantile(edge), ev.counts.Quantile(1 - edge)
	case ev.seasonal != nil:
		return ev.seasonal.Mean(t), ev.seasonal.Quantile(edge, t), ev.seasonal.Quantile(1-edge, t)
	case ev.sizes != nil:
		return ev.sizes.Median(), ev.sizes.Quantile(edge), ev.sizes.Quantile(1 - edge)
	}
	return 0, 0, 0
}

// learn takes in the open slot, which began at t.
func (ev *evidence) learn(t int64) {
	switch {
	case !(ev.open > 0):
	case ev.counts != nil:
		ev.counts.Learn(ev.open)
	case ev.seasonal != nil:
		ev.seasonal.Learn(ev.open, t)
	case ev.sizes != nil:
		ev.sizes.Learn(ev.open)
	}
}

// take adds the call to what the open slot holds. What it holds and the baseline say all there is
// to say: where the call adds nothing the evidence stays as it was.
func (ev *evidence) take(spec *detector.Feature, f *feature, c *telemetry.Call) {
	was := ev.open
	switch spec.Kind {
	case detector.KindMax:
		ev.open = max(ev.open, amount(spec.Measure, c))
	case detector.KindRepeats, detector.KindStale:
		// What was repeated before the slot began was that slot's. A baseline of counts begins at 1.
		ev.open = max(ev.open, 1+min(f.value, ev.draws))
		ev.draws++
	case detector.KindBurst:
		// The k-th look of a slot has the share 1/(k·(k+1)) of its chance of a false alarm.
		ev.draws++
		ev.open = max(ev.open, -models.EdgeBurstLogP(f.value)-math.Log(ev.draws*(ev.draws+1)))
	default:
		if spec.Measure == detector.MeasureMinutes {
			minute := float64(floorDiv(c.Time, int64(time.Minute)))
			if minute == ev.draws {
				break
			}
			ev.draws = minute // the one counted last
		}
		ev.open += amount(spec.Measure, c)
	}
	ev.weighed = ev.weighed && ev.open == was
}

// weigh turns what the call at t showed into e-values, each of which has a mean of at most 1
// while the entity is as its baselines say. Their weighted mean is the evidence.
func (w *watch) weigh(r *rule, c *telemetry.Call) {
	w.total = math.Inf(-1)
	for i := range w.evidence {
		ev, at := &w.evidence[i], r.Evidence[i].Feature
		f, spec := &w.features[at], &r.Features[at]
		switch spec.Kind {
		case detector.KindNew, detector.KindSurprise:
			if f.kinds.counts {
				ev.draws++
				ev.open += truth(f.kinds.fresh)
				ev.detector.Mul(f.kinds.logE())
			}
		default:
			if ev.take(spec, f, c); !ev.weighed {
				ev.detector.Set(w.logE(r, i))
				ev.weighed = true
			}
		}
		w.total = logAddExp(w.total, r.logWeights[i]+ev.detector.Log())
	}
}

// logAddExp returns log(exp(a) + exp(b)).
func logAddExp(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if b-a < -40 || math.IsInf(b, -1) { // less than the last digit
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
