package eval

import (
	"math"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Ten agents make a call an hour for ten days. On the last one two of them burst.
func TestADayIsAsSuspiciousAsItsMostSuspiciousCall(t *testing.T) {
	b, err := newBeside(load(t, everybody), time.Unix(0, callOf("", 0).Time).Add(5*day))
	if err != nil {
		t.Fatal(err)
	}
	play := func(agent string, at time.Duration, bad bool) {
		c := callOf(agent, at)
		if bad {
			c.Outcome = telemetry.OutcomeDenied
		}
		b.call(c, bad)
	}
	for hour := range 240 {
		for agent := range 10 {
			at := time.Duration(hour)*time.Hour + time.Duration(agent)*time.Second
			play(string(rune('a'+agent)), at, false)
			for n := range 50 {
				if agent < 2 && hour == 235 {
					play(string(rune('a'+agent)), at+time.Duration(n)*time.Millisecond, true)
				}
			}
		}
	}
	if got := len(b.items("fixed thresholds")); got != 50 {
		t.Errorf("%d days, want those of five days of ten agents", got)
	}
	for scorer, want := range map[string]float64{
		"fixed thresholds": 1,
		ours:               0.5, // fires at every call, so that all days are alike
	} {
		if got := metrics.AUC(b.items(scorer)); math.Abs(got-want) > 1e-9 {
			t.Errorf("AUC of %s is %g, want %g", scorer, got, want)
		}
	}
	r := newReport()
	m := &measurement{ctx: t.Context(), report: r, set: Set{Name: "x", Title: "x"}}
	b.report(m)
	if f := figure(t, r, "recall of fixed thresholds"); f.Value != 1 {
		t.Errorf("%+v", f)
	}
}
