package pipeline_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// value returns the sum of the metrics of a name.
func value(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func stateIn(dir string) func(*pipeline.Options) {
	return func(o *pipeline.Options) { o.StateDir = dir }
}

// What was learned is there after an end in good order and after a crash, whatever became of the local file. Where
// it is whole, it is what the shard goes on from.
func TestARestartGoesOnFromTheLocalFile(t *testing.T) {
	each := func(damage func(t *testing.T, path string, b []byte)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			paths, err := filepath.Glob(filepath.Join(dir, "*-[0-9]"))
			if err != nil || len(paths) == 0 {
				t.Fatalf("no local files in %s: %v", dir, err)
			}
			for _, path := range paths {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				damage(t, path, b)
			}
		}
	}
	write := func(t *testing.T, path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		crash  bool
		damage func(*testing.T, string)
	}{
		"ended":        {},
		"crashed":      {crash: true},
		"torn":         {damage: each(func(t *testing.T, path string, b []byte) { write(t, path, b[:len(b)*2/3]) })},
		"a wrong byte": {damage: each(func(t *testing.T, path string, b []byte) { b[len(b)/2] ^= 1; write(t, path, b) })},
		"gone":         {damage: each(func(t *testing.T, path string, b []byte) { os.Remove(path) })},
		"garbage":      {damage: each(func(t *testing.T, path string, b []byte) { write(t, path, bytes.Repeat([]byte("x"), 100)) })},
		"no folder":    {damage: func(t *testing.T, dir string) { os.RemoveAll(dir); write(t, dir, nil) }},
		"another topic": {damage: each(func(t *testing.T, path string, b []byte) {
			write(t, path, bytes.Replace(b, []byte("/"), []byte("-"), 1))
		})},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, rig.Options{Partitions: 2})
			g := r.Guard("gate-1")
			plan := rig.Plan(t, spree)
			dir := filepath.Join(t.TempDir(), "state")
			now := time.Now().Add(-time.Minute)
			first := r.Detect(plan, stateIn(dir), pipeline.CompactSoon)
			for i := range 4 {
				for part := range 4 { // in parts, so that there are several checkpoints
					calls := habits(fmt.Sprint("agent-", i), now)
					r.Send(calls[part*180 : (part+1)*180]...)
					r.Judged()
				}
			}
			if c.crash {
				crash := errors.New("crash")
				first.Crash(crash)
				if err := first.Wait(); !errors.Is(err, crash) {
					t.Fatalf("the role ended with %v", err)
				}
			} else {
				first.Stop()
			}
			if c.damage != nil {
				c.damage(t, dir)
			}
			// A shard that found all in its file, and nothing new in the topic.
			whole := func() int {
				restored := []string{"the state is restored", "beyond=0"}
				return r.Journal.Count(restored...) - r.Journal.Count(append(restored, "kept=0")...)
			}
			again := r.Detect(plan, stateIn(dir))
			for i := range 4 {
				agent := fmt.Sprint("agent-", i)
				r.Send(crawl(agent, 30, now.Add(time.Second))...)
				awaitDenied(t, g, agent)
			}
			r.Judged()
			if n := whole(); name == "ended" && n == 0 || name == "gone" && n > 0 {
				t.Errorf("%d shards went on from their files alone", n)
			}
			fetched := value(t, again.Metrics, "estop_detect_fetched_total")
			if name == "no folder" {
				if fetched != 0 {
					t.Errorf("%v entities are read back from nowhere", fetched)
				}
			} else if fetched < 4 {
				t.Errorf("%v entities were read back, want the four agents at least", fetched)
			}
		})
	}
}

// The topic of a node that begins anew has other records where the file has its last checkpoint: then the file is
// of another life.
func TestALocalFileThatIsAheadOfTheTopicIsIgnored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	plan := rig.Plan(t, loop("loop", "enforce"))
	old := rig.New(t, rig.Options{Partitions: 1})
	role := old.Detect(plan, stateIn(dir))
	for i := range 3 {
		old.Send(rig.Call(fmt.Sprint("call-", i), "agent-0", "doc-1", time.Now()))
		old.Judged()
	}
	role.Stop()
	path := filepath.Join(dir, pipeline.TopicCalls+"-0")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rig.New(t, rig.Options{Partitions: 1})
	g := r.Guard("gate-1")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Detect(plan, stateIn(dir))
	r.Send(loopCalls("agent-0", time.Now())...) // four are a breach, and the three of the other life are none of them
	awaitDenied(t, g, "agent-0")
	r.Judged()
	if n := len(r.Detections()); n != 1 {
		t.Errorf("%d detections, want 1", n)
	}
}

// Ten times as many agents as there is room for: whom a shard knew before they came is still known after, and what is
// found is what is found with room for all.
func TestAFloodOfAgentsIsBoundedInMemoryAndHidesNobody(t *testing.T) {
	const (
		bound = 2 << 20
		names = 12000
	)
	now := time.Now().Add(-time.Minute)
	run := func(t *testing.T, memory int64) (found map[string]int, most, evicted float64) {
		r := rig.New(t, rig.Options{Partitions: 2})
		dir := t.TempDir()
		role := r.Detect(rig.Plan(t, spree, loop("loop", "enforce")), stateIn(dir), func(o *pipeline.Options) { o.Memory = memory }, pipeline.CompactSoon)
		look := func() { most = max(most, value(t, role.Metrics, "estop_detect_entity_bytes")) }
		for i := range 4 {
			r.Send(habits(fmt.Sprint("known-", i), now)...)
		}
		r.Judged()
		look()
		var flood []*telemetry.Call
		for i := range names {
			agent := fmt.Sprint("flood-", i)
			flood = append(flood, rig.Call(agent+"-a", agent, "doc-1", now.Add(time.Duration(i)*time.Millisecond)), rig.Call(agent+"-b", agent, "doc-2", now.Add(time.Duration(i)*time.Millisecond)))
			if i%1000 == 500 {
				flood = append(flood, loopCalls(agent, now.Add(time.Duration(i)*time.Millisecond))...)
			}
			if len(flood) > 500 || i == names-1 {
				r.Send(flood...)
				flood = nil
				look()
			}
		}
		r.Judged()
		for i := range 4 {
			r.Send(crawl(fmt.Sprint("known-", i), 30, now.Add(time.Second))...)
		}
		r.Judged()
		look()
		return detectionIDs(r.Detections()), most, value(t, role.Metrics, "estop_detect_evicted_total")
	}
	want, all, evicted := run(t, 0)
	if evicted != 0 || all < 4*bound {
		t.Fatalf("with room for all %v are put away, and %v bytes are taken: the test shows nothing", evicted, all)
	}
	got, most, evicted := run(t, bound)
	t.Logf("%d agents take %.0f bytes; with a bound of %d they took %.0f at most, and %.0f were put away", names+4, all, bound, most, evicted)
	if len(want) < 4+8 {
		t.Errorf("only %d detections", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is found differs:\n%s", diff)
	}
	if evicted < names/2 {
		t.Errorf("only %v are put away", evicted)
	}
	// Names are kept; and of each of the two partitions a MiB is on its way to the file and another one is new.
	if room := float64(bound + names*120 + 5<<20); most > room || room > all/2 {
		t.Errorf("%v bytes, want %v at most, and that to be less than half of %v", most, room, all)
	}
}

// A file that can be read and not written leaves everybody in memory, and everything judged.
func TestALocalFileInUseIsDoneWithout(t *testing.T) {
	dir := t.TempDir()
	r := rig.New(t, rig.Options{Partitions: 1})
	other := rig.New(t, rig.Options{Partitions: 1})
	plan := rig.Plan(t, loop("loop", "enforce"))
	other.Detect(plan, stateIn(dir))
	other.Send(rig.Call("x", "agent-0", "doc-1", time.Now()))
	other.Judged()
	g := r.Guard("gate-1")
	r.Detect(plan, stateIn(dir))
	r.Send(loopCalls("agent-0", time.Now())...)
	awaitDenied(t, g, "agent-0")
	if r.Journal.Count("another process has the state file") == 0 {
		t.Error("the log does not say why there is no local file")
	}
}
