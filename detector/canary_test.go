package detector_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

const enforcing = head + "mode: enforce\nresponse: {action: revoke, scope: agent, for: 15m}\n"

func TestACanaryStandsBesideTheLiveDetectorAndNeverEnforces(t *testing.T) {
	set, errs := detector.Load(files("a.yaml", enforcing, "canary/a.yaml", enforcing+"severity: low\ntenants: {bulk: {mode: enforce}}\n"))
	if errs.Err() != nil {
		t.Fatal(errs)
	}
	for i, d := range set.Plan.Detectors {
		_, may := set.Plan.Enforcer(i)
		found := detector.Detection{Detector: d.ID, Version: d.Version, Mode: "enforce", Tenant: "bulk"}
		_, answers := set.Plan.EnforcerOf(i, &found)
		if live := !d.Canary; may != live || answers != live || live != (set.Sources[i].File == "a.yaml") {
			t.Errorf("%s: canary %v, enforcer %v, answers %v", set.Sources[i].File, d.Canary, may, answers)
		}
	}
	if live := set.Live(); len(live.Plan.Detectors) != 1 || live.Sources[0].File != "a.yaml" {
		t.Errorf("live are %v", live.Sources)
	}
}

func TestTwoCanariesOfOneDetectorAreRefused(t *testing.T) {
	_, errs := detector.Load(files("canary/a.yaml", simple("a"), "canary/b.yaml", simple("a")))
	if len(errs) != 1 || errs[0].File != "canary/b.yaml" {
		t.Errorf("errors %v", errs)
	}
}

func TestACanaryHasTheVersionThatItHasOnceItIsLive(t *testing.T) {
	const listed = head + "lists: {l: l.txt}\nmatch: {agent: $l}\n"
	load := func(pairs ...string) string {
		set, errs := detector.Load(files(pairs...))
		if errs.Err() != nil {
			t.Fatal(errs)
		}
		return set.Plan.Detectors[0].Version
	}
	live := load("team/a.yaml", listed, "team/l.txt", "x\n")
	if got := load("team/canary/a.yaml", listed, "team/l.txt", "x\n"); got != live {
		t.Errorf("version %s, live %s", got, live)
	}
	if got := load("team/canary/a.yaml", listed, "team/l.txt", "x\n", "team/canary/l.txt", "y\n"); got == live {
		t.Error("the canary's own list is not read")
	}
}

func TestTheKeysThatChangedBetweenTwoTexts(t *testing.T) {
	got := detector.KeysChanged("id: a\nmode: observe\nbudget: x\n", "id: a\nmode: enforce\nquiet: 1m\n")
	want := []detector.KeyChange{
		{Key: "mode", Kind: "changed", Before: "observe", Now: "enforce"}, {Key: "quiet", Kind: "added", Now: "1m"}, {Key: "budget", Kind: "removed", Before: "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
