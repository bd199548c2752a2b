package eval

import (
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// player is a plan at work on calls.
type player struct {
	plan            *detector.Plan
	index           map[string]int // of detectors, by id
	calls, exchange *shard.Shard
	offset          int64
}

func newPlayer(plan *detector.Plan, opt shard.Options) *player {
	p := &player{plan: plan, index: map[string]int{}, calls: shard.New(plan, opt), exchange: shard.New(plan, opt)}
	for i, d := range plan.Detectors {
		p.index[d.ID] = i
	}
	return p
}

// call judges a call and returns the detections that it led to, valid until the next call.
func (p *player) call(c *telemetry.Call) []shard.Detected {
	src := shard.Source{Topic: "estop.calls", Offset: p.offset, Appended: c.Time}
	p.offset++
	for _, s := range []*shard.Shard{p.calls, p.exchange} {
		s.Detections, s.Samples = s.Detections[:0], s.Samples[:0]
	}
	groups := p.calls.Call(c, src)
	for by := range groups.All() {
		p.exchange.Grouped(by, c, src, src.Offset)
	}
	p.calls.Detections = append(p.calls.Detections, p.exchange.Detections...)
	return p.calls.Detections
}

// samples are those that the last call led to.
func (p *player) samples() []detector.Sample {
	return append(p.calls.Samples, p.exchange.Samples...)
}

// everySlot lets a shard sample each slot that ends.
var everySlot = shard.Options{SampleEvery: 1}

// defaultOptions are those of production.
var defaultOptions shard.Options

// suspicion is a plan that only scores: how far, in nats, the evidence of the detector that
// is nearest to its alarm level is beyond it.
type suspicion struct{ *player }

// Score returns the greatest evidence that the call has closed or broken with, less the
// alarm level; -Inf where no detector knows the entity well enough to speak.
func (s suspicion) Score(c *telemetry.Call) float64 {
	s.call(c)
	return s.score()
}

// score is that of the player's last call.
func (s suspicion) score() float64 {
	most := math.Inf(-1)
	for _, d := range s.calls.Detections {
		if d.Reason != "evidence" { // a hard limit
			return math.Inf(1)
		}
		most = max(most, d.LogEvidence-d.LogLevel)
	}
	samples := s.samples()
	for i := 0; i < len(samples); {
		d := s.plan.Detectors[s.index[samples[i].Detector]]
		evidence, n := total(d, samples[i:])
		if samples[i].Known {
			most = max(most, evidence-d.Level)
		}
		i += n
	}
	return most
}

// total adds up the evidence of the samples that a detector wrote of one entity's slot, and
// returns how many they are.
func total(d *detector.Compiled, samples []detector.Sample) (logEvidence float64, n int) {
	var weights, sum float64
	for _, ev := range d.Evidence {
		weights += ev.Weight
	}
	first := samples[0]
	for n < len(samples) && samples[n].Detector == first.Detector && samples[n].Entity == first.Entity && samples[n].Time.Equal(first.Time) {
		if n < len(d.Evidence) { // evidence comes first
			sum += d.Evidence[n].Weight / weights * math.Exp(samples[n].LogEvidence-d.Level)
		}
		n++
	}
	return math.Log(sum) + d.Level, n
}
