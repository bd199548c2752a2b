package detector_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// Auditors want an end date, elastic/kibana#78548, and somebody who answers for the exception, elastic/docs-content#5253:
// an exception without either is warned of, and so is one that has ended, in the detector itself and for single tenants.
// A reason must be there.
func TestComplaint09AnExceptionHasAnEndAndAnOwner(t *testing.T) {
	const text = head + `exceptions:
  - {match: {agent: a}, until: 2026-12-31, owner: sec-ops, reason: in order}
  - {match: {agent: b}, owner: sec-ops, reason: no end}
  - {match: {agent: c}, until: 2026-12-31, reason: no owner}
  - {match: {agent: d}, until: 2026-02-28, owner: sec-ops, reason: over}
tenants:
  acme:
    exceptions:
      - {match: {agent: e}, until: 2026-02-28, reason: over and no owner}
      - {match: {agent: f}, owner: sec-ops, reason: no end}
`
	report, errs := detector.Lint(files("f.yaml", text), detector.DefaultLintOptions(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range report.Warnings {
		if strings.Contains(w.Rule, "exception") {
			got = append(got, w.String())
		}
	}
	want := []string{
		"f.yaml:6:5: the exception never ends (no end) (add until: 2026-06-01, the last day) [exception-without-end]",
		"f.yaml:7:5: nobody answers for the exception (no owner) (add owner: who can say whether it is still needed) [exception-without-owner]",
		"f.yaml:8:32: the exception has ended: its last day was 2026-02-28 (take it out, or renew it) [dead-exception]",
		"f.yaml:12:9: nobody answers for the exception (over and no owner) (add owner: who can say whether it is still needed) [exception-without-owner]",
		"f.yaml:12:36: the exception has ended: its last day was 2026-02-28 (take it out, or renew it) [dead-exception]",
		"f.yaml:13:9: the exception never ends (no end) (add until: 2026-06-01, the last day) [exception-without-end]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, errs := detector.Load(files("f.yaml", head+"exceptions: {match: {agent: a}, owner: o, until: 2026-12-31}\n")); !strings.Contains(errs.Error(), `an exception needs the key "reason"`) {
		t.Errorf("an exception without a reason: %v", errs)
	}
}
