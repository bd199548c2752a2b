package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/history"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func TestMain(m *testing.M) { rig.Main(m) }

// ofAgents are detectors whose entities stand in one partition, and ofOthers such that meet in the exchange.
const (
	ofAgents = `id: pace
title: More calls than ever
mode: enforce
baseline: [{feature: "count(calls, 1m)"}]
budget: 1 per 100 agent-days
warmup: {calls: 20, slots: 5, peers: 3}
response: {action: revoke, scope: agent, for: 15m}
---
id: places
title: New resources
mode: alert
baseline: [{feature: "new(resource)"}]
budget: 1 per 100 agent-days
warmup: {calls: 20, slots: 5}
---
id: bursts
title: A burst
mode: observe
when: count(calls, 1m) > 8
quiet: 1h
`
	ofOthers = `id: stranger
title: An identity that a stranger uses
mode: alert
group_by: identity
baseline: [{feature: "surprise(agent)"}]
budget: 1 per 100 identity-days
warmup: {calls: 20, slots: 5}
slot: 10s
---
id: crowd
title: Many calls of a tenant
group_by: tenant
when: count(calls, 1m) > 20
quiet: 1h
`
)

func load(t *testing.T, text string) *detector.Set {
	t.Helper()
	set, errs := detector.Load(fstest.MapFS{"test.yaml": {Data: []byte(text)}})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// days are calls of a few agents of three tenants over two days, with bursts and strangers toward the end.
func days(t *testing.T, seed uint64) []*telemetry.Call {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var calls []*telemetry.Call
	call := func(agent int, resource string) {
		name := fmt.Sprintf("agent-%d", agent)
		calls = append(calls, &telemetry.Call{
			ID: fmt.Appendf(nil, "call-%d-%d", seed, len(calls)), Time: at.UnixNano(), Tenant: fmt.Appendf(nil, "tenant-%d", agent%3), Agent: []byte(name),
			Identity: fmt.Appendf(nil, "role-%d", agent/3), Session: []byte("s"), Chain: [][]byte{[]byte(name)}, Action: []byte("read"),
			Resource: []byte(resource), Context: []telemetry.Pair{{Key: []byte("region"), Value: []byte("eu")}},
		})
	}
	for i := range 2000 {
		at = at.Add(time.Duration(random.Int64N(int64(3 * time.Minute))))
		agent := random.IntN(12)
		call(agent, fmt.Sprint("doc-", random.IntN(5)))
		if i > 1500 && i%40 == 0 {
			for range 30 {
				at = at.Add(time.Second)
				call(agent, fmt.Sprint("secret-", random.IntN(1000)))
			}
		}
	}
	return calls
}

// found are detections without what only a node adds, by id.
func found(all []detector.Detection) []detector.Detection {
	all = slices.Clone(all)
	for i := range all {
		all[i].Graph, all[i].Revocation = nil, ""
	}
	slices.SortFunc(all, func(a, b detector.Detection) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// played returns what a backtest finds in a log.
func played(t *testing.T, log backtest.Log, set *detector.Set) []detector.Detection {
	t.Helper()
	r, err := backtest.Run(t.Context(), log, set, backtest.Options{Examples: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var all []detector.Detection
	for _, d := range r.Detectors {
		for _, e := range d.Examples {
			all = append(all, e.Detection)
		}
	}
	return found(all)
}

func compare(t *testing.T, what string, want, got []detector.Detection) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: %d detections live, %d in the backtest (-live +backtest):\n%.4000s", what, len(want), len(got), diff)
	}
}

func TestABacktestFindsWhatTheNodeFound(t *testing.T) {
	for _, test := range []struct {
		partitions int32
		detectors  string
	}{{1, ofAgents + "---\n" + ofOthers}, {3, ofAgents}} {
		t.Run(fmt.Sprint(test.partitions, " partitions"), func(t *testing.T) {
			set := load(t, test.detectors)
			r := rig.New(t, rig.Options{Partitions: test.partitions})
			r.Detect(set.Plan)
			r.Send(days(t, 5)...)
			r.Judged()
			live := found(r.Detections())
			if len(live) < 5 {
				t.Fatalf("only %d detections", len(live))
			}
			k, err := history.OpenKafka(t.Context(), r.Seeds())
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "Kafka", live, played(t, k, set))
			r.Send(days(t, 6)...) // what comes later is not read
			compare(t, "Kafka, a second time", live, played(t, k, set))
		})
	}
}

// write writes calls as JSON lines.
func write(t *testing.T, calls []*telemetry.Call) string {
	t.Helper()
	var lines []byte
	for _, c := range calls {
		lines = append(telemetry.AppendJSON(lines, c), '\n')
	}
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileGivesWhatItsReplayIntoOnePartitionWould(t *testing.T) {
	set, calls := load(t, ofAgents+"---\n"+ofOthers), days(t, 5)
	r := rig.New(t, rig.Options{Partitions: 1})
	r.Detect(set.Plan)
	r.Send(calls...)
	r.Judged()
	compare(t, "file", found(r.Detections()), played(t, &history.Files{Paths: []string{write(t, calls)}}, set))
}

func TestClickHouseGivesWhatTheNodeFound(t *testing.T) {
	set := load(t, ofAgents)
	r := rig.New(t, rig.Options{Partitions: 3, ClickHouse: true})
	r.Archive()
	r.Detect(set.Plan)
	calls := days(t, 5)
	r.Send(calls...)
	r.Judged()
	rig.Await(t, time.Minute, func() error {
		if n := r.Number("SELECT count() FROM calls"); n != uint64(len(calls)) {
			return fmt.Errorf("%d of %d calls", n, len(calls))
		}
		return nil
	})
	o := r.ClickHouse()
	store, err := ch.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	reader := archive.NewReader(store)
	log, err := history.OpenClickHouse(t.Context(), reader, archive.CallsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	live := found(r.Detections())
	compare(t, "ClickHouse", live, played(t, log, set))

	tenant := live[0].Tenant
	log, err = history.OpenClickHouse(t.Context(), reader, archive.CallsQuery{Tenant: tenant, Until: live[0].Time})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := log.Read(t.Context(), func(e backtest.Entry) error {
		if n++; string(e.Call.Tenant) != tenant || e.Call.Time >= live[0].Time.UnixNano() {
			t.Errorf("a call of %s at %d", e.Call.Tenant, e.Call.Time)
		}
		return nil
	}); err != nil || n == 0 {
		t.Errorf("%d calls of %s, %v", n, tenant, err)
	}
	rig.Await(t, time.Minute, func() error {
		stored, ok, err := reader.Detection(t.Context(), live[0].ID)
		if err != nil || !ok {
			return fmt.Errorf("not there: %v", err)
		}
		compare(t, "stored", live[:1], found([]detector.Detection{stored}))
		return nil
	})
}

// However many lanes there are, and in whatever order goroutines run, the report is the same.
func TestTheReportIsTheSameOnAnyNumberOfProcessors(t *testing.T) {
	set, path := load(t, ofAgents+"---\n"+ofOthers), write(t, days(t, 7))
	var first []byte
	for _, n := range []int{1, 2, 3, 8, 8} {
		before := runtime.GOMAXPROCS(n)
		r, err := backtest.Run(t.Context(), &history.Files{Paths: []string{path}}, set, backtest.Options{Against: load(t, strings.ReplaceAll(ofAgents, "per 100 ", "per 10 ")), Suggest: true})
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		report, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = report
		}
		if diff := cmp.Diff(string(first), string(report)); diff != "" {
			t.Fatalf("on %d processors:\n%s", n, diff)
		}
	}
}

func TestAProposedExceptionDoesWhatItSays(t *testing.T) {
	set, path := load(t, ofAgents), write(t, days(t, 7))
	log := &history.Files{Paths: []string{path}}
	r, err := backtest.Run(t.Context(), log, set, backtest.Options{Suggest: true})
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, s := range r.Suggestions {
		for _, p := range s.Proposals {
			if p.Kind != "exception" || strings.Contains(ofAgents, "exceptions") {
				continue
			}
			tried++
			var text strings.Builder
			for document := range strings.SplitSeq(ofAgents, "---\n") {
				if text.Len() > 0 {
					text.WriteString("---\n")
				}
				text.WriteString(document)
				if strings.HasPrefix(document, "id: "+s.Detector+"\n") {
					text.WriteString("exceptions:\n" + p.YAML)
				}
			}
			again, err := backtest.Run(t.Context(), log, load(t, text.String()), backtest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range again.Detectors {
				if d.ID == s.Detector && d.Detections != p.Left {
					t.Errorf("%s: pasted, %d detections are left, %d were said", s.Detector, d.Detections, p.Left)
				}
			}
		}
	}
	if tried == 0 {
		t.Error("nothing was proposed")
	}
}

func TestABacktestEndsWithItsContext(t *testing.T) {
	path := write(t, days(t, 7))
	ctx, cancel := context.WithCancel(t.Context())
	log := &history.Files{Paths: []string{path, path, path}, Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}}
	if _, err := backtest.Run(ctx, log, load(t, ofAgents), backtest.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// What is explained agrees with what was found, for each detection.
func TestEachDetectionIsExplained(t *testing.T) {
	set, path := load(t, ofAgents+"---\n"+ofOthers), write(t, days(t, 7))
	log := &history.Files{Paths: []string{path}}
	all := played(t, log, set)
	for _, d := range all[:min(len(all), 12)] {
		e, err := backtest.Explain(t.Context(), log, set, backtest.Asked{Detection: d.ID})
		if err != nil {
			t.Fatal(err)
		}
		one := e.Detectors[0]
		if len(e.Detectors) != 1 || one.ID != d.Detector || one.Verdict != "fired" || one.Detection != d.ID || e.Call.ID != d.CallID {
			t.Errorf("detection %s of %s is explained as %s of %s at call %s", d.ID, d.Detector, one.Verdict, one.ID, e.Call.ID)
			continue
		}
		if d.Reason == "evidence" && one.Account.Evidence != d.LogEvidence || one.Account.AskedLevel != d.LogLevel || one.Account.Reason != d.Reason {
			t.Errorf("%s: evidence %v of %v, because of %s, not %v of %v", d.ID, one.Account.Evidence, one.Account.AskedLevel, one.Account.Reason, d.LogEvidence, d.LogLevel)
		}
	}
}
