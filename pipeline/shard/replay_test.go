package shard_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// small makes a shard forget often what it may forget, the conditions that hold for a value, and lets agents
// join their groups soon.
var small = shard.Options{MaxValues: 8, MaxEntities: 64, SampleEvery: time.Second, GroupAfter: 9}

// logs draws a log: agents that work and break off, new resources, late calls, calls from
// the future, refusals, and several calls in one record.
func logs() *rapid.Generator[[]sent] {
	return rapid.Custom(func(t *rapid.T) []sent {
		var calls []sent
		now := time.Duration(0)
		offset, index := int64(-1), 0
		for i := range rapid.IntRange(1, 200).Draw(t, "calls") {
			now += time.Duration(rapid.SampledFrom([]int{0, 1, 20, 500, 5000, 11000}).Draw(t, "pause")) * time.Millisecond
			at := now
			switch rapid.IntRange(0, 19).Draw(t, "time") {
			case 0:
				at -= 25 * time.Second
			case 1:
				at += 5 * time.Minute
			}
			c := call(i, fmt.Sprint("agent-", rapid.IntRange(0, 4).Draw(t, "agent")), at)
			c.src.Appended = t0.Add(now).UnixNano()
			c.Identity = rapid.SampledFrom([][]byte{nil, []byte("role/a"), []byte("role/b")}).Draw(t, "identity")
			c.Resource = fmt.Append(nil, "doc-", rapid.IntRange(0, 12).Draw(t, "resource"))
			c.Outcome = rapid.SampledFrom([]telemetry.Outcome{telemetry.OutcomeOK, telemetry.OutcomeOK, telemetry.OutcomeDenied}).Draw(t, "outcome")
			c.Session = fmt.Append(nil, rapid.IntRange(0, 40).Draw(t, "session"))
			c.Action = rapid.SampledFrom([][]byte{[]byte("read"), []byte("write"), []byte("list")}).Draw(t, "action")
			c.Latency = time.Duration(rapid.IntRange(0, 5).Draw(t, "latency")) * time.Second
			for range rapid.IntRange(0, 3).Draw(t, "depth") {
				c.Chain = append(c.Chain, fmt.Append(nil, "agent-", rapid.IntRange(0, 2).Draw(t, "member")))
			}
			c.BytesOut = int64(rapid.IntRange(0, 1000).Draw(t, "bytes"))
			if rapid.Bool().Draw(t, "has a region") {
				c.Context = []telemetry.Pair{{Key: []byte("region"), Value: fmt.Append(nil, rapid.IntRange(0, 3).Draw(t, "region"))}}
			}
			if offset < 0 || rapid.IntRange(0, 4).Draw(t, "record") > 0 {
				offset, index = offset+1, 0
			} else {
				index++
			}
			c.src.Offset, c.src.Index = offset, index
			calls = append(calls, c)
		}
		return calls
	})
}

func TestTheSameLogGivesTheSameDetectionsWhereverItIsCut(t *testing.T) {
	plan := every(t)
	fired, joined, runs := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		calls := logs().Draw(t, "log")
		whole, again, cut := newPair(plan, small), newPair(plan, small), newPair(plan, small)
		if rapid.Bool().Draw(t, "put away") {
			cut = newPairAway(plan, small)
		}
		k := rapid.IntRange(3, 60).Draw(t, "cut every")
		for i := range calls {
			whole.take(&calls[i])
			again.take(&calls[i])
			if i > 0 && i%k == 0 {
				cut.restart(t, small)
			}
			cut.take(&calls[i])
		}
		if again.save(); !equalStates(whole.saved(), again.states) {
			t.Fatal("the states at the end differ")
		}
		// What they know is the same if they go on alike.
		last := calls[len(calls)-1].src.Offset
		for i := range calls {
			c := &calls[i]
			c.src.Offset += last + 1
			c.Time += int64(time.Hour)
			c.src.Appended += int64(time.Hour)
			whole.take(c)
			again.take(c)
			cut.take(c)
		}
		if diff := cmp.Diff(whole.found, again.found); diff != "" {
			t.Fatalf("the second run differs:\n%s", diff)
		}
		if diff := cmp.Diff(whole.found, cut.found); diff != "" {
			t.Fatalf("the run with restarts differs:\n%s", diff)
		}
		if diff := cmp.Diff(whole.samples, cut.samples); diff != "" {
			t.Fatalf("the samples of the run with restarts differ:\n%s", diff)
		}
		if _, err := json.Marshal(whole.found); err != nil {
			t.Fatalf("a detection cannot be written: %v", err)
		}
		fired += len(whole.found)
		joined += joinedGroups(cut.saved())
		runs++
	})
	t.Logf("%d detections and %d peer groups in %d logs", fired, joined, runs)
	if fired == 0 || joined == 0 {
		t.Error("nothing ever fired, or nobody had a group: the logs are too tame to show anything")
	}
}

// joinedGroups returns how many peer groups the states hold.
func joinedGroups(states map[string][]byte) (n int) {
	for key := range states {
		if strings.HasPrefix(key, "calls/"+string([]byte{byte(detector.Entities)})+"t1\x00") {
			n++
		}
	}
	return n
}

func TestReplayedCallsChangeNothing(t *testing.T) {
	plan := every(t)
	rapid.Check(t, func(t *rapid.T) {
		calls := logs().Draw(t, "log")
		p := newPair(plan, small)
		for i := range calls {
			p.take(&calls[i])
		}
		p.save()
		want, found := fmt.Sprintf("%x", p.states), len(p.found)
		from := rapid.IntRange(0, len(calls)-1).Draw(t, "replay from")
		for i := range calls[from:] {
			p.take(&calls[from+i])
		}
		p.save()
		if fmt.Sprintf("%x", p.states) != want {
			t.Fatal("the state changed")
		}
		if len(p.found) != found {
			t.Fatalf("%d further detections", len(p.found)-found)
		}
		if got := p.calls.Stats.Replayed; got != uint64(len(calls)-from) {
			t.Fatalf("%d calls counted as replayed, want %d", got, len(calls)-from)
		}
	})
}

// A crash loses what was not saved. Detections of the calls that come again have the ids
// that they had.
func TestACrashRepeatsTheSameIDs(t *testing.T) {
	plan := every(t)
	joined, together := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		calls := logs().Draw(t, "log")
		whole, crashed := newPair(plan, small), newPair(plan, small)
		if rapid.Bool().Draw(t, "put away") {
			crashed = newPairAway(plan, small)
		}
		saved := rapid.IntRange(0, len(calls)-1).Draw(t, "saved at")
		torn := rapid.IntRange(saved, len(calls)-1).Draw(t, "next save at")
		crash := rapid.IntRange(torn, len(calls)-1).Draw(t, "crashed at")
		for i := range calls {
			whole.take(&calls[i])
		}
		states := map[string][]byte{}
		var marked marker
		for i := range calls[:crash+1] {
			if i == saved {
				crashed.save()
				states, marked = maps.Clone(crashed.states), crashed.marker()
			}
			if i == torn { // of the next save only some entities reached the log
				crashed.save()
				for _, key := range slices.Sorted(maps.Keys(crashed.states)) {
					if rapid.Bool().Draw(t, "survived") {
						states[key] = crashed.states[key]
					}
				}
			}
			if i < crash {
				crashed.take(&calls[i])
			}
		}
		joined += joinedGroups(states)
		before := crashed.found
		crashed = crashed.crash(t, small, states, marked)
		for i := range calls[saved:] {
			crashed.take(&calls[saved+i])
		}
		all := map[string]bool{}
		for _, d := range append(before, crashed.found...) {
			all[d.ID] = true
			if d.Detector == "together" {
				together++
			}
		}
		want := map[string]bool{}
		for _, d := range whole.found {
			want[d.ID] = true
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Fatalf("ids differ:\n%s", diff)
		}
	})
	if joined == 0 || together == 0 {
		t.Error("no group survived a crash, or no detections met through the exchange: the logs show nothing of them")
	}
}
