package detector_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

const overridden = `id: x
title: x
mode: alert
match: {action: read}
constants:
  pilots: [pilot-1, "pilot-x*"]
baseline: {feature: new(resource)}
budget: 1 per 1000 agent-days
when: count(calls, 1m) > 10
response: {action: throttle, scope: agent, for: 15m}
exceptions: [{match: {agent: a}, reason: x}]
tenants:
  "test-*": {mode: observe}
  "test-*-live": {mode: enforce} # never reached
  test-7: {severity: high, quiet: 1h}
  acme:
    mode: enforce
    budget: 1 per 10000 agent-days
    response: {action: revoke, scope: identity, for: 2h}
    exceptions: [{match: {agent: b}, reason: y}]
  $pilots: {when: "count(calls, 1m) > 20 and depth(chain) > 1", schedule: {days: sat}}
`

func TestATenantHasItsOwnOverride(t *testing.T) {
	p := load(t, overridden).Plan
	d := p.Detectors[0]
	for tenant, want := range map[string]int{
		"acme": 1, "Acme": -1, "acme2": -1, "": -1, "test-7": 0, "test-8": 2, "test-9-live": 2, "pilot-1": 4, "pilot-x9": 4, "pilot-2": -1, "$pilots": -1,
	} {
		got := d.OverrideOf(tenant)
		if got != want {
			t.Errorf("%q has the override %d, want %d", tenant, got, want)
		}
		byBits := -1
		bits := bitsOf(p, call{"tenant": tenant})
		for i := len(d.Overrides) - 1; i >= 0; i-- {
			if d.Overrides[i].Tenants.Eval(bits) {
				byBits = i
			}
		}
		if byBits != want {
			t.Errorf("by its bits %q has the override %d, want %d", tenant, byBits, want)
		}
	}
}

func TestAnOverrideTakesThePlaceOfWhatItNamesAndOfNothingElse(t *testing.T) {
	p := load(t, overridden).Plan
	d := p.Detectors[0]
	acme, test, seven, pilot := d.For("acme"), d.For("test-8"), d.For("test-7"), d.For("pilot-1")
	if d.For("other") != d {
		t.Error("a tenant without an override has another detector")
	}
	for _, c := range []*detector.Compiled{acme, test, seven, pilot} {
		if c.ID != d.ID || c.Version != d.Version || c.Title != d.Title || c.Slot != d.Slot || len(c.Overrides) != 0 ||
			cmp.Diff(c.Match, d.Match) != "" || cmp.Diff(c.Evidence, d.Evidence) != "" {
			t.Errorf("the override is another detector: %+v", c)
		}
	}
	if acme.Mode != detector.Enforce || acme.Budget != "1 per 10000 agent-days" || acme.Blocks != 10*d.Blocks || !(acme.Level > d.Level) ||
		acme.Quiet != 2*time.Hour || len(acme.Exceptions) != 2 || acme.WhenText != d.WhenText {
		t.Errorf("acme has %+v", acme)
	}
	if test.Mode != detector.Observe || test.Level != d.Level || test.Quiet != 15*time.Minute || len(test.Exceptions) != 1 {
		t.Errorf("test has %+v", test)
	}
	if seven.Mode != detector.Alert || seven.Severity != "high" || seven.Quiet != time.Hour || d.Severity != "medium" {
		t.Errorf("test-7 has %+v", seven)
	}
	if pilot.WhenText != "count(calls, 1m) > 20 and depth(chain) > 1" || len(pilot.Features) != 3 || len(d.Features) != 2 || pilot.Schedule == nil || d.Schedule != nil {
		t.Errorf("pilot has %+v", pilot)
	}
}

func TestTheModeOfAnOverrideHoldsOutsideOfTheHoursToo(t *testing.T) {
	for schedule, want := range map[string]string{
		`{hours: "18:00-08:00", outside: alert}`: "always observe",
		`{hours: "18:00-08:00"}`:                 "in the hours observe",
	} {
		d := load(t, head+"mode: enforce\nresponse: {action: revoke, scope: agent, for: 15m}\nschedule: "+schedule+"\ntenants: {a: {mode: observe}, b: {severity: low}}\n").Plan.Detectors[0]
		noon := unix(t, "2026-01-02T12:00:00Z")
		got := "in the hours"
		mode, fires := d.For("a").ModeAt(noon)
		if fires {
			got = "always"
		}
		if got += " " + mode.String(); got != want {
			t.Errorf("%s: %s, want %s", schedule, got, want)
		}
		if d.For("b").Schedule != d.Schedule {
			t.Error("who overrides something else has another schedule")
		}
	}
}

func TestTheEnforcerIsThatOfTheTenant(t *testing.T) {
	p := load(t, overridden).Plan
	version := p.Detectors[0].Version
	for _, plan := range []*detector.Plan{p, p.ScaleBudget(10)} {
		for tenant, want := range map[string]bool{"acme": true, "other": false, "test-8": false} {
			found := detector.Detection{Detector: "x", Version: version, Tenant: tenant, Mode: "enforce"}
			e, ok := plan.EnforcerOf(0, &found)
			if ok != want {
				t.Fatalf("%s: enforcer %v", tenant, ok)
			}
			if ok && (e.Response() != detector.Response{Action: detector.Revoke, Scope: detector.ScopeIdentity, For: 2 * time.Hour} || e.Compiled != plan.Detectors[0].For("acme")) {
				t.Errorf("%s: response %+v", tenant, e.Response())
			}
			for _, other := range []detector.Detection{
				{Detector: "y", Version: version, Tenant: tenant, Mode: "enforce"}, {Detector: "x", Version: "old", Tenant: tenant, Mode: "enforce"},
				{Detector: "x", Version: version, Tenant: tenant, Mode: "alert"},
			} {
				if _, ok := plan.EnforcerOf(0, &other); ok {
					t.Errorf("%+v is enforced", other)
				}
			}
		}
	}
	if got, want := p.ScaleBudget(10).Detectors[0].For("acme").Blocks, p.Detectors[0].For("acme").Blocks/10; got != want {
		t.Errorf("scaled, acme has %v blocks, want %v", got, want)
	}
}

// excused are tenants with an exception each.
func excused(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  tenant-%02d: {exceptions: {match: {agent: b}, reason: x}}\n", i)
	}
	return b.String()
}

func TestErrorsOfTenantsAndSchedulesSayWhereAndWhy(t *testing.T) {
	const learned = "id: x\ntitle: x\nbaseline: {feature: new(resource)}\nbudget: 1 per 1000 agent-days\n"
	for name, c := range map[string]struct{ text, want string }{
		"every tenant":         {head + "tenants: {'*': {mode: alert}}", `4:11: "*" is every tenant (write it in the detector itself)`},
		"many exceptions":      {head + "exceptions: [" + strings.Repeat("{match: {agent: a}, reason: x},", 150) + "]\ntenants:\n" + excused(80), `72:27: with those of the detector, the exceptions of its tenants are more than 10000`},
		"tenant twice":         {head + "tenants:\n  a: {mode: alert}\n  a: {mode: alert}", `6:3: a tenant is named "a" twice`},
		"no change":            {head + "tenants: {a: {}}", `4:14: an override changes nothing for a (take it out)`},
		"no tenants":           {head + "tenants: {}", `4:10: tenants is empty (leave it out)`},
		"a list":               {head + "tenants: [a]", `4:10: tenants must be a mapping, not a list (write NAME: …)`},
		"unknown key":          {head + "tenants: {a: {mod: alert}}", `4:15: an override has no key "mod" (did you mean "mode"?)`},
		"match":                {head + "tenants: {a: {match: {agent: b}}}", `4:15: an override has no key "match" (known: mode, severity, budget, when, quiet, schedule, response, escalate, exceptions)`},
		"unknown mode":         {head + "tenants: {a: {mode: enforced}}", `4:21: mode cannot be "enforced" (did you mean "enforce"?)`},
		"enforce, no response": {head + "tenants: {a: {mode: enforce}}", `4:21: mode enforce needs a response (add response: {action: revoke, scope: agent, for: 15m})`},
		"budget, no baseline":  {head + "tenants: {a: {budget: 1 per 1000 agent-days}}", `4:15: budget means nothing without a baseline (add baseline: or leave it out)`},
		"budget":               {learned + "tenants: {a: {budget: 1 per 1000 agnt-days}}", `5:34: the budget counts agnt-days but the detector groups by agent (write agent-days)`},
		"when":                 {learned + "tenants: {a: {when: cuont(calls) > 1}}", `5:21: unknown feature "cuont" (did you mean "count"?)`},
		"unknown list":         {head + "tenants: {$pilots: {mode: alert}}", `4:11: no constant and no list is $pilots (name it under constants: or lists:; for a value that begins with $, write $$pilots)`},
		"wide exception":       {head + "tenants: {a: {exceptions: {match: {agent: '*'}, reason: x}}}", `4:43: agent excludes nothing (name what the calls have in common)`},

		"unknown day":       {head + "schedule: {days: [mon-fry]}", `4:19: there is no day "fry" (did you mean "fri"?)`},
		"no day":            {head + "schedule: {days: []}", `4:18: days is an empty list (write a value, or leave it out)`},
		"unknown zone":      {head + "schedule: {days: mon, timezone: Europe/Berln}", `4:33: there is no time zone "Europe/Berln" (did you mean "Europe/Berlin"?)`},
		"machine's zone":    {head + "schedule: {days: mon, timezone: Local}", `4:33: there is no time zone "Local" (write a name of the IANA time zone database, as in Europe/Berlin)`},
		"zone outside":      {head + "schedule: {days: mon, timezone: ../../etc/passwd}", `4:33: there is no time zone "../../etc/passwd" (write a name of the IANA time zone database, as in Europe/Berlin)`},
		"hours":             {head + "schedule: {hours: '8-18'}", `4:19: hours cannot be "8-18" (write "08:00-18:00")`},
		"hours over a day":  {head + "schedule: {hours: '08:00-24:01'}", `4:19: hours cannot be "08:00-24:01" (write "08:00-18:00")`},
		"minutes":           {head + "schedule: {hours: '08:00-18:60'}", `4:19: hours cannot be "08:00-18:60" (write "08:00-18:00")`},
		"empty hours":       {head + "schedule: {hours: '08:00-08:00'}", `4:19: the hours "08:00-08:00" are empty (write "00:00-24:00" for a whole day)`},
		"every time":        {head + "schedule: {days: [mon-sun], hours: ['00:00-12:00', '12:00-24:00']}", `4:11: the schedule holds at every time (write days: [mon-fri] or hours: "08:00-18:00", or leave it out)`},
		"nothing":           {head + "schedule: {}", `4:11: the schedule holds at every time (write days: [mon-fri] or hours: "08:00-18:00", or leave it out)`},
		"schedule key":      {head + "schedule: {day: mon}", `4:12: a schedule has no key "day" (did you mean "days"?)`},
		"outside as inside": {head + "mode: alert\nschedule: {days: mon, outside: alert}", `5:32: the mode is alert anyway (write another mode, or leave schedule out)`},
		"outside enforces":  {head + "schedule: {days: mon, outside: enforce}", `4:11: mode enforce needs a response (add response: {action: revoke, scope: agent, for: 15m})`},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := detector.Load(files("f.yaml", c.text))
			if diff := cmp.Diff("f.yaml:"+c.want, strings.SplitN(errs.Error(), "\n", 2)[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}
