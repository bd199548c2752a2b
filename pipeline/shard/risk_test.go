package shard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const countedDetector = `id: counted
title: Counted
mode: %s
group_by: agent
baseline: [{feature: "count(calls, 1m)"}]
slot: 1m
budget: 1 per 1000 agent-days
warmup: {calls: 20, slots: 10}
quiet: 5m
response: {action: revoke, scope: agent, for: 15m}
`

// riskStage plays calls to a detector of counts and keeps what is told of risks.
type riskStage struct {
	t     *testing.T
	s     *shard.Shard
	n     int
	told  []shard.Risk
	last  shard.Judgement
	fired int
}

func newRiskStage(t *testing.T, mode string) *riskStage {
	r := &riskStage{t: t}
	r.s = shard.New(plan(t, fmt.Sprintf(countedDetector, mode)), shard.Options{Risk: true, Judged: func(j shard.Judgement) { r.last = j }})
	return r
}

func (r *riskStage) call(at time.Duration, change ...func(*telemetry.Call)) {
	c := call(r.n, "bot", at)
	for _, f := range change {
		f(&c.Call)
	}
	r.n++
	r.s.Call(&c.Call, c.src)
	r.told = append(r.told, r.s.Risks...)
	r.fired += len(r.s.Detections)
	r.s.Risks, r.s.Detections, r.s.Samples = r.s.Risks[:0], r.s.Detections[:0], r.s.Samples[:0]
}

// warm plays an hour of two calls a minute, and returns when it ends.
func (r *riskStage) warm() time.Duration {
	for i := range 120 {
		r.call(time.Duration(i) * 30 * time.Second)
	}
	return time.Hour
}

func (r *riskStage) bands() (b []shard.Band) {
	for _, k := range r.told {
		b = append(b, k.Band)
	}
	return b
}

func TestTheRiskIsToldWhenEvidenceCrossesABandAndOnlyThen(t *testing.T) {
	r := newRiskStage(t, "alert")
	for i := range 15 {
		r.call(time.Duration(i) * 30 * time.Second)
	}
	if len(r.told) != 0 {
		t.Fatalf("of an agent that is not known: %+v", r.told)
	}
	at := r.warm()
	if fmt.Sprint(r.bands()) != fmt.Sprint([]shard.Band{shard.Low}) || r.told[0].Tenant != "t1" || r.told[0].Agent != "bot" || r.told[0].Detector != "counted" {
		t.Fatalf("of an agent that is as always: %+v", r.told)
	}
	for i := 0; r.fired == 0 && i < 1000; i++ {
		before := len(r.told)
		r.call(at + time.Duration(i)*time.Millisecond)
		share := r.last.Evidence / r.last.Level
		want := shard.Low
		if share >= 0.9 {
			want = shard.High
		} else if share >= 0.5 {
			want = shard.Medium
		}
		now := r.told[len(r.told)-1]
		if now.Band != want {
			t.Fatalf("evidence is %.2f of the level, and the risk that was told %+v", share, now)
		}
		if len(r.told) > before && (now.Share < 0 || now.Share > 1 || share <= 1 && now.Share != share) {
			t.Errorf("share %v of %v", now.Share, share)
		}
	}
	if r.fired != 1 {
		t.Fatal("the detector does not fire")
	}
	if r.call(at + 10*time.Minute); r.told[len(r.told)-1].Band != shard.Low {
		t.Errorf("after the detection: %+v", r.told)
	}
	b := r.bands()
	for i := 1; i < len(b); i++ {
		if b[i] == b[i-1] {
			t.Errorf("told twice: %v", b)
		}
	}
}

func TestTheRiskIsToldAgainOnceADayHoweverAnAgentDatesItsCalls(t *testing.T) {
	r := newRiskStage(t, "enforce")
	r.warm()
	for hour := 2; hour < 24*4; hour++ {
		r.call(time.Duration(hour) * time.Hour)
		r.call(time.Duration(hour)*time.Hour+time.Second, func(c *telemetry.Call) { c.Time -= int64(30 * 24 * time.Hour) })
	}
	if n := len(r.told); n != 4 {
		t.Errorf("told %d times in four days, want 4", n)
	}
}

func TestDetectorsThatOnlyObserveTellNoRisk(t *testing.T) {
	r := newRiskStage(t, "observe")
	at := r.warm()
	for i := range 300 {
		r.call(at + time.Duration(i)*time.Millisecond)
	}
	if len(r.told) != 0 || r.fired == 0 {
		t.Errorf("told %+v, %d detections", r.told, r.fired)
	}
}

func TestARiskIsNotToldTwiceBecauseAnAgentRested(t *testing.T) {
	set := plan(t, fmt.Sprintf(countedDetector, "alert"))
	s := shard.New(set, shard.Options{Risk: true, RestAfter: time.Minute})
	told := 0
	for i := range 200 {
		c := call(i, "bot", time.Duration(i)*5*time.Minute)
		s.Call(&c.Call, c.src)
		other := call(1000+i, "other", time.Duration(i)*5*time.Minute+4*time.Minute)
		other.src.Offset = c.src.Offset // its own place is not what is tested
		other.src.Index = 1
		s.Call(&other.Call, other.src)
		for _, k := range s.Risks {
			if k.Agent == "bot" {
				told++
			}
		}
		s.Risks = s.Risks[:0]
		for range 3 {
			s.Dirty() // lets it rest
		}
	}
	if told != 1 {
		t.Errorf("told %d times in 16 hours, want once", told)
	}
}

func TestRisksChangeNoDetection(t *testing.T) {
	p := every(t)
	with, without := newPair(p, shard.Options{Risk: true}), newPair(p, shard.Options{})
	for _, c := range number(burst(200, "a", 0, 700*time.Millisecond), burst(60, "a", 3*time.Minute, 10*time.Millisecond)) {
		one, two := c, c
		with.take(&one)
		without.take(&two)
	}
	if len(with.found) == 0 || fmt.Sprint(with.found) != fmt.Sprint(without.found) || !equalStates(with.saved(), without.saved()) {
		t.Errorf("%d detections with risks, %d without, or other states", len(with.found), len(without.found))
	}
}
