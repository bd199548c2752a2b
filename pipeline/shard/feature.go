package shard

import (
	"bytes"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// feature is the state of one feature of an entity: one of the models, or none where
// the call alone gives the value, or where evidence alone reads the feature.
type feature struct {
	window    *models.Window
	peak      *models.Peak
	quantiles *models.Quantiles
	distinct  *models.Distinct
	kinds     *kinds
	loop      *models.Loop
	progress  *models.Progress
	burst     *models.EdgeBurst
	sequence  *sequence
	value     float64 // at the last call
}

// burstOptions bound the edges and nodes of one tenant so that its state fits into a record.
var burstOptions = func() models.EdgeBurstOptions {
	o := models.EdgeBurstDefaults()
	o.Edges, o.Nodes = 1<<13, 1<<12
	return o
}()

func newFeature(f detector.Feature, windowed bool) feature {
	switch f.Kind {
	case detector.KindDistinct:
		distinct := models.NewDistinct(f.Window, windowSlots, exactDistinct)
		return feature{distinct: &distinct}
	case detector.KindNew, detector.KindSurprise:
		return feature{kinds: newKinds()}
	case detector.KindRepeats:
		return feature{loop: new(models.Loop)}
	case detector.KindSequence:
		return feature{sequence: newSequence(f.Field)}
	case detector.KindStale:
		return feature{progress: new(models.Progress)}
	case detector.KindBurst:
		return feature{burst: models.NewEdgeBurst(burstOptions)}
	case detector.KindCount, detector.KindRate:
		if windowed {
			window := models.NewWindow(f.Window, windowSlots)
			return feature{window: &window}
		}
	case detector.KindMax:
		if windowed {
			peak := models.NewPeak(f.Window, windowSlots)
			return feature{peak: &peak}
		}
	case detector.KindQuantile:
		quantiles := models.NewQuantiles(f.Window, windowSlots)
		return feature{quantiles: &quantiles}
	}
	return feature{}
}

// observeFeature takes the call at t, of the session se, into feature i and sets its value.
func (s *Shard) observeFeature(r *rule, w *watch, i int, se *session, c *telemetry.Call, t int64) {
	f, spec := &w.features[i], &r.Features[i]
	switch spec.Kind {
	case detector.KindCount, detector.KindRate:
		if f.window == nil {
			return
		}
		f.window.Add(t, amount(spec.Measure, c))
		f.value = f.window.Sum(t)
		if spec.Kind == detector.KindRate {
			f.value /= spec.Window.Seconds()
		}
	case detector.KindMax:
		if f.peak != nil {
			f.peak.Add(t, amount(spec.Measure, c))
			f.value = f.peak.Max(t)
		}
	case detector.KindQuantile:
		f.quantiles.Add(t, amount(spec.Measure, c))
		f.value = f.quantiles.Quantile(t, spec.Share)
	case detector.KindDistinct:
		if h, ok := s.hash(r, i, c); ok {
			f.distinct.Add(t, h)
		}
		f.value = f.distinct.Count(t)
	case detector.KindSequence:
		f.value = s.follow(r, i, f.sequence, se, c)
	case detector.KindRepeats:
		h, _ := s.hash(r, i, c)
		f.loop.Add(h)
		f.value = float64(f.loop.Repeats())
	case detector.KindStale:
		h, _ := s.hash(r, i, c)
		f.progress.Add(h)
		f.value = float64(f.progress.Stale())
	case detector.KindBurst:
		f.value = 0
		if h, ok := s.hash(r, i, c); ok {
			agent, _ := s.fieldHash(c, detector.FieldAgent, "")
			f.burst.Score(agent, h, floorDiv(t, int64(time.Minute)))
			f.value = f.burst.OwnReason().Surprise // who calls what others flood has nothing to answer for
		}
	case detector.KindDepth:
		f.value = float64(max(len(c.Chain), 1))
	case detector.KindRecurs:
		f.value = recurring(c.Chain)
	}
}

// hash returns the hash of the value that feature i tells apart, and whether the call has it.
func (s *Shard) hash(r *rule, i int, c *telemetry.Call) (uint64, bool) {
	switch field := r.Features[i].Field; field {
	case detector.FieldCall:
		action, _ := s.fieldHash(c, detector.FieldAction, "")
		return pairHash(action, s.hashShape(c)), true
	case detector.FieldShape:
		return s.hashShape(c), len(c.Resource) > 0
	case detector.FieldChain:
		h := uint64(0)
		for _, m := range c.Chain {
			h = pairHash(h, xxhash.Sum64(m))
		}
		return h, len(c.Chain) > 0
	default:
		return s.fieldHash(c, field, r.contexts[i])
	}
}

// hashed is a hash that is made once for a call, however many features ask.
type hashed struct {
	hash     uint64
	made, ok bool // ok: the call has the field
}

// fieldHash returns the hash of a field of the call that was classified last, and whether the call has it.
func (s *Shard) fieldHash(c *telemetry.Call, f detector.Field, context string) (uint64, bool) {
	h := &s.hashes[f]
	if !h.made {
		v, ok := fieldValue(c, f, context)
		*h = hashed{xxhash.Sum64(v), true, ok}
	}
	return h.hash, h.ok
}

// hashShape returns the hash of the call's resource without the numbers in it.
func (s *Shard) hashShape(c *telemetry.Call) uint64 {
	if !s.shape.made {
		s.scratch = appendShape(s.scratch[:0], c.Resource)
		s.shape = hashed{xxhash.Sum64(s.scratch), true, true}
	}
	return s.shape.hash
}

// appendShape appends b with each run of digits as one 0.
func appendShape(to, b []byte) []byte {
	digits := false
	for _, x := range b {
		if was := digits; x >= '0' && x <= '9' {
			if digits = true; was {
				continue
			}
			x = '0'
		} else {
			digits = false
		}
		to = append(to, x)
	}
	return to
}

// pairHash makes one hash of two, in which their order counts.
func pairHash(a, b uint64) uint64 {
	h := a*0x9E3779B97F4A7C15 ^ b
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>32
}

// recurring counts the members of a chain that stand in it before.
func recurring(chain [][]byte) float64 {
	n := 0.0
	for i, m := range chain {
		for _, before := range chain[:i] {
			if bytes.Equal(m, before) {
				n++
				break
			}
		}
	}
	return n
}

// amount is what a call adds to a measure.
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
	case detector.MeasureLatency:
		return c.Latency.Seconds()
	}
	return 1
}
