package shard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func of(tenant string) func(*telemetry.Call) {
	return func(c *telemetry.Call) { c.Tenant = []byte(tenant) }
}

const overridden = `id: overridden
title: More than three calls in ten seconds, or as many as never
mode: observe
group_by: agent
baseline: [{feature: "count(calls, 10s)"}, {feature: new(resource)}]
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10}
when: count(calls, 10s) > 300
quiet: 1s
response: {action: revoke, scope: agent, for: 15m}
`

const overrides = `tenants:
  strict: {mode: enforce, when: "count(calls, 10s) > 5", severity: high}
  quiet: {exceptions: {match: {agent: busy}, reason: it is a batch}}
  deep: {when: "count(calls, 10s) > 5 and depth(chain) > 1"}
  "p*": {mode: alert, budget: 1 per 100000 agent-days}
`

func TestATenantIsJudgedByItsOwnOverride(t *testing.T) {
	s := newStage(t, overridden+overrides)
	for _, tenant := range []string{"strict", "quiet", "deep", "plain", "other"} {
		for _, agent := range []string{"busy", "calm"} {
			for i := range 6 {
				s.call(agent, time.Duration(i)*time.Second, of(tenant))
			}
			if agent == "busy" {
				for i := range 295 {
					s.call(agent, 6*time.Second+time.Duration(i)*time.Millisecond, of(tenant))
				}
			}
		}
	}
	got := map[string]int{}
	for _, d := range s.found {
		if d.Detector != "overridden" {
			t.Errorf("a detection by %s", d.Detector)
		}
		got[strings.Join([]string{d.Tenant, d.Agent, d.Mode, d.Severity}, " ")]++
	}
	for who, want := range map[string]int{
		"strict busy enforce high": 2, "strict calm enforce high": 1, "plain busy alert medium": 1, "other busy observe medium": 1,
	} {
		if got[who] != want {
			t.Errorf("%s: %d detections, want %d", who, got[who], want)
		}
		delete(got, who)
	}
	if len(got) > 0 {
		t.Errorf("further detections %v", got)
	}
}

// Whoever overrides what a detector does changes nothing in what it knows.
func TestWhatWasLearnedStaysWhenAnOverrideComesAndGoes(t *testing.T) {
	teach := func(s *stage, tenant string, from int) shard.Judgement {
		for slot := range 100 {
			for i := range 2 + slot%2 {
				s.call("a", time.Duration(from+slot)*10*time.Second+time.Duration(i)*100*time.Millisecond, of(tenant))
			}
		}
		return s.last
	}
	for tenant, keeps := range map[string]bool{"plain": true, "strict": true, "quiet": true, "deep": false} {
		s := newStage(t, overridden)
		before := teach(s, tenant, 0)
		if !before.Known {
			t.Fatal("nothing was learned")
		}
		with := plan(t, overridden+overrides)
		for _, live := range []bool{true, false} {
			name := fmt.Sprintf("%s, live %v", tenant, live)
			if live {
				s.calls.Reload(with)
			} else {
				s.plan = with
				s.restart(t, shard.Options{Judged: func(j shard.Judgement) { s.last = j }})
			}
			after := s.call("a", 1001*time.Second, of(tenant))
			if after.Known != keeps {
				t.Errorf("%s: known is %v, want %v", name, after.Known, keeps)
			}
			if least := with.Detectors[0].For(tenant).Level; keeps && !(after.Level >= least) {
				t.Errorf("%s: level %v, want %v at least", name, after.Level, least)
			}
		}
		s.calls.Reload(plan(t, overridden))
		if keeps && !s.call("a", 1002*time.Second, of(tenant)).Known {
			t.Errorf("%s: when the override went, so did what was learned", tenant)
		}
	}
}

// An entity that rests, and its peers, wake up as what their tenant has.
func TestAnOverriddenEntityWakesAsWhatItWas(t *testing.T) {
	p := plan(t, overridden+overrides)
	awake, resting := newPair(p, shard.Options{}), newPair(p, shard.Options{RestAfter: time.Second})
	n := 0
	for slot := range 300 {
		for _, tenant := range []string{"plain", "strict", "other", "deep"} {
			for i := range 1 + slot%3 {
				c := call(n, "a", time.Duration(slot)*10*time.Second+time.Duration(i)*time.Millisecond)
				c.Tenant = []byte(tenant)
				n++
				awake.take(&c)
				resting.take(&c)
			}
			awake.save()
			resting.save()
		}
	}
	if !equalStates(awake.saved(), resting.saved()) {
		t.Error("rest changed what is known")
	}
}

const office = `id: office
title: More than three calls in ten seconds, in the hours of the office
mode: enforce
group_by: agent
when: count(calls, 10s) > 3
quiet: 2h
response: {action: revoke, scope: agent, for: 15m}
`

// t0 is a Monday, nine o'clock in UTC.
func TestADetectorFiresOnlyInItsSchedule(t *testing.T) {
	for schedule, want := range map[string]string{
		`{hours: "10:00-12:00"}`:                                             "[10:00:00 enforce]",
		`{hours: "12:00-14:00", timezone: Europe/Helsinki}`:                  "[10:00:00 enforce]",
		`{days: tue-sun}`:                                                    "[]",
		`{days: mon, hours: "10:30-10:31", outside: observe}`:                "[09:00:03 observe 10:30:00 enforce]",
		`{days: mon, hours: ["08:00-09:00", "09:00-09:01"], outside: alert}`: "[09:00:03 enforce]",
	} {
		// Four calls in ten seconds, over and over, until a quarter to eleven.
		run := judged(t, plan(t, office+"schedule: "+schedule+"\n"), burst(6301, "a", 0, time.Second))
		var got []string
		for _, d := range run.found {
			got = append(got, d.Time.Format("15:04:05 ")+d.Mode)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", schedule, got, want)
		}
	}
}

func TestAnAgentDoesNotLeaveTheScheduleByDatingItsCallsBack(t *testing.T) {
	calls := number(burst(1, "a", time.Hour, 0), burst(5, "a", time.Hour-6*time.Second, time.Second))
	for _, outside := range []string{"", ", outside: alert"} {
		run := judged(t, plan(t, office+"schedule: {hours: \"10:00-12:00\""+outside+"}\n"), calls)
		if len(run.found) != 1 || run.found[0].Mode != "enforce" {
			t.Errorf("%s: detections %+v, want one", outside, run.found)
		}
	}
}

const nightly = `id: nightly
title: As many calls as never, by day
group_by: agent
baseline: {feature: "count(calls, 10s)"}
budget: 1 per 1000 agent-days
warmup: {calls: 50, slots: 10}
quiet: 1h
schedule: {hours: "09:00-18:00"}
`

func TestOutsideOfItsScheduleADetectorLearnsAndEvidenceIsDropped(t *testing.T) {
	s := newStage(t, nightly)
	const night = -12 * time.Hour // 21:00
	for slot := range 400 {       // until 22:06
		for i := range 1 + slot%2 {
			s.call("a", night+time.Duration(slot)*10*time.Second+time.Duration(i)*time.Second)
		}
	}
	if !s.last.Known {
		t.Fatal("nothing was learned by night")
	}
	high := false
	for i := range 200 { // at 08:59:40, on into the day
		j := s.call("a", -20*time.Second+time.Duration(i)*90*time.Millisecond)
		high = high || j.Evidence >= j.Level
	}
	if len(s.found) != 0 || !high {
		t.Fatalf("%d detections by night, evidence over the level: %v", len(s.found), high)
	}
	if j := s.call("a", time.Second); j.Evidence > j.Level/2 || len(s.found) != 0 {
		t.Errorf("the day begins with the evidence of the night: %v of %v", j.Evidence, j.Level)
	}
	for i := range 200 {
		s.call("a", time.Minute+time.Duration(i)*40*time.Millisecond)
	}
	if s.alarms("a") != 1 {
		t.Errorf("%d alarms by day, want one", s.alarms("a"))
	}
}
