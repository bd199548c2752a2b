package detector_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// A variant without an exception is what the file says without it, for all tenants or for those that had it alone.
func TestAVariantWithoutAnExceptionIsTheFileWithoutIt(t *testing.T) {
	const (
		one   = "  - {match: {agent: a}, reason: first}\n"
		two   = "  - {match: {agent: b}, reason: second}\n"
		three = "      - {match: {agent: c}, reason: third}\n"
	)
	write := func(own, acme string) string {
		text := head
		if own != "" {
			text += "exceptions:\n" + own
		}
		return text + "tenants:\n  globex: {mode: alert}\n  acme:\n    mode: alert\n" + acme
	}
	set := load(t, write(one+two, "    exceptions:\n"+three))
	var places []string
	for i, x := range set.Exceptions(0) {
		places = append(places, x.Where+" "+x.Reason)
		without, errs := set.With(0, detector.Variant{Without: &x})
		if err := errs.Err(); err != nil {
			t.Fatal(err)
		}
		want := load(t, []string{write(two, "    exceptions:\n"+three), write(one, "    exceptions:\n"+three), write(one+two, "")}[i])
		for _, tenant := range []string{"", "acme", "globex"} {
			reasons := func(s *detector.Set) (all []string) {
				for _, x := range s.Plan.Detectors[0].For(tenant).Exceptions {
					all = append(all, x.Reason)
				}
				return all
			}
			if diff := cmp.Diff(reasons(want), reasons(without)); diff != "" {
				t.Errorf("without %s, tenant %q: %s", x.Where, tenant, diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"exceptions[0] first", "exceptions[1] second", "tenants.acme.exceptions[0] third"}, places); diff != "" {
		t.Error(diff)
	}
	if n := len(set.Plan.Detectors[0].Exceptions); n != 2 {
		t.Errorf("the set itself has %d exceptions left", n)
	}
}
