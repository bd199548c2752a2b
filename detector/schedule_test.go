package detector_test

import (
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
)

// scheduled returns a detector with that schedule, in mode enforce.
func scheduled(t *testing.T, schedule string) *detector.Compiled {
	t.Helper()
	return load(t, head+"mode: enforce\nresponse: {action: revoke, scope: agent, for: 2d}\nschedule: "+schedule+"\n").Plan.Detectors[0]
}

func unix(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixNano()
}

func TestAScheduleHoldsByTheClockOfItsZone(t *testing.T) {
	for _, c := range []struct {
		schedule string
		holds    []string
		not      []string
	}{
		{`{days: [mon-fri], hours: "08:00-18:00"}`, // UTC; 2026-01-02 is a Friday
			[]string{"2026-01-02T08:00:00Z", "2026-01-02T17:59:59.999999999Z", "2026-01-05T12:00:00Z"},
			[]string{"2026-01-02T07:59:59.999999999Z", "2026-01-02T18:00:00Z", "2026-01-03T12:00:00Z", "2026-01-04T12:00:00Z"}},
		{`{days: [mon-fri], hours: "08:00-18:00", timezone: Europe/Berlin}`, // +1 in winter, +2 in summer
			[]string{"2026-01-02T07:00:00Z", "2026-07-03T06:00:00Z", "2026-07-03T15:59:59Z"},
			[]string{"2026-01-02T06:59:59Z", "2026-01-02T17:00:00Z", "2026-07-03T05:59:59Z", "2026-07-03T16:00:00Z"}},
		{`{days: fri, hours: "22:00-06:00"}`, // the night belongs to Friday
			[]string{"2026-01-02T22:00:00Z", "2026-01-02T23:59:59Z", "2026-01-03T00:00:00Z", "2026-01-03T05:59:59Z"},
			[]string{"2026-01-02T00:00:00Z", "2026-01-02T05:00:00Z", "2026-01-03T06:00:00Z", "2026-01-03T22:00:00Z", "2026-01-04T01:00:00Z"}},
		{`{days: [fri-mon], hours: ["00:00-01:00", "23:00-24:00"]}`,
			[]string{"2026-01-02T00:30:00Z", "2026-01-02T23:59:59Z", "2026-01-04T00:00:00Z", "2026-01-05T23:00:00Z"},
			[]string{"2026-01-02T01:00:00Z", "2026-01-02T22:59:59Z", "2026-01-06T00:00:00Z", "2026-01-06T23:30:00Z"}},
		{`{days: [sat, SUN]}`, []string{"2026-01-03T00:00:00Z", "2026-01-04T23:59:59Z"}, []string{"2026-01-02T23:59:59Z", "2026-01-05T00:00:00Z"}},
		// On 2026-03-29 Berlin's clocks go from 02:00 to 03:00, at 01:00 UTC.
		{`{hours: "02:30-03:30", timezone: Europe/Berlin}`,
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:29:59Z", "2026-03-30T00:30:00Z"},
			[]string{"2026-03-29T00:59:59Z", "2026-03-29T01:30:00Z"}},
		{`{hours: "02:00-03:00", timezone: Europe/Berlin}`,
			[]string{"2026-03-28T01:00:00Z", "2026-03-30T00:00:00Z"},
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		// On 2026-10-25 they go from 03:00 to 02:00, at 01:00 UTC: the hour comes twice.
		{`{hours: "02:15-02:45", timezone: Europe/Berlin}`,
			[]string{"2026-10-25T00:15:00Z", "2026-10-25T00:44:59Z", "2026-10-25T01:15:00Z", "2026-10-25T01:44:59Z"},
			[]string{"2026-10-25T00:14:59Z", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:45:00Z"}},
		{`{days: sun, hours: "22:00-04:00", timezone: America/New_York}`, // of 2026-11-01, with 25 hours
			[]string{"2026-11-02T03:00:00Z", "2026-11-02T08:59:59Z"}, []string{"2026-11-02T02:59:59Z", "2026-11-02T09:00:00Z"}},
		// Zones that are not whole hours, and days that begin far from UTC's.
		{`{days: mon, hours: "00:00-00:15", timezone: Asia/Kathmandu}`, []string{"2026-01-04T18:15:00Z", "2026-01-04T18:29:59Z"}, []string{"2026-01-04T18:14:59Z", "2026-01-04T18:30:00Z"}},
		{`{days: mon, timezone: Pacific/Auckland}`, []string{"2026-01-04T11:00:00Z", "2026-01-05T10:59:59Z"}, []string{"2026-01-04T10:59:59Z", "2026-01-05T11:00:00Z"}},
	} {
		d := scheduled(t, c.schedule)
		for want, times := range map[bool][]string{true: c.holds, false: c.not} {
			for _, at := range times {
				mode, fires := d.ModeAt(unix(t, at))
				if fires != want || mode != detector.Enforce || d.FiresAt(unix(t, at)) != want {
					t.Errorf("%s at %s: fires %v in %s, want %v", c.schedule, at, fires, mode, want)
				}
			}
		}
	}
}

func TestAScheduleThatLeavesNothingOutIsAnError(t *testing.T) {
	for schedule, want := range map[string]bool{
		`{days: mon-sun}`: true, `{days: [mon-wed, wed-sat]}`: false, `{hours: "00:00-24:00"}`: true, `{hours: "00:00-23:59"}`: false,
		`{hours: ["08:00-20:00", "20:00-08:00"]}`: true, `{hours: ["08:00-20:00", "20:01-08:00"]}`: false,
		`{days: mon-sat, hours: ["08:00-20:00", "20:00-08:00"]}`: false, `{hours: ["12:00-11:59", "11:00-12:00"]}`: true, `{hours: "12:00-11:59"}`: false,
	} {
		_, errs := detector.Load(files("f.yaml", head+"schedule: "+schedule+"\n"))
		if got := len(errs) > 0; got != want {
			t.Errorf("%s: %v", schedule, errs)
		}
	}
}

func TestOutsideOfItsScheduleADetectorHasAnotherMode(t *testing.T) {
	d := scheduled(t, `{days: mon-fri, hours: "18:00-08:00", outside: alert}`)
	for at, want := range map[string]detector.Mode{"2026-01-02T18:00:00Z": detector.Enforce, "2026-01-02T17:59:00Z": detector.Alert} {
		if mode, fires := d.ModeAt(unix(t, at)); mode != want || !fires {
			t.Errorf("at %s: mode %s, fires %v", at, mode, fires)
		}
	}
}

func TestQuietEndsWhereTheScheduleLetsADetectorDoMore(t *testing.T) {
	for _, c := range []struct {
		schedule, at string
		want         time.Duration
	}{
		{`{hours: "18:00-08:00", outside: alert}`, "2026-01-02T17:58:30Z", 90 * time.Second},
		{`{hours: "18:00-08:00", outside: alert}`, "2026-01-02T18:00:00Z", 48 * time.Hour},
		{`{days: sun, hours: "18:00-08:00", outside: alert}`, "2026-01-02T18:00:00Z", 48 * time.Hour},              // in two days, to the minute
		{`{days: sun, hours: "18:00-08:00", outside: alert}`, "2026-01-02T17:00:00Z", 48 * time.Hour},              // sooner than that
		{`{days: sun, hours: "18:00-08:00", outside: alert}`, "2026-01-02T19:00:00Z", 47 * time.Hour},              // later
		{`{hours: "02:00-04:00", timezone: Europe/Berlin, outside: observe}`, "2026-03-29T00:59:00Z", time.Minute}, // at 03:00, which comes after 01:59
	} {
		if got := scheduled(t, c.schedule).QuietAt(unix(t, c.at), 0); got != c.want {
			t.Errorf("%s: quiet at %s for %v, want %v", c.schedule, c.at, got, c.want)
		}
	}
	d := load(t, head+"mode: alert\nresponse: {action: revoke, scope: agent, for: 2d}\nschedule: {hours: \"08:00-18:00\", outside: enforce}\n").Plan.Detectors[0]
	if got := d.QuietAt(unix(t, "2026-01-02T17:59:00Z"), 0); got != time.Minute {
		t.Errorf("quiet for %v, want until it may enforce", got)
	}
}

func TestOnlyADetectionInItsHoursIsEnforced(t *testing.T) {
	for mode, want := range map[string]bool{"enforce": true, "alert": false} {
		p := load(t, head+"mode: enforce\nresponse: {action: revoke, scope: agent, for: 2d}\nschedule: {hours: \"18:00-08:00\", outside: alert}\n").Plan
		found := detector.Detection{Detector: "x", Version: p.Detectors[0].Version, Mode: mode}
		if e, ok := p.EnforcerOf(0, &found); ok != want || (e.Response() != detector.Response{}) != want {
			t.Errorf("%s: enforcer %v, %+v", mode, ok, e.Response())
		}
	}
	// One that never enforces has none, whatever a detection says.
	p := load(t, head+"mode: observe\nresponse: {action: revoke, scope: agent, for: 2d}\nschedule: {hours: \"18:00-08:00\", outside: alert}\n").Plan
	if _, ok := p.EnforcerOf(0, &detector.Detection{Detector: "x", Version: p.Detectors[0].Version, Mode: "enforce"}); ok {
		t.Error("a detector in observe and alert enforces")
	}
}

func BenchmarkScheduleHolds(b *testing.B) {
	set, errs := detector.Load(files("f.yaml", head+"schedule: {days: mon-fri, hours: \"08:00-18:00\", timezone: Europe/Berlin}\n"))
	if errs.Err() != nil {
		b.Fatal(errs)
	}
	s := set.Plan.Detectors[0].Schedule
	b.ReportAllocs()
	for i := range b.N {
		s.Holds(1767225600e9 + int64(i)*int64(time.Minute))
	}
}
