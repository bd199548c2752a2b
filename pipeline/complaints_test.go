package pipeline_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/history"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// setOf loads detectors by the names of their files.
func setOf(t testing.TB, texts map[string]string) *detector.Set {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range texts {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// otherDay is a schedule that enforces on a day of the week that is neither today, nor near it.
func otherDay() string {
	day := strings.ToLower(time.Now().UTC().AddDate(0, 0, 3).Weekday().String()[:3])
	return "schedule: {days: [" + day + "], outside: alert}\n"
}

// Decisions of a simulation went live: crowdsecurity/crowdsec#1343. A node has detectors that observe, alert, try out
// or enforce on other days, and all of them find a real attack; then what happened is tried again, in every way there
// is, by detectors that enforce, while everything is connected. Nobody is told to stop anybody.
func TestComplaint07ASimulationLeaksNoDecision(t *testing.T) {
	r := rig.New(t, rig.Options{})
	// Whatever goes out over NATS on the subjects of the kill switch is seen here.
	seen, err := r.Connect(r.NATS.URL()).SubscribeSync(revoke.RevokePrefix + ".>")
	if err != nil {
		t.Fatal(err)
	}
	g := r.Guard("gate-1")
	role := r.Detect(setOf(t, map[string]string{
		"a.yaml": loop("observes", "observe"), "b.yaml": loop("alerts", "alert"), "canary/c.yaml": loop("tried", "enforce"),
		"d.yaml": loop("enforces-later", "enforce") + otherDay(),
	}).Plan)
	r.Send(loopCalls("bad", time.Now())...)
	r.Judged()
	wantFound := func(n int) {
		t.Helper()
		got := ids(r.Detections(), func(d detector.Detection) string { return d.Key() + " " + d.Mode + " " + d.Revocation })
		want := map[string]int{"observes observe ": n, "alerts alert ": n, "canary/tried observe ": n, "enforces-later alert ": n}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("detections: %s", diff)
		}
	}
	wantFound(1)

	// A file is played into the log of the node, which is no simulation: its own detectors judge it, as above.
	var file bytes.Buffer
	for _, c := range loopCalls("replayed", time.Now()) {
		file.Write(append(telemetry.AppendJSON(nil, c), '\n'))
	}
	c := node.Default()
	c.Kafka.Brokers, c.Kafka.Partitions = r.Brokers, 4
	if done, err := node.Replay(t.Context(), c, &file, node.ReplayOptions{Name: "calls.jsonl"}, r.Journal.Logger()); err != nil || done.Calls != breachAt {
		t.Fatalf("replay: %+v, %v", done, err)
	}
	r.Judged()
	wantFound(2)

	enforcing := setOf(t, map[string]string{"a.yaml": loop("enforces", "enforce") + `tests:
  - name: fires
    calls: {repeat: 4, every: 1ms, agent: bad, tenant: t1, action: read}
    expect: {detections: exactly 1, mode: enforce, response: revoke}
`})
	log, err := history.OpenKafka(t.Context(), r.Seeds())
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"", "enforce"} {
		report, err := backtest.Run(t.Context(), log, enforcing, backtest.Options{As: as, Suggest: true, Exceptions: true})
		if err != nil {
			t.Fatal(err)
		}
		if report.All.Kills != 2 {
			t.Errorf("backtest, as %q: %d kills, want two", as, report.All.Kills)
		}
	}
	if _, err := backtest.Explain(t.Context(), log, enforcing, backtest.Asked{Agent: "bad"}); err != nil {
		t.Error(err)
	}
	if tests := backtest.TestAll(enforcing); tests.Passed != 1 || tests.Failed != 0 {
		t.Errorf("tests: %+v", tests)
	}

	role.Stop()
	if all := r.Revocations(); len(all) != 0 {
		t.Errorf("revocations were written: %v", all)
	}
	if n := role.Metric("estop_detect_revocations_total"); n != 0 {
		t.Errorf("%v revocations were counted", n)
	}
	if n, _, err := seen.Pending(); err != nil || n != 0 {
		t.Errorf("%d messages on %s (%v)", n, revoke.RevokePrefix, err)
	}
	late := r.Guard("gate-2") // reads what the stream holds
	for _, agent := range []string{"bad", "replayed"} {
		if v, w := g.Check(guardCall(agent)).Verdict, late.Check(guardCall(agent)).Verdict; v != guard.Allow || w != guard.Allow {
			t.Errorf("the guards answer %v and %v to %s", v, w, agent)
		}
	}

	// The same calls with a detector that enforces: the silence above was not for want of ears.
	r.Detect(enforcing.Plan)
	r.Send(loopCalls("worse", time.Now())...)
	awaitDenied(t, g, "worse")
	if _, err := seen.NextMsg(10 * time.Second); err != nil {
		t.Errorf("nothing was heard of a revocation: %v", err)
	}
	r.Judged() // the record follows the message
	if all := r.Revocations(); len(all) != 1 || all[0].Subject != "worse" {
		t.Errorf("revocations %v, want that of worse", all)
	}
}

// Auditors want to see what an exception excused: elastic/docs-content#5253, and who answers for it, until when:
// elastic/kibana#78548.
func TestComplaint09AnExceptionLeavesARecord(t *testing.T) {
	r := rig.New(t, rig.Options{})
	const excusing = `exceptions:
  - match: {agent: "nightly-*"}
    until: 2099-12-31
    owner: sec-ops
    reason: copies all customers each night
`
	role := r.Detect(rig.Plan(t, loop("loop", "alert")+excusing, loop("other", "alert")))
	now := time.Now()
	r.Send(slices.Concat(loopCalls("nightly-1", now), loopCalls("nightly-2", now), loopCalls("bad", now))...)
	r.Judged()
	rig.Await(t, time.Minute, func() error { // counted after a batch
		if n := role.Metric("estop_detect_excepted_total"); n != 2*breachAt {
			return fmt.Errorf("%v calls were excused, want %d", n, 2*breachAt)
		}
		return nil
	})
	for _, agent := range []string{"nightly-1", "nightly-2"} {
		if n := r.Journal.Count("an exception lets calls pass", "detector=loop", `reason="copies all customers each night"`, "owner=sec-ops",
			"until=2100-01-01T00:00:00Z", "tenant=t1", "entity="+agent, "call="+agent+"-0", "day="+now.UTC().Format(time.DateOnly)); n != 1 {
			t.Errorf("the log names the exception of %s %d times, want once", agent, n)
		}
	}
	if n := r.Journal.Count("an exception lets calls pass"); n != 2 {
		t.Errorf("the log tells of %d exceptions, want one an entity and day", n)
	}
	found := map[string]bool{}
	for _, d := range r.Detections() {
		found[d.Detector+" "+d.Agent] = true
	}
	if diff := cmp.Diff([]string{"loop bad", "other bad", "other nightly-1", "other nightly-2"}, slices.Sorted(maps.Keys(found))); diff != "" {
		t.Errorf("detections: %s", diff)
	}
}
