package pipeline_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	graphInterval = 5 * time.Minute
	graphSteps    = 8
)

// graphed gives the detect role an access graph whose answers do not depend on the machine.
func graphed(o *pipeline.Options) {
	o.Graph = &graph.Options{Interval: graphInterval, Wait: true}
}

// sharedBy fires in the exchange, at the identity's fourth call within ten seconds.
const sharedBy = `id: shared
title: An identity makes more calls than its agents do
mode: alert
group_by: identity
when: count(calls, 10s) > 3
quiet: 1s
`

// team are the calls of one interval: boss sends out worker, and peer does what worker does. In
// every second one, worker breaks the loop detector at a resource that boss never used.
func team(step int, begin time.Time) []*telemetry.Call {
	at := begin.Add(time.Duration(step)*graphInterval + time.Minute)
	var calls []*telemetry.Call
	add := func(agent, identity, resource string, after time.Duration, chain ...string) {
		c := rig.Call(fmt.Sprintf("%s-%d-%d", agent, step, len(calls)), agent, resource, at.Add(after))
		c.Identity = []byte(identity)
		for _, m := range chain {
			c.Chain = append(c.Chain, []byte(m))
		}
		calls = append(calls, c)
	}
	add("boss", "root", "index", 0)
	add("worker", "shared", "doc", 20*time.Second, "boss", "worker")
	add("peer", "shared", "doc", 40*time.Second)
	add("peer", "shared", fmt.Sprint("note-", step), 41*time.Second)
	if step%2 == 1 {
		for i := range breachAt {
			add("worker", "shared", "vault", time.Minute+time.Duration(i)*time.Millisecond, "boss", "worker")
		}
	}
	return calls
}

// graphBegin is a multiple of the interval, so long ago that nothing is ahead.
var graphBegin = time.Now().Add(-3 * time.Hour).Truncate(graphInterval)

func TestEveryDetectionIsExplainedByTheSnapshotOfItsTime(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1, ClickHouse: true})
	r.Archive()
	role := r.Detect(rig.Plan(t, loop("loop", "alert"), sharedBy), graphed)
	for step := range graphSteps {
		r.Send(team(step, graphBegin)...)
		r.Judged()
	}
	found := r.Detections()
	if len(found) != 2*graphSteps/2 {
		t.Fatalf("%d detections", len(found))
	}
	for _, d := range found {
		step := int(d.Time.Sub(graphBegin) / graphInterval)
		want := &detector.Graph{Depth: 2, FanOut: 1, Sharing: 2, ResourceBeyond: true, IdentityBeyond: true}
		if step >= 3 { // the snapshot of a multiple is asked from the next one on
			want.Taken = graphBegin.Add(time.Duration(step-1) * graphInterval).UTC()
			// doc, vault and a note of each step that was over
			want.Reach = &detector.Reach{Identities: 1, Resources: 2 + step - 1, Share: float64(2+step-1) / float64(3+step-1)}
			want.Peers = []detector.Peer{{Agent: "peer"}}
			want.Excess = &detector.Excess{Resources: 2, Identities: 1, Share: 1, Parent: 1} // doc and vault; boss has the index alone
		}
		if d.Graph == nil {
			t.Fatalf("%s at step %d is not explained", d.Detector, step)
		}
		unsaid := cmp.Options{
			cmpopts.IgnoreFields(detector.Graph{}, "Group", "GroupSize", "Resource"),
			cmpopts.IgnoreFields(detector.Reach{}, "Nearest"), cmpopts.IgnoreFields(detector.Peer{}, "Share"),
		}
		got := *d.Graph
		if len(got.Peers) > 1 {
			got.Peers = got.Peers[:1]
		}
		if step == 1 { // there is no snapshot, or one without the vault
			if d.Graph.Resource != nil {
				t.Errorf("%s at step %d: the vault is known", d.Detector, step)
			}
			continue
		}
		if diff := cmp.Diff(want, &got, unsaid); diff != "" {
			t.Errorf("%s at step %d:\n%s", d.Detector, step, diff)
		}
		if c := d.Graph.Resource; c == nil || c.Agents != 1 || c.Identities != 1 || c.PageRank <= 0 {
			t.Errorf("%s at step %d: criticality %+v", d.Detector, step, c)
		}
		if n := d.Graph.Reach.Nearest; len(n) != min(8, d.Graph.Reach.Resources) || !strings.Contains(fmt.Sprint(n), "vault") {
			t.Errorf("%s at step %d: nearest resources %q", d.Detector, step, n)
		}
	}
	if n := role.Metric("estop_detect_graph_snapshots_total"); n != graphSteps-1 {
		t.Errorf("%v snapshots are counted, want %d", n, graphSteps-1)
	}
	rig.Await(t, time.Minute, func() error {
		n := r.Number("SELECT count() FROM detections_once WHERE JSONExtractInt(graph, 'reach', 'resources') = 8 AND JSONExtractString(graph, 'peers', 1, 'agent') = 'peer'")
		if n != 2 {
			return fmt.Errorf("%d explanations of the last step are in ClickHouse, want 2", n)
		}
		return nil
	})
}

// awaitState waits until the state topic has that many states of the access graph; it sends calls of
// another tenant, for a checkpoint needs something new.
func awaitState(t *testing.T, r *rig.Rig, number uint64, at time.Time) {
	t.Helper()
	rig.Await(t, time.Minute, func() error {
		c := rig.Call("tick", "other", "clock", at)
		c.Tenant = []byte("other")
		r.Send(c)
		for _, rec := range r.Records(pipeline.TopicState) {
			if strings.HasPrefix(string(rec.Key), pipeline.TopicCalls+"\x00\xff") && binary.BigEndian.Uint64(rec.Value[1:]) >= number {
				return nil
			}
		}
		return fmt.Errorf("state %d is not there", number)
	})
	r.Judged()
}

// runTeam sends the team's calls to a role that is ended after some steps, and returns what was
// detected, by id: the last record of each.
func runTeam(t *testing.T, endings map[int]func(*rig.Detect), change ...func(*pipeline.Options)) map[string]*detector.Graph {
	t.Helper()
	r := rig.New(t, rig.Options{Partitions: 1})
	plan := rig.Plan(t, loop("loop", "alert"), sharedBy)
	role := r.Detect(plan, change...)
	for step := range graphSteps {
		calls := team(step, graphBegin)
		for i, part := range [][]*telemetry.Call{calls[:2], calls[2:]} {
			r.Send(part...)
			r.Judged()
			if end := endings[2*step+i]; end != nil {
				end(role)
				role = r.Detect(plan, change...)
				r.Judged()
			}
		}
		if len(change) > 0 && step > 0 { // as when calls come at the pace of their own time
			awaitState(t, r, uint64(step), graphBegin.Add(time.Duration(step)*graphInterval+3*time.Minute))
		}
	}
	r.Judged()
	found := map[string]*detector.Graph{}
	for _, d := range r.Detections() {
		found[d.Detector+d.CallID] = d.Graph
	}
	return found
}

func TestExplanationsAreTheSameAfterStopsAndCrashes(t *testing.T) {
	crash := func(role *rig.Detect) {
		gone := errors.New("crash")
		role.Crash(gone)
		if err := role.Wait(); !errors.Is(err, gone) {
			t.Fatalf("the role ended with %v", err)
		}
	}
	stop := func(role *rig.Detect) { role.Stop() }
	straight := runTeam(t, nil, graphed)
	if len(straight) != graphSteps {
		t.Fatalf("%d detections", len(straight))
	}
	broken := runTeam(t, map[int]func(*rig.Detect){6: crash, 8: stop, 9: crash, 14: stop}, graphed)
	if diff := cmp.Diff(straight, broken); diff != "" {
		t.Errorf("explanations differ after restarts:\n%s", diff)
	}
	without := runTeam(t, nil)
	for id := range straight {
		if g, ok := without[id]; !ok || g != nil {
			t.Errorf("without a graph %s is there: %v, explained by %+v", id, ok, g)
		}
	}
	if len(without) != len(straight) {
		t.Errorf("%d detections without a graph, want %d", len(without), len(straight))
	}
}

// A garbled state costs explanations and nothing else.
func TestAGraphThatCannotBeReadBeginsAnew(t *testing.T) {
	r := rig.New(t, rig.Options{Partitions: 1})
	plan := rig.Plan(t, loop("loop", "alert"))
	first := r.Detect(plan, graphed)
	for step := range 3 {
		r.Send(team(step, graphBegin)...)
		r.Judged()
	}
	awaitState(t, r, 1, graphBegin.Add(3*graphInterval-time.Second))
	first.Stop()
	other := func(o *pipeline.Options) {
		graphed(o)
		o.Graph.HalfLife = time.Hour
	}
	r.Detect(plan, other)
	r.Send(team(3, graphBegin)...)
	r.Judged()
	found := r.Detections()
	last := found[len(found)-1]
	if len(found) != 2 || last.Graph == nil || last.Graph.Depth != 2 || !last.Graph.Taken.IsZero() || last.Graph.Reach != nil {
		t.Errorf("%d detections, the last explained by %+v", len(found), last.Graph)
	}
	if r.Journal.Count("cannot go on with the access graph") != 1 {
		t.Error("nobody is told")
	}
}
